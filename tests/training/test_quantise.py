from pathlib import Path

import numpy as np
import onnx
import pytest
from PIL import Image

from synthdet.inference.detector import Detector
from synthdet.inference.weights import read_config, verify_files
from tests.conftest import write_detector
from training import quantise
from training.quantise import main


@pytest.fixture
def pictures(tmp_path: Path) -> Path:
    """Real ones are blue, synthetic ones red."""
    folder = tmp_path / "pictures"
    rng = np.random.default_rng(0)
    for kind, channel in (("0_real", 2), ("1_fake", 0)):
        (folder / kind).mkdir(parents=True)
        for number in range(24):
            pixels = rng.integers(0, 100, (40, 40, 3), np.uint8)
            pixels[..., channel] += 120
            Image.fromarray(pixels).save(folder / kind / f"{kind}_{number}.png")
    return folder


@pytest.fixture
def weights(tmp_path: Path) -> Path:
    folder = write_detector(tmp_path / "weights")
    (folder / "README.md").write_text("# tiny 1\n")
    return folder


def test_a_detector_in_int8_says_what_it_costs(
    weights: Path, pictures: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    out = tmp_path / "int8"
    assert main([str(weights), "--data", str(pictures), "--out", str(out)]) == 0
    config = read_config(out, "detector")
    verify_files(out, config)
    assert config.name == "tiny_int8"
    assert set(config.files) == {"model.onnx", "self_test.npz"}
    assert (
        "balanced accuracy 1.0000 in fp32, 1.0000 in int8" in config.provenance["int8"]["measured"]
    )
    assert "## In int8" in (out / "README.md").read_text()
    kinds = {weight.data_type for weight in onnx.load(out / "model.onnx").graph.initializer}
    assert onnx.TensorProto.INT8 in kinds
    red = np.full((40, 40, 3), (160, 50, 50), np.uint8)  # within the ranges seen
    scores = [Detector.load(folder, "cpu").score(red) for folder in (weights, out)]
    assert scores[1] == pytest.approx(scores[0], abs=0.2)
    capsys.readouterr()


def test_weights_that_were_rounded_once_are_refused(
    pictures: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    folder = write_detector(tmp_path / "weights", stored="int8")
    assert main([str(folder), "--data", str(pictures), "--out", str(tmp_path / "int8")]) == 2
    assert "stored in int8, expected fp32" in capsys.readouterr().err


def test_nothing_is_written_where_it_loses_too_much(
    weights: Path,
    pictures: Path,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
) -> None:
    monkeypatch.setattr(quantise, "MOST_LOST", -1.0)
    assert main([str(weights), "--data", str(pictures), "--out", str(tmp_path / "int8")]) == 2
    assert "nothing was written; use fp32" in capsys.readouterr().err
    assert not (tmp_path / "int8").exists()
