import itertools

import numpy as np
import pytest
import torch

from training.models.co_occurrences import RESIDUALS, CoOccurrences, Residual


def histogram(pixels: np.ndarray, residual: Residual) -> torch.Tensor:
    """The pooled counts of one residual, before the square root."""
    network = CoOccurrences()
    place = RESIDUALS.index(residual)
    width = network.width // len(RESIDUALS)
    roots = network(torch.from_numpy(pixels)[None])[0]
    return roots[place * width : (place + 1) * width] ** 2


def test_each_residual_gives_a_distribution():
    pixels = np.random.default_rng(0).integers(0, 256, (40, 50, 3), np.uint8)
    for residual in RESIDUALS:
        assert histogram(pixels, residual).sum().item() == pytest.approx(1, abs=1e-3)


def test_a_constant_picture_has_one_combination_only():
    counts = histogram(np.full((20, 20, 3), 77, np.uint8), RESIDUALS[0])
    assert counts.max().item() == pytest.approx(1, abs=1e-3)


def test_whole_residuals_are_counted_as_a_plain_histogram_counts_them():
    """Grey pictures make the residuals of ``second`` multiples of a half; even ones are whole."""
    grey = 2 * np.random.default_rng(1).integers(60, 63, (24, 24), np.uint8)
    residual = Residual("Y", "second", 1.0, across=True)
    expected = np.zeros((5,) * 4)
    for turned in (grey.astype(int), grey.T.astype(int)):
        filtered = (turned[:, :-2] - 2 * turned[:, 1:-1] + turned[:, 2:]) // 2
        levels = filtered[:, ::2].clip(-2, 2) + 2  # every second column
        fours = [levels[row : row + 4].T for row in range(len(levels) - 3)]
        for four in np.concatenate(fours):
            expected[tuple(four)] += 0.5 / (len(fours) * levels.shape[1])
    classes = {
        frozenset([four, four[::-1], negative(four), negative(four)[::-1]])
        for four in itertools.product(range(5), repeat=4)
    }
    pooled = sorted(sum(expected[four] for four in alike) for alike in classes)
    found = histogram(np.repeat(grey[..., None], 3, axis=2), residual).sort().values
    assert found.tolist() == pytest.approx(pooled, abs=1e-4)


def test_mirroring_and_turning_a_picture_change_nothing_but_the_lines_that_are_left_out():
    pixels = np.random.default_rng(2).integers(100, 110, (201, 201, 3), np.uint8)
    network = CoOccurrences()
    features = [
        network(torch.from_numpy(np.ascontiguousarray(turned))[None])
        for turned in (pixels, pixels[::-1], pixels.swapaxes(0, 1))
    ]
    assert (features[0] - features[1]).abs().max() < 0.01
    assert torch.allclose(features[0], features[2], atol=1e-5)


def test_smoothing_shows():
    """The reason for it all: averaging neighbours moves mass to small, alike residuals."""
    rng = np.random.default_rng(3)
    noise = rng.integers(100, 140, (64, 66, 3)).astype(float)
    smooth = (noise[:, :-2] + noise[:, 1:-1] + noise[:, 2:]) / 3
    rough, fine = (
        histogram(one.astype(np.uint8), RESIDUALS[0]) for one in (noise[:, 1:-1], smooth)
    )
    assert (rough - fine).abs().sum() > 0.2


def test_a_picture_smaller_than_the_filters_is_no_silent_nonsense():
    with pytest.raises(RuntimeError):
        CoOccurrences()(torch.zeros(1, 4, 4, 3, dtype=torch.uint8))


def negative(four: tuple[int, ...]) -> tuple[int, ...]:
    return tuple(4 - level for level in four)
