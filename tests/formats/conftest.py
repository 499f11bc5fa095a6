"""Four small images with masks, and the predictions for them."""

from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from synthdet.formats.contest import Predictions
from synthdet.formats.masks import write_mask
from synthdet.io import sizes
from synthdet.io.images import stored_size
from synthdet.io.manifest import read_manifest

# name -> (H, W) and logit. All sizes differ, and none is square.
IMAGES = {
    "a.png": ((6, 8), 2.0),
    "b.jpg": ((7, 5), -1.0),
    "c.webp": ((4, 9), 0.5),
    "d.webp": ((3, 2), -3.0),
}


@pytest.fixture
def predictions(tmp_path: Path) -> Predictions:
    """Rows in ``data``, masks in ``masks``; the upper left 2x2 pixels of a and c are forged."""
    (tmp_path / "data").mkdir()
    (tmp_path / "masks").mkdir()
    for name, ((height, width), logit) in IMAGES.items():
        Image.new("RGB", (width, height)).save(tmp_path / "data" / name)
        mask = np.zeros((height, width), np.float16)
        mask[:2, :2] = 0.9 if logit > 0 else 0.25
        write_mask(tmp_path / "masks" / f"{name[0]}.npz", mask, (height, width))
    table = tmp_path / "data" / "in.csv"
    table.write_text("\n".join(["filename", *IMAGES]) + "\n")
    return Predictions(
        rows=read_manifest(table).rows,
        logits=[logit for _, logit in IMAGES.values()],
        team="we",
        run="constrained",
        threshold=0.5,
        masks=tmp_path / "masks",
    )


@pytest.fixture(autouse=True)
def sizes_without_processes(monkeypatch: pytest.MonkeyPatch) -> None:
    """Images made here are no danger, and the start of a process takes longer than a test."""
    monkeypatch.setattr(sizes, "read_sizes", lambda paths: {p: stored_size(p) for p in paths})


@pytest.fixture
def out(tmp_path: Path) -> Path:
    """A folder for submissions."""
    (tmp_path / "out").mkdir()
    return tmp_path / "out"
