"""``evaluate.py instances``: rows of what matching finds, and its errors."""

import csv
from pathlib import Path

import numpy as np
import pytest
from PIL import Image as Pillow

from scripts.evaluate import main
from synthdet.inference.weights import FusionSpec
from tests.conftest import write_instances
from tests.copymove.test_matching import copied, texture


@pytest.fixture
def data(tmp_path: Path) -> Path:
    for folder in ("train_images/forged", "train_images/authentic", "train_masks"):
        (tmp_path / folder).mkdir(parents=True)
    image, mask = copied("as it is")
    Pillow.fromarray(image).save(tmp_path / "train_images/forged/1.png")
    np.save(tmp_path / "train_masks/1.npy", mask[None].astype(np.uint8))
    Pillow.fromarray(texture(4)).save(tmp_path / "train_images/authentic/2.png")
    return tmp_path


def test_rows_of_matching(data: Path, capsys: pytest.CaptureFixture[str]) -> None:
    table = data / "instances.csv"
    arguments = ["instances", "--data", str(data), "--reader", "recodai"]
    assert main([*arguments, "--results", str(table)]) == 0
    assert "matching on" in capsys.readouterr().out
    with table.open(newline="") as stream:
        (row,) = csv.DictReader(stream)
    assert (row["scope"], row["n_authentic"], row["n_forged"]) == ("overall", "1", "1")
    assert float(row["dice_pos"]) > 0.85
    assert float(row["false_alarms"]) == 0.0


def test_rows_of_fusion_beside_a_folder_of_authentic_pictures(
    data: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    weights = write_instances(data / "weights", fusion=FusionSpec(0.0, -100.0))
    arguments = ["instances", "--data", str(data), "--reader", "recodai", "--method", "fusion"]
    beside = ["--authentic", str(data / "train_images/authentic")]
    assert main([*arguments, "--weights", str(weights), *beside]) == 0
    shown = capsys.readouterr().out
    assert "tiny 1 + matching on" in shown
    assert "source:train_images/authentic" in shown


def test_errors(data: Path, capsys: pytest.CaptureFixture[str]) -> None:
    arguments = ["instances", "--data", str(data), "--reader", "recodai"]
    assert main([*arguments, "--method", "network"]) == 2
    assert "needs --weights" in capsys.readouterr().err
    alone = ["--method", "fusion", "--weights", str(write_instances(data / "weights"))]
    assert main([*arguments, *alone]) == 2
    assert "fit_fusion.py" in capsys.readouterr().err
