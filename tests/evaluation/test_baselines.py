import numpy as np
import pytest

from synthdet.evaluation.baselines import BASELINES, all_forged, noise_residual
from synthdet.metrics.pixels import pixel_auc
from tests.conftest import picture


def test_all_forged() -> None:
    answer = all_forged(picture(0, 20, 30))
    assert answer.map.shape == (20, 30)
    assert (answer.map == 1).all()


@pytest.mark.parametrize("noise", [1.0, 12.0])
def test_another_noise_level_stands_out(noise: float) -> None:
    rng = np.random.default_rng(0)
    truth = np.zeros((96, 128), bool)
    truth[20:60, 30:80] = True
    sigma = np.where(truth, noise, 4.0)[..., None]
    smooth = picture(3, 96, 128)
    image = (smooth + sigma * rng.standard_normal(smooth.shape)).clip(0, 255).astype(np.uint8)
    answer = noise_residual(image)
    assert pixel_auc(truth, answer.map) > 0.9
    even = (smooth + 4 * rng.standard_normal(smooth.shape)).clip(0, 255).astype(np.uint8)
    assert answer.score > noise_residual(even).score


@pytest.mark.parametrize("name", BASELINES)
@pytest.mark.parametrize("size", [(1, 1), (1, 40), (33, 57)])
def test_maps_of_every_size(name: str, size: tuple[int, int]) -> None:
    answer = BASELINES[name](np.full((*size, 3), 128, np.uint8))
    assert answer.map.shape == size
    assert answer.map.dtype == np.float32
    assert 0 <= answer.map.min() <= answer.map.max() <= 1
    assert np.isfinite(answer.score)


def test_ranks_are_even() -> None:
    image = np.random.default_rng(0).integers(0, 256, (40, 50, 3)).astype(np.uint8)
    assert (noise_residual(image).map >= 0.5).mean() == pytest.approx(0.5, abs=0.01)
