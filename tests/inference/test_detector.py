from pathlib import Path

import numpy as np
import pytest

from synthdet.errors import WeightsError
from synthdet.inference.detector import Detector
from synthdet.preprocessing.detector_views import InputSpec, Views, make_views
from tests.conftest import picture, write_detector


def red_minus_blue(image: np.ndarray) -> float:
    """What the tiny detector answers on a flat picture, worked out by hand."""
    return 4.0 * (float(image[..., 0].mean()) - float(image[..., 2].mean())) / 255


def flat(red: int, blue: int) -> np.ndarray:
    return np.full((32, 32, 3), (red, 99, blue), np.uint8)


def test_a_flat_picture_gives_the_logit_worked_out_by_hand(detector_folder: Path) -> None:
    detector = Detector.load(detector_folder, "cpu")
    image = flat(200, 100)
    assert detector.score(image) == pytest.approx(red_minus_blue(image), abs=1e-5)


def test_the_logit_is_calibrated(tmp_path: Path) -> None:
    plain = Detector.load(write_detector(tmp_path / "a"), "cpu")
    shifted = Detector.load(write_detector(tmp_path / "b", temperature=2.0, bias=0.75), "cpu")
    image = picture(1)
    assert shifted.score(image) == pytest.approx(plain.score(image) / 2 + 0.75, abs=1e-6)


def test_views_count_by_their_weights(detector_folder: Path) -> None:
    detector = Detector.load(detector_folder, "cpu")
    red, blue = flat(255, 0), flat(0, 255)
    both = Views(np.stack([red, blue]), np.array([0.75, 0.25], np.float32))
    alone = make_views(blue, detector.config.input)
    logits = detector.logits([both, alone])
    assert logits == pytest.approx([4 * 0.75 - 4 * 0.25, -4.0], abs=1e-5)


def test_views_are_told_one_by_one(tmp_path: Path) -> None:
    detector = Detector.load(write_detector(tmp_path, temperature=2.0, bias=0.5), "cpu")
    both = Views(np.stack([flat(255, 0), flat(0, 255)]), np.array([0.75, 0.25], np.float32))
    alone = make_views(flat(0, 255), detector.config.input)
    logits, (of_both, of_one) = detector.judge([both, alone])
    assert of_both == pytest.approx([2.5, -1.5], abs=1e-5)
    assert of_one == pytest.approx([-1.5], abs=1e-5)
    assert logits == pytest.approx([1.5, -1.5], abs=1e-5)


def test_no_pictures_give_no_logits(detector_folder: Path) -> None:
    assert Detector.load(detector_folder, "cpu").logits([]).shape == (0,)


def test_the_batch_size_does_not_show_in_the_logits(tmp_path: Path) -> None:
    detector = Detector.load(write_detector(tmp_path, InputSpec(32, native=3)), "cpu")
    views = [make_views(picture(seed), detector.config.input) for seed in range(70)]
    by_batch = []
    for batch in (1, 7, 64):
        detector.model.batch_limit = batch
        by_batch.append(detector.logits(views))
    assert np.abs(np.diff(by_batch, axis=0)).max() <= 1e-4
    assert np.ptp(by_batch[0]) > 0.1  # the pictures do differ


def test_a_graph_with_another_output_is_refused(tmp_path: Path) -> None:
    with pytest.raises(WeightsError, match="expected 'logit'"):
        Detector.load(write_detector(tmp_path, output="score"), "cpu")


def test_a_graph_for_another_size_is_refused(tmp_path: Path) -> None:
    with pytest.raises(WeightsError, match="does not take uint8 1x32x32x3"):
        Detector.load(write_detector(tmp_path, InputSpec(32), side=16), "cpu")
