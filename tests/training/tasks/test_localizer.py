"""A localizer from forged pictures to a weights folder that finds what was forged."""

import json
from pathlib import Path

import numpy as np
import pytest

from synthdet.errors import UsageError
from synthdet.evaluation.pair_readers import read_pairs
from synthdet.evaluation.pairs import load_pair
from synthdet.inference.localizer import Localizer
from synthdet.inference.weights import read_config
from synthdet.metrics.pixels import pixel_auc
from training.config import LocalizerConfig
from training.data.made_up import make_up_pairs
from training.export import export_run
from training.schema import override, validate
from training.tasks.localizer import describe
from training.train import train

COMBINED = {
    "name": "combined", "backbone": "test_resnet", "pretrained": False, "stages": 3,
    "traces": [8, 16], "decoder": [16, 8],
}  # fmt: skip


@pytest.fixture
def make(tmp_path: Path):
    settings = {
        "task": "localizer",
        "run_name": "tiny",
        "output": str(tmp_path / "runs"),
        "model": COMBINED,
        "data": {
            "sets": [{"path": str(make_up_pairs(tmp_path / "pairs"))}],
            "validation_samples": 40,
            "samples_per_epoch": 64,
            "crop": 64,
        },
        "forge": {"kinds": {"authentic": 1}, "recompression": {"chain": 0, "organisers": 0}},
        "views": {"size": 96},
        "phases": [{"name": "localizer", "epochs": 2, "lr": 1e-2}],
        "optimiser": {"ema": 0.9},
        "machine": {"batch_size": 4, "workers": 0, "accelerator": "cpu", "precision": "32-true"},
    }
    return lambda *assignments: validate(LocalizerConfig, override(settings, assignments))


def test_a_run_becomes_a_weights_folder_that_finds_forgeries(make, tmp_path):
    run = train(make())
    figures = json.loads((run / "metrics.json").read_text())
    assert figures["sources"] == ["made-up"]
    assert figures["val"]["pixel_auc"] > 0.8
    assert (run / "tiny_localizer_model.pth").exists()

    (difference,) = export_run(run, tmp_path / "weights", tmp_path / "pairs" / "images")
    assert difference.largest <= 1e-3
    config = read_config(tmp_path / "weights", "localizer")
    assert config.localization.image_score == "head"
    assert config.input.size == 96
    assert "f1" in config.thresholds
    card = (tmp_path / "weights" / "README.md").read_text()
    for said in ("squares of 96 px", "classification head", "made-up", "research use only"):
        assert said in card

    localizer = Localizer.load(tmp_path / "weights", "cpu")
    samples = read_pairs(tmp_path / "pairs" / "manifest.csv", "manifest").samples
    forged = [sample for sample in samples if sample.mask and sample.split == "val"][:4]
    for sample in forged:
        image, mask = load_pair(sample)
        assert pixel_auc(mask, localizer.locate(image).map) > 0.8


def test_without_a_head_the_map_speaks_for_the_picture(make, tmp_path):
    model = "model={name: attention_unet, width: 4, levels: 2}"
    run = train(make(model, "whole=true", "views.size=64", "max_side=512"))
    described = describe(run, make(model, "whole=true", "views.size=64", "max_side=512"))
    assert described.localization.image_score == "map"
    assert described.localization.whole
    assert described.localization.max_side == 512
    assert np.isfinite([described.temperature, described.bias]).all()
    assert not set(described.provenance["figures"]["as trained"]) - {
        "pictures", "forged", "pixel_auc", "dice", "all_forged_dice", "empty_authentic",
        "image_auc",
    }  # fmt: skip


def test_an_unfinished_run_is_refused(make, tmp_path):
    with pytest.raises(UsageError, match="not a finished run"):
        describe(tmp_path, make())


@pytest.mark.parametrize(
    ("assignment", "said"),
    [
        ("task=detector", "localizer"),
        ("model={name: timm_detector, backbone: test_resnet}", "is a detector"),
        ("data.sets.0.reader=manifst", "did you mean 'manifest'"),
        ("optimiser.monitor=val/pixel_ac", "did you mean 'val/pixel_auc'"),
        ("forge.kinds={splic: 1}", "did you mean 'splice'"),
        ("folds=2", "folds"),
        ("mask_weight=0", "mask_weight"),
    ],
)
def test_a_typo_stops_the_run(make, assignment, said):
    with pytest.raises(UsageError, match=said):
        make(assignment)
