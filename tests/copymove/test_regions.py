"""Regions to one answer, by hand."""

import numpy as np

from synthdet.copymove.regions import LONGEST, NOTHING, Region, answer, overlap, raster


def square(top: int, left: int, side: int = 4, size: int = 20) -> np.ndarray:
    mask = np.zeros((size, size), bool)
    mask[top : top + side, left : left + side] = True
    return mask


def test_no_region_is_an_authentic_picture() -> None:
    found = answer([], 3, 5)
    assert found.logit == NOTHING
    assert not found.map.any()
    assert found.instances is not None
    assert found.instances.shape == (3, 5)
    assert not found.instances.any()


def test_the_likeliest_region_is_the_pictures_logit_and_comes_first() -> None:
    found = answer([Region(square(0, 0), 1.0), Region(square(9, 9), 3.0)], 20, 20)
    assert found.logit == 3.0
    assert found.instances is not None
    assert found.instances[10, 10] == 1
    assert found.instances[1, 1] == 2
    assert found.map[10, 10] > found.map[1, 1] > 0.5
    assert found.map[5, 15] == 0


def test_regions_that_overlap_are_one_instance() -> None:
    found = answer([Region(square(0, 0), 1.0), Region(square(0, 1), 3.0)], 20, 20)
    assert found.instances is not None
    assert found.instances.max() == 1
    assert (found.instances > 0).sum() == 20


def test_an_unlikely_region_is_in_the_map_but_no_instance() -> None:
    found = answer([Region(square(0, 0), -1.0)], 20, 20)
    assert 0 < found.map[1, 1] < 0.5
    assert found.instances is not None
    assert not found.instances.any()


def test_overlap_is_of_the_smaller_one() -> None:
    assert overlap(square(0, 0, 10), square(2, 2, 3))
    assert not overlap(square(0, 0, 4), square(3, 3, 4))
    assert not overlap(square(0, 0), np.zeros((20, 20), bool))


def test_masks_of_a_large_picture_are_enlarged_to_it() -> None:
    assert raster(3000, 6000) == (LONGEST // 2, LONGEST)
    assert raster(30, 60) == (30, 60)
    assert raster(1, 10**6) == (1, LONGEST)
    found = answer([Region(square(5, 5, 10), 2.0)], 40, 40)
    assert found.map.shape == (40, 40)
    assert (found.map > 0.5).sum() == 400
