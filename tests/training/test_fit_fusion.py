"""How far a network is believed: by hand, and for one that sees what matching cannot."""

from pathlib import Path

import numpy as np
import pytest
from PIL import Image as Pillow

from synthdet.inference.weights import read_config
from tests.conftest import write_instances
from tests.copymove.test_instances import painted
from training.fit_fusion import GRID, NEVER, choose, main

FORGED = np.array([True, True, False, False])
SOURCES = ["figures", "photographs"] * 2


def judged(**better: list[float]) -> tuple[np.ndarray, np.ndarray]:
    """Dice 0.5 and no alarm under each setting; ``dice`` and ``logits`` are of GRID[1]."""
    scores, logits = np.full((4, len(GRID)), 0.5), np.full((4, len(GRID)), -1.0)
    scores[:, 1], logits[:, 1] = better["dice"], better["logits"]
    return scores, logits


def test_matching_alone_is_the_first_to_choose_from() -> None:
    assert GRID[0] == NEVER
    scores, logits = judged(dice=[0.5] * 4, logits=[-1.0] * 4)
    assert choose(scores, logits, FORGED, SOURCES, 0.1) == 0


def test_the_best_dice_is_taken() -> None:
    scores, logits = judged(dice=[0.5, 0.6, 1, 1], logits=[1.0, 1.0, -1.0, -1.0])
    assert choose(scores, logits, FORGED, SOURCES, 0.1) == 1


def test_not_where_a_source_gets_worse() -> None:
    scores, logits = judged(dice=[0.4, 1.0, 1, 1], logits=[1.0, 1.0, -1.0, -1.0])
    assert choose(scores, logits, FORGED, SOURCES, 0.1) == 0


def test_not_where_authentic_pictures_raise_alarms() -> None:
    scores, logits = judged(dice=[0.6, 0.6, 0, 1], logits=[1.0, 1.0, 1.0, -1.0])
    assert choose(scores, logits, FORGED, SOURCES, 0.1) == 0
    assert choose(scores, logits, FORGED, SOURCES, 0.5) == 1


@pytest.fixture
def data(tmp_path: Path) -> Path:
    rows = ["image,mask,source,split"]
    for number in range(2):
        image = painted() if number else np.zeros((64, 64, 3), np.uint8)
        Pillow.fromarray(image).save(tmp_path / f"{number}.png")
        if number:
            np.save(tmp_path / f"{number}.npy", image.any(axis=2)[None].astype(np.uint8))
        rows.append(f"{number}.png,{number}.npy,drawn,train" if number else "0.png,,drawn,train")
    (tmp_path / "manifest.csv").write_text("\n".join(rows) + "\n")
    return tmp_path


def test_a_network_that_sees_more_is_believed(data: Path) -> None:
    weights = write_instances(data / "weights")
    assert main(["--weights", str(weights), "--data", str(data)]) == 0
    config = read_config(weights)
    assert config.fusion is not None
    assert config.fusion.network_bias > NEVER.network_bias
    told = config.provenance["fusion"]
    assert told["dice_pos"] > told["dice_pos_of_matching"]
    assert told["false_alarms"] == 0


def test_pictures_to_measure_on_are_refused(data: Path, capsys: pytest.CaptureFixture[str]) -> None:
    table = data / "manifest.csv"
    table.write_text(table.read_text().replace(",train", ",test"))
    assert main(["--weights", str(write_instances(data / "w")), "--data", str(data)]) == 2
    assert "not of the split train" in capsys.readouterr().err
