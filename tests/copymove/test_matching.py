"""Matching a picture with itself: copies are found, repetition is not, nothing ever fails."""

import cv2
import numpy as np
import pytest

from synthdet.copymove.blocks import block_matches
from synthdet.copymove.keypoints import describe, self_matches
from synthdet.copymove.matching import NOTHING, find_duplicates, locate


def texture(seed: int = 0, height: int = 200, width: int = 240) -> np.ndarray:
    """Detail of several sizes, different everywhere: uint8 HxWx3."""
    rng = np.random.default_rng(seed)
    grids = [rng.normal(0, 22, (n, n, 3)) for n in (8, 24, 70)]
    layers = [cv2.resize(grid, (width, height), interpolation=cv2.INTER_CUBIC) for grid in grids]
    return (128 + sum(layers)).round().clip(0, 255).astype(np.uint8)


def copied(turn: str) -> tuple[np.ndarray, np.ndarray]:
    """A picture in which a square of 60 pixels is there twice, and the mask of both."""
    image = texture()
    part = image[20:80, 20:80].copy()
    if turn == "mirrored":
        part = part[:, ::-1]
    if turn == "turned":
        part = np.rot90(part)
    image[110:170, 150:210] = part
    mask = np.zeros(image.shape[:2], bool)
    mask[20:80, 20:80] = mask[110:170, 150:210] = True
    return image, mask


def dice(one: np.ndarray, other: np.ndarray) -> float:
    return 2 * (one & other).sum() / (one.sum() + other.sum())


@pytest.mark.parametrize("turn", ["as it is", "mirrored", "turned"])
def test_a_copy_is_found_with_its_source(turn: str) -> None:
    image, mask = copied(turn)
    found = locate(image)
    assert found.logit > 0
    assert found.map.shape == mask.shape
    assert found.map.dtype == np.float32
    assert found.instances is not None
    assert found.instances.max() == 1
    assert dice(found.instances == 1, mask) > 0.85
    assert np.array_equal(found.map >= 0.5, found.instances > 0)


def test_two_copies_are_two_regions() -> None:
    image, _ = copied("as it is")
    image[10:55, 130:190] = image[140:185, 20:80]
    found = locate(image)
    assert found.instances is not None
    assert found.instances.max() == 2


@pytest.mark.parametrize("seed", range(3))
def test_nothing_is_copied(seed: int) -> None:
    found = locate(texture(seed))
    assert found.logit < 0
    assert not (found.map >= 0.5).any()


@pytest.mark.parametrize("size", [(1, 1), (1, 400), (15, 30), (16, 16), (17, 300), (40, 40)])
@pytest.mark.parametrize("filling", ["flat", "noise"])
def test_odd_pictures(size: tuple[int, int], filling: str) -> None:
    image = np.full((*size, 3), 90, np.uint8)
    if filling == "noise":
        image = np.random.default_rng(0).integers(0, 256, image.shape, np.uint8)
    found = locate(image)
    assert found.map.shape == size
    assert found.logit < 0
    assert np.isfinite(found.map).all()


def test_a_flat_picture_has_nothing_alike() -> None:
    assert find_duplicates(np.zeros((64, 64, 3), np.uint8)) == []
    assert locate(np.zeros((64, 64, 3), np.uint8)).logit == NOTHING


def test_a_large_picture_is_reduced_first() -> None:
    image, mask = copied("as it is")
    large = cv2.resize(image, None, fx=8, fy=8, interpolation=cv2.INTER_CUBIC)
    found = locate(large)
    assert found.logit > 0
    assert dice(found.map >= 0.5, cv2.resize(mask.astype(np.uint8), None, fx=8, fy=8) > 0) > 0.8


class TestKeypoints:
    def test_a_mirrored_half_is_matched_by_reflection(self) -> None:
        half = cv2.cvtColor(texture(), cv2.COLOR_RGB2GRAY)
        both = np.ascontiguousarray(np.hstack([half, half[:, ::-1]]))
        matches = self_matches(describe(both))
        assert len(matches) > 50
        assert matches.mirrored.mean() > 0.9
        reflected = matches.start * [-1, 1] + [both.shape[1] - 1, 0]
        assert np.median(np.abs(reflected - matches.end)) < 0.1

    def test_each_pair_is_there_in_both_directions(self) -> None:
        image, _ = copied("as it is")
        matches = self_matches(describe(cv2.cvtColor(image, cv2.COLOR_RGB2GRAY)))
        pairs = {tuple(np.round([*one, *other], 1)) for one, other in
                 zip(matches.start, matches.end, strict=True)}  # fmt: skip
        assert pairs == {(*pair[2:], *pair[:2]) for pair in pairs}

    def test_the_affine_carries_start_to_end(self) -> None:
        image, _ = copied("mirrored")
        matches = self_matches(describe(cv2.cvtColor(image, cv2.COLOR_RGB2GRAY)))
        linear, shift = matches.affine[:, :, :2], matches.affine[:, :, 2]
        carried = np.einsum("nij,nj->ni", linear, matches.start) + shift
        assert np.abs(carried - matches.end).max() < 1e-3


class TestBlocks:
    @pytest.mark.parametrize("turn", ["as it is", "mirrored", "turned"])
    def test_blocks_of_a_copy_find_each_other(self, turn: str) -> None:
        image, _ = copied(turn)
        matches, asked = block_matches(cv2.cvtColor(image, cv2.COLOR_RGB2GRAY))
        inside = ((matches.start > 30) & (matches.start < 70)).all(axis=1)
        there = ((matches.end >= [150, 110]) & (matches.end <= [210, 170])).all(axis=1)
        assert len(asked) > 100
        assert (inside & there).sum() >= 10

    def test_a_flat_picture_asks_for_nothing(self) -> None:
        matches, asked = block_matches(np.full((60, 60), 7, np.uint8))
        assert len(matches) == len(asked) == 0
