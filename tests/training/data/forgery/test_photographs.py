"""Photographs and the maps of their objects."""

from pathlib import Path

import numpy as np
import pytest
from PIL import Image as Pillow

from synthdet.errors import ImageError
from synthdet.evaluation.pairs import Sample
from tests.conftest import picture
from training.data.forgery.photographs import load_photograph, load_segments


def test_maps_of_objects(tmp_path: Path) -> None:
    numbers = np.zeros((20, 30), np.uint16)
    numbers[3:9, 4:20] = 300
    np.save(tmp_path / "map.npy", numbers)
    Pillow.fromarray(numbers).save(tmp_path / "map.png")
    for name in ("map.npy", "map.png"):
        assert np.array_equal(load_segments(tmp_path / name), numbers)
    np.save(tmp_path / "colour.npy", np.zeros((4, 4, 3), int))
    for name in ("colour.npy", "none.png"):
        with pytest.raises(ImageError, match=name):
            load_segments(tmp_path / name)


def test_a_map_has_the_size_of_its_photograph(tmp_path: Path) -> None:
    Pillow.fromarray(picture(0, 20, 30)).save(tmp_path / "image.png")
    np.save(tmp_path / "map.npy", np.ones((20, 30), int))
    np.save(tmp_path / "wide.npy", np.ones((20, 31), int))
    _, segments = load_photograph(Sample(tmp_path / "image.png"))
    assert segments is None
    sample = Sample(tmp_path / "image.png", segments=tmp_path / "map.npy")
    _, segments = load_photograph(sample)
    assert np.array_equal(segments, np.ones((20, 30)))
    with pytest.raises(ImageError, match=r"\(20, 31\) pixels, expected \(20, 30\)"):
        load_photograph(Sample(tmp_path / "image.png", segments=tmp_path / "wide.npy"))
