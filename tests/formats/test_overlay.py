from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from synthdet.formats.overlay import blend, viridis, write_overlay


def test_colours_grow_brighter_with_the_probability() -> None:
    colours = viridis(np.linspace(0, 1, 64, dtype=np.float32)[None])
    brightness = colours[0] @ [0.299, 0.587, 0.114]
    assert (np.diff(brightness) >= -1).all()
    assert brightness[-1] > brightness[0] + 150
    beyond = viridis(np.array([[-3.0, 0.0, 1.0, 7.0, np.nan]], np.float32))[0]
    np.testing.assert_array_equal(beyond[[0, 3, 4]], beyond[[1, 2, 1]])


def test_what_was_found_stands_out_where_it_lies() -> None:
    probabilities = np.zeros((40, 60), np.float32)
    probabilities[10:20, 30:50] = 1
    drawn = blend(np.full((40, 60, 3), 90, np.uint8), probabilities)
    assert (drawn[15, 40] != drawn[30, 10]).any()
    assert len(np.unique(drawn.reshape(-1, 3), axis=0)) == 2


@pytest.mark.parametrize(
    ("size", "expected"),
    [((1, 1), (128, 1)), ((4000, 2000), (1600, 800)), ((3, 8000), (128, 1600))],
)
def test_an_overlay_is_a_jpeg_of_bounded_size_with_a_bar(
    tmp_path: Path, size: tuple[int, int], expected: tuple[int, int]
) -> None:
    path = tmp_path / "a.jpg"
    write_overlay(path, np.zeros((*size, 3), np.uint8), np.zeros(size, np.float32))
    with Image.open(path) as drawn:
        assert drawn.format == "JPEG"
        assert drawn.height == expected[0]
        assert expected[1] + 16 < drawn.width < expected[1] + 100
        bar = np.asarray(drawn, int)[:, expected[1] + 12]
    top, bottom = bar[12], bar[-12]
    assert top @ [1, 1, 0] > 300  # yellow: 1
    assert bottom[2] > bottom[1]  # violet: 0
