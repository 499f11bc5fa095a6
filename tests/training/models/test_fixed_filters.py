"""Filters by hand and against another transform."""

import numpy as np
import pytest
import torch

from training.models.fixed_filters import BlockSpectrum, NoiseResiduals

# The weights of a filter that are not zero sum to 5.7 in magnitude, so a convolution in float32
# adds numbers of hundreds; in which order, and so with which rounding, is the processor's choice.
ROUNDING = 1e-4


def uint8(values: np.ndarray) -> torch.Tensor:
    return torch.from_numpy(np.asarray(values, np.uint8))


def test_flat_pictures_and_ramps_leave_no_residual():
    ramp = np.broadcast_to(np.arange(20)[None, :, None] * 3 + 40, (1, 12, 20, 3))
    inside = NoiseResiduals()(uint8(ramp))[..., 4:-4, 4:-4]
    assert inside.abs().max() < ROUNDING


def test_a_bright_pixel_is_its_kernel_in_its_own_colour():
    image = np.full((1, 9, 9, 3), 100)
    image[0, 4, 4, 1] += 2
    found = NoiseResiduals()(uint8(image))[0]
    assert found.shape == (9, 9, 9)
    assert found[:3].abs().max() < ROUNDING  # filters of red
    assert found[6:].abs().max() < ROUNDING  # and of blue
    centres = found[3:6, 4, 4] * NoiseResiduals.truncation
    assert centres.tolist() == pytest.approx([2 * -4 / 4, 2 * -12 / 12, 2 * -2 / 2], abs=1e-4)


def test_edges_are_truncated():
    image = np.zeros((1, 10, 10, 3))
    image[:, :, 5:] = 255
    found = NoiseResiduals()(uint8(image))
    assert found.min() == -1
    assert found.max() == 1


@pytest.mark.parametrize("block", [4, 8, 16])
def test_spectra_are_those_of_the_fourier_transform(block):
    rng = np.random.default_rng(0)
    image = rng.integers(0, 256, (2, 2 * block, 3 * block, 3))
    found = BlockSpectrum(block)(uint8(image))
    kept = block // 2 + 1
    assert found.shape == (2, block * kept, 2, 3)
    grey = image @ np.array([0.299, 0.587, 0.114])
    there = np.fft.rfft2(grey[1, block:, 2 * block :])
    expected = np.log1p(np.abs(there) / block)
    assert found[1, :, 1, 2].reshape(block, kept).numpy() == pytest.approx(expected, abs=1e-4)


def test_a_change_in_one_block_stays_there():
    image = np.full((1, 16, 16, 3), 90)
    other = image.copy()
    other[0, 2, 3] = 200
    difference = (BlockSpectrum(8)(uint8(image)) - BlockSpectrum(8)(uint8(other))).abs().sum(dim=1)
    assert difference[0, 0, 0] > 1
    difference[0, 0, 0] = 0
    assert difference.max() < 1e-3  # of the logarithm near 0, where rounding shows
