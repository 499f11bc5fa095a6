"""A recipe so small that a run of it takes seconds."""

from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import torch

from training.config import DetectorConfig
from training.data.made_up import make_up
from training.schema import override, validate

torch.set_num_threads(1)  # tiny networks: threads would only wait for one another

TINY_MODEL = {"name": "timm_detector", "backbone": "test_convnext", "pretrained": False}
HERE = {"batch_size": 2, "workers": 0, "accelerator": "cpu", "precision": "32-true"}


@pytest.fixture
def tiny(tmp_path: Path) -> Callable[..., DetectorConfig]:
    """Make a configuration on made-up pictures, with ``a.b=value`` over it."""
    manifest = make_up(tmp_path / "pictures", ["camera", "generator"], size=120)
    settings: dict[str, Any] = {
        "run_name": "tiny",
        "output": str(tmp_path / "runs"),
        "model": TINY_MODEL,
        "data": {"sets": [{"path": str(manifest)}], "samples_per_epoch": 8},
        "views": {"size": 32},
        "phases": [{"name": "detector", "epochs": 2, "lr": 1e-3}],
        "machine": HERE,
    }

    def make(*assignments: str) -> DetectorConfig:
        return validate(DetectorConfig, override(settings, assignments))

    return make
