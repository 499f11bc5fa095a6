"""A mask goes wherever the pixels go."""

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from training.data.augmentation.augment import AugmentConfig, augment, augment_pair
from training.data.augmentation.operations import MOVING, OPERATIONS
from training.schema import validate


def config(**rules: object) -> AugmentConfig:
    return validate(AugmentConfig, rules)


def two_halves(height: int = 160, width: int = 200) -> tuple[np.ndarray, np.ndarray]:
    """A bright disc on a dark ground, and where it is."""
    y, x = np.ogrid[:height, :width]
    mask = np.hypot(y - 90, x - 80) < 50
    return np.where(mask[..., None], 220, 30).repeat(3, axis=2).astype(np.uint8), mask


@pytest.mark.parametrize("name", OPERATIONS)
@settings(max_examples=12, deadline=None)
@given(seed=st.integers(0, 2**32 - 1))
def test_the_mask_stays_on_what_it_marks(name: str, seed: int) -> None:
    image, mask = two_halves()
    rules = config(organisers=0, chain=1, operations={name: 1.0}, length=[1, 1])
    pixels, moved = augment_pair(image, mask, rules, np.random.default_rng(seed))
    assert moved.shape == pixels.shape[:2]
    bright = pixels[..., 1] > (int(pixels.max()) + int(pixels.min())) / 2
    if moved.any() and not moved.all():
        assert (bright == moved).mean() > 0.97


@pytest.mark.parametrize("seed", range(20))
def test_pixels_are_those_of_a_picture_without_a_mask(seed: int) -> None:
    image, mask = two_halves()
    rules = config(organisers=0.3, chain=0.7, length=[1, 3])
    alone = augment(image, rules, np.random.default_rng(seed))
    pixels, _ = augment_pair(image, mask, rules, np.random.default_rng(seed))
    assert np.array_equal(alone, pixels)


def test_the_organisers_cut_the_mask_too() -> None:
    image, mask = two_halves()
    rules = config(organisers=1, chain=0, flip=0)
    pixels, moved = augment_pair(image, mask, rules, np.random.default_rng(1))
    assert moved.shape == (200, 200)
    assert ((pixels[..., 1] > 125) == moved).mean() > 0.98


def test_both_are_mirrored() -> None:
    image, mask = two_halves()
    rules = config(organisers=0, chain=0, flip=1)
    pixels, moved = augment_pair(image, mask, rules, np.random.default_rng(0))
    assert np.array_equal(pixels, image[:, ::-1])
    assert np.array_equal(moved, mask[:, ::-1])


def test_operations_that_keep_the_size_of_every_picture_do_not_move_masks() -> None:
    """A new operation that cuts or resizes must be listed as moving."""
    image, _ = two_halves()
    for operation in set(OPERATIONS.values()) - MOVING:
        for seed in range(10):
            assert operation(image, np.random.default_rng(seed)).shape == image.shape
