import math

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from hypothesis.extra import numpy as hnp
from sklearn import metrics as sk

from synthdet.errors import UsageError
from synthdet.metrics import pixels

TRUTH = np.array([[1, 1, 0], [0, 0, 0]], bool)
MAP = np.array([[0.9, 0.4, 0.6], [0.1, 0.2, 0.0]])
EMPTY = np.zeros((2, 3), bool)

masks = hnp.arrays(bool, (3, 4))
maps = hnp.arrays(np.float64, (3, 4), elements=st.sampled_from([0.0, 0.25, 0.5, 0.75, 1.0]))


class TestByHand:
    def test_dice_and_iou(self) -> None:
        predicted = MAP >= 0.5  # one of two found, one alarm
        assert pixels.dice(TRUTH, predicted) == pytest.approx(2 / 4)
        assert pixels.iou(TRUTH, predicted) == pytest.approx(1 / 3)

    def test_pixel_auc(self) -> None:
        assert pixels.pixel_auc(TRUTH, MAP) == pytest.approx(7 / 8)

    def test_best_dice(self) -> None:
        score, threshold = pixels.best_dice(TRUTH, MAP)  # at 0.4: both found, one alarm
        assert score == pytest.approx(4 / 5)
        assert threshold == 0.4
        assert pixels.dice(TRUTH, threshold <= MAP) == score

    def test_threshold_itself_is_called(self) -> None:
        flat = np.full((2, 3), 0.5)
        assert pixels.score_map(~EMPTY, flat, threshold=0.5)["dice"] == 1

    def test_dice_curve(self) -> None:
        curve = pixels.dice_curve(TRUTH, MAP, np.array([0.0, 0.4, 0.5, 0.9, 1.0]))
        assert curve == pytest.approx([4 / 8, 4 / 5, 2 / 4, 2 / 3, 0])
        curve = pixels.dice_curve(EMPTY, MAP, np.array([0.0, 0.9, 0.95]))
        assert curve.tolist() == [0, 0, 1]

    def test_best_shared_threshold(self) -> None:
        thresholds = np.array([0.1, 0.3, 0.5])
        maps = [MAP, np.where(TRUTH, 0.3, 0.2)]
        curves = np.array([pixels.dice_curve(TRUTH, one, thresholds) for one in maps])
        threshold, mean = pixels.best_shared_threshold(curves, thresholds)
        assert threshold == 0.3
        assert mean == pytest.approx((4 / 5 + 1) / 2)

    def test_no_shared_threshold_without_manipulation(self) -> None:
        with pytest.raises(UsageError, match="no picture is forged"):
            pixels.best_shared_threshold(np.zeros((0, 3)), np.zeros(3))


@given(masks, maps)
def test_the_curve_is_dice_at_every_threshold(truth: pixels.Mask, probability: pixels.Map) -> None:
    thresholds = np.linspace(0, 1, 9)
    one_by_one = [pixels.dice(truth, probability >= threshold) for threshold in thresholds]
    assert pixels.dice_curve(truth, probability, thresholds) == pytest.approx(one_by_one)


class TestEmptyMasks:
    def test_both_empty(self) -> None:
        assert pixels.dice(EMPTY, EMPTY) == pixels.iou(EMPTY, EMPTY) == 1

    def test_one_empty(self) -> None:
        assert pixels.dice(EMPTY, TRUTH) == pixels.iou(EMPTY, TRUTH) == 0
        assert pixels.dice(TRUTH, EMPTY) == pixels.iou(TRUTH, EMPTY) == 0

    @pytest.mark.parametrize("truth", [EMPTY, ~EMPTY])
    def test_auc_needs_both_kinds_of_pixel(self, truth: pixels.Mask) -> None:
        assert math.isnan(pixels.pixel_auc(truth, MAP))

    def test_best_dice_of_an_empty_truth(self) -> None:
        assert pixels.best_dice(EMPTY, MAP) == (1.0, math.inf)


class TestAgainstScikitLearn:
    @given(masks, masks)
    def test_dice_and_iou(self, truth: pixels.Mask, predicted: pixels.Mask) -> None:
        flat = truth.ravel(), predicted.ravel()
        assert pixels.dice(truth, predicted) == pytest.approx(sk.f1_score(*flat, zero_division=1))
        expected = sk.jaccard_score(*flat, zero_division=1)
        assert pixels.iou(truth, predicted) == pytest.approx(expected)

    @given(masks, maps)
    def test_auc(self, truth: pixels.Mask, probability: pixels.Map) -> None:
        truth[0, :2] = [True, False]
        expected = sk.roc_auc_score(truth.ravel(), probability.ravel())
        assert pixels.pixel_auc(truth, probability) == pytest.approx(expected)

    @given(masks, maps)
    def test_best_dice_and_iou_over_all_thresholds(
        self, truth: pixels.Mask, probability: pixels.Map
    ) -> None:
        truth[0, 0] = True
        cuts = [probability >= cut for cut in np.unique(probability)]
        scores = pixels.score_map(truth, probability)
        assert scores["best_dice"] == pytest.approx(max(pixels.dice(truth, cut) for cut in cuts))
        assert scores["best_iou"] == pytest.approx(max(pixels.iou(truth, cut) for cut in cuts))


class TestSummary:
    def test_pos_and_all(self) -> None:
        truths = [TRUTH, EMPTY, EMPTY]
        predictions = [MAP, np.zeros((2, 3)), MAP]  # half right, silent, false alarm
        scores = [pixels.score_map(t, p) for t, p in zip(truths, predictions, strict=True)]
        summary = pixels.summarise_maps(scores, np.array([True, False, False]))
        assert summary["dice_pos"] == pytest.approx(0.5)
        assert summary["dice_all"] == pytest.approx((0.5 + 1 + 0) / 3)
        assert summary["iou_pos"] == pytest.approx(1 / 3)
        assert summary["auc_all"] == summary["auc_pos"] == pytest.approx(7 / 8)

    def test_no_forged_picture(self) -> None:
        scores = [pixels.score_map(EMPTY, MAP)]
        summary = pixels.summarise_maps(scores, np.array([False]))
        assert math.isnan(summary["dice_pos"])
        assert summary["dice_all"] == 0

    def test_no_pictures(self) -> None:
        assert pixels.summarise_maps([], np.array([], bool)) == {}

    def test_refuses_another_size(self) -> None:
        with pytest.raises(UsageError, match="expected one size"):
            pixels.score_map(TRUTH, np.zeros((4, 6)))
