"""The localizer on graphs whose map is a known function of the pixels."""

from pathlib import Path

import numpy as np
import pytest
from scipy.special import expit

from synthdet.errors import WeightsError
from synthdet.inference.localizer import Localizer, log_mean_exp, map_score
from synthdet.inference.weights import LocalizationSpec
from tests.conftest import write_detector, write_localizer

GAIN = 8.0


def noise(height: int, width: int) -> np.ndarray:
    return np.random.default_rng(height * width).integers(0, 256, (height, width, 3), np.uint8)


def direct(image: np.ndarray) -> np.ndarray:
    """What the tiny localizer's map must be, computed without tiles."""
    return expit(GAIN * (image[:, :, 0] / 255 - 0.5))


@pytest.mark.parametrize("views", [1, 5])
@pytest.mark.parametrize("size", [(1, 1), (32, 32), (33, 31), (100, 75), (3, 800), (800, 3)])
def test_tiles_and_turns_leave_no_trace_in_the_map(
    tmp_path: Path, size: tuple[int, int], views: int
) -> None:
    localizer = Localizer.load(write_localizer(tmp_path), "cpu")
    image = noise(*size)
    found = localizer.locate(image, views=views)
    assert found.map.dtype == np.float32
    np.testing.assert_allclose(found.map, direct(image), atol=1e-5)
    assert found.instances is None


def test_the_whole_picture_in_one_square(tmp_path: Path) -> None:
    localizer = Localizer.load(write_localizer(tmp_path, spec=LocalizationSpec(whole=True)), "cpu")
    image = np.repeat(np.repeat(noise(16, 8), 4, axis=0), 4, axis=1)
    found = localizer.locate(image)
    assert found.map.shape == (64, 32)
    assert np.corrcoef(found.map.ravel(), direct(image).ravel())[0, 1] > 0.9
    same = noise(32, 32)
    np.testing.assert_allclose(localizer.locate(same).map, direct(same), atol=1e-5)


@pytest.mark.parametrize("given", [40, None])
def test_a_reduced_picture_gives_a_map_of_the_pictures_size(
    tmp_path: Path, given: int | None
) -> None:
    spec = LocalizationSpec(max_side=None if given else 40)
    localizer = Localizer.load(write_localizer(tmp_path, spec=spec), "cpu")
    image = np.full((80, 120, 3), 200, np.uint8)
    image[:, :60] = 40
    found = localizer.locate(image, max_side=given)
    assert found.map.shape == (80, 120)
    expected = direct(image)
    clear = np.abs(np.arange(120) - 59.5) > 6  # away from the edge, which reducing blurs
    np.testing.assert_allclose(found.map[:, clear], expected[:, clear], atol=1e-3)


def test_calibration_moves_map_and_logit(tmp_path: Path) -> None:
    spec = LocalizationSpec(mask_temperature=2.0, mask_bias=1.0)
    folder = write_localizer(tmp_path, spec=spec, temperature=4.0, bias=-3.0)
    found = Localizer.load(folder, "cpu").locate(np.full((32, 32, 3), 255, np.uint8))
    np.testing.assert_allclose(found.map, expit(4.0 / 2 + 1), atol=1e-6)
    assert found.logit == pytest.approx(4.0 / 4 - 3, abs=1e-5)


def test_one_forged_square_of_many_decides(tmp_path: Path) -> None:
    localizer = Localizer.load(write_localizer(tmp_path, gain=20.0), "cpu")
    image = np.zeros((32, 320, 3), np.uint8)
    assert localizer.locate(image).logit == pytest.approx(-10, abs=1e-4)
    image[:, :32] = 255
    assert localizer.locate(image).logit > 5


def test_the_map_can_give_the_logit(tmp_path: Path) -> None:
    spec = LocalizationSpec(image_score="map")
    folder = write_localizer(tmp_path, spec=spec, outputs=("mask_logit",))
    image = np.zeros((100, 100, 3), np.uint8)
    image[:20, :20] = 255  # more than a hundredth
    assert Localizer.load(folder, "cpu").locate(image).logit == pytest.approx(4, abs=1e-3)


def test_scores_of_maps_and_of_squares() -> None:
    assert map_score(np.full((3, 2000), 0.5, np.float32)) == pytest.approx(0, abs=1e-6)
    assert np.isfinite(map_score(np.zeros((1, 1), np.float32)))
    assert log_mean_exp([2.0, 2.0, 2.0]) == pytest.approx(2)
    assert log_mean_exp([800.0, -800.0]) == pytest.approx(800 - np.log(2))


def test_numbers_that_are_not_finite_are_an_error(tmp_path: Path) -> None:
    localizer = Localizer.load(write_localizer(tmp_path, gain=float("inf")), "cpu")
    with pytest.raises(ArithmeticError, match="not finite"):
        localizer.locate(noise(8, 8))


@pytest.mark.parametrize("outputs", [("logit",), ("mask_logit",)])
def test_a_graph_without_an_output_is_refused(tmp_path: Path, outputs: tuple[str, ...]) -> None:
    with pytest.raises(WeightsError, match="export the model again"):
        Localizer.load(write_localizer(tmp_path, outputs=outputs), "cpu")


def test_a_graph_for_another_size_and_a_detector_are_refused(tmp_path: Path) -> None:
    from synthdet.preprocessing.detector_views import InputSpec

    with pytest.raises(WeightsError, match="does not take uint8 1x48x48x3"):
        Localizer.load(write_localizer(tmp_path / "a", input=InputSpec(48)), "cpu")
    with pytest.raises(WeightsError, match="expected a localizer"):
        Localizer.load(write_detector(tmp_path / "b"), "cpu")
