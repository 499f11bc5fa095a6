"""Random networks, and what they take without this project."""

import json
from pathlib import Path

import numpy as np
import pytest
import torch
from PIL import Image

from synthdet.inference.detector import Detector
from synthdet.inference.localizer import Localizer
from synthdet.inference.weights import WeightsConfig, read_config
from training import eager_baseline
from training.eager_baseline import best_batch_size, random_network
from training.export_random import main as export_random

CONFIGS = Path(__file__).parents[2] / "training" / "configs"
SMALL = ["model.backbone=test_convnext", "views.size=64"]


@pytest.fixture(scope="module")
def detector(tmp_path_factory) -> Path:
    out = tmp_path_factory.mktemp("random") / "detector"
    recipe = str(CONFIGS / "vipcup_convnext_base.yaml")
    assert export_random([recipe, "--out", str(out), *SMALL]) == 0
    return out


def pictures(folder: Path) -> Path:
    for number, size in enumerate([(64, 64), (40, 90), (200, 150)]):
        Image.new("RGB", size, (80 * number, 0, 90)).save(folder / f"{number}.jpg")
    listed = folder / "files.txt"
    listed.write_text("".join(f"{file}\n" for file in sorted(folder.glob("*.jpg"))))
    return listed


def test_a_random_detector_runs_and_says_what_it_is(detector):
    assert np.isfinite(Detector.load(detector, "cpu").score(np.zeros((70, 80, 3), np.uint8)))
    assert read_config(detector).version == "random"
    assert "Its answers mean nothing" in (detector / "README.md").read_text()


def test_a_random_localizer_makes_maps(tmp_path):
    recipe = str(CONFIGS / "mediaeval_b.yaml")
    small = ["model.traces=[8, 16, 16]", "model.decoder=[16, 16, 8]"]
    assert export_random([recipe, *SMALL, *small, "--out", str(tmp_path / "out")]) == 0
    localizer = Localizer.load(tmp_path / "out", "cpu")
    assert localizer.locate(np.zeros((70, 80, 3), np.uint8)).map.shape == (70, 80)
    assert localizer.spec.image_score == "head"


def test_a_recipe_that_cannot_be_used_is_refused(tmp_path, capsys):
    recipe = str(CONFIGS / "vipcup_convnext_base.yaml")
    assert export_random([recipe, "--out", str(tmp_path / "out"), "model.stemstride=2"]) == 2
    assert "stem_stride" in capsys.readouterr().err


@pytest.mark.parametrize("precision", ["fp32", "bf16"])
def test_the_baseline_answers_every_view(detector, tmp_path, capsys, monkeypatch, precision):
    asked = []
    build = random_network

    def watched(config: WeightsConfig):
        network = build(config)
        network.register_forward_pre_hook(lambda _, images: asked.append(images[0].shape))
        return network

    monkeypatch.setattr(eager_baseline, "random_network", watched)
    arguments = [str(pictures(tmp_path)), "--weights", str(detector), "--precision", precision]
    assert eager_baseline.main([*arguments, "--device", "cpu", "--batch-size", "2"]) == 0
    said = json.loads(capsys.readouterr().out)
    assert [tuple(shape) for shape in asked] == [(2, 64, 64, 3), (1, 64, 64, 3)]
    assert (said["device"], said["batch_size"]) == ("cpu", 2)
    assert min(said["seconds"], said["start_up_seconds"], said["main_bytes"]) > 0


def test_weights_of_an_unknown_network_are_refused(tmp_path, detector, capsys):
    (config := json.loads((detector / "config.json").read_text()))["provenance"] = {}
    (tmp_path / "config.json").write_text(json.dumps(config))
    assert eager_baseline.main([str(pictures(tmp_path)), "--weights", str(tmp_path)]) == 2
    assert "do not say what network" in capsys.readouterr().err


def test_the_batch_size_grows_as_long_as_that_pays(detector, monkeypatch):
    rates = {1: 10.0, 2: 20.0, 4: 21.0, 8: 21.1, 16: 99.0}
    monkeypatch.setattr(
        eager_baseline, "_rate", lambda _network, images, _device: rates[len(images)]
    )
    network = random_network(read_config(detector))
    assert best_batch_size(network, 8, "cpu") == 4

    def rate(_network, images: torch.Tensor, _device: str) -> float:
        if len(images) == 4:
            raise torch.OutOfMemoryError
        return rates[len(images)]

    monkeypatch.setattr(eager_baseline, "_rate", rate)
    assert best_batch_size(network, 8, "cpu") == 2
