from pathlib import Path

import numpy as np
import pytest
from PIL import Image as Pillow

from synthdet.errors import OutputError
from synthdet.evaluation.gallery import Exhibit, draw_gallery
from tests.conftest import picture


def exhibit(height: int = 60, width: int = 90) -> Exhibit:
    truth = np.zeros((height, width), bool)
    truth[: height // 2] = True
    return Exhibit("worst, Dice 0.10", picture(0, height, width), truth, truth.astype(np.float32))


def test_a_row_for_each_heading(tmp_path: Path) -> None:
    one, two = tmp_path / "one.png", tmp_path / "two.png"
    draw_gallery("title", [("casia", [exhibit(), exhibit(300, 200)])], one)
    draw_gallery("title", [("casia", [exhibit()]), ("grip", [exhibit(1, 1)])], two)
    with Pillow.open(one) as first, Pillow.open(two) as second:
        assert first.width > 1.5 * second.width
        assert second.height > first.height
        assert len(set(np.asarray(first)[:, :, 1].ravel().tolist())) > 20


def test_tiles_show_picture_truth_and_map(tmp_path: Path) -> None:
    draw_gallery("t", [("casia", [exhibit(144, 144)])], tmp_path / "sheet.png")
    sheet = np.asarray(Pillow.open(tmp_path / "sheet.png"))
    tiles = sheet[80:224]
    assert np.array_equal(tiles[:, 6:150], picture(0, 144, 144))
    assert (tiles[10:60, 160:290] == 255).all()
    assert (tiles[80:140, 160:290] == 0).all()
    drawn = tiles[:, 306:450].astype(int)
    assert (drawn[5:65, 5:140] == (253, 231, 37)).all(axis=2).mean() > 0.95  # yellow: certain
    assert (drawn[80:140, 5:140] == (68, 1, 84)).all()


def test_a_folder_that_is_not_there(tmp_path: Path) -> None:
    with pytest.raises(OutputError):
        draw_gallery("t", [("a", [exhibit()])], tmp_path / "no" / "sheet.png")
