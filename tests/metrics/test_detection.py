import math

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from sklearn import metrics as sk

from synthdet.errors import UsageError
from synthdet.metrics import detection
from synthdet.metrics.detection import Labels, Scores

# Six pictures, worked out by hand: sorted by logit the truth reads 1 1 0 1 0 0.
LABELS = np.array([1, 0, 1, 0, 1, 0])
LOGITS = np.array([3.0, 1.0, 2.0, -1.0, 0.5, -2.0])


@st.composite
def answers(draw: st.DrawFn) -> tuple[Labels, Scores]:
    """Both classes, few distinct logits, so that ties are common."""
    size = draw(st.integers(2, 40))
    labels = np.array(draw(st.lists(st.integers(0, 1), min_size=size, max_size=size)))
    labels[:2] = [0, 1]
    values = draw(st.lists(st.integers(-6, 6), min_size=size, max_size=size))
    return labels, np.array(values) / 2


class TestByHand:
    def test_balanced_accuracy(self) -> None:
        # All 3 fakes and 2 of 3 reals are right at 0; at 1.5, 2 fakes and 3 reals.
        assert detection.balanced_accuracy(LABELS, LOGITS) == pytest.approx((1 + 2 / 3) / 2)
        assert detection.balanced_accuracy(LABELS, LOGITS, 1.5) == pytest.approx((2 / 3 + 1) / 2)

    def test_zero_is_not_above_zero(self) -> None:
        assert detection.balanced_accuracy(np.array([0, 1]), np.array([0.0, 0.0])) == 0.5

    def test_f1(self) -> None:
        assert detection.f1(LABELS, LOGITS) == pytest.approx(6 / 7)  # 3 found, 4 called, 3 true

    def test_auc(self) -> None:
        assert detection.auc(LABELS, LOGITS) == pytest.approx(8 / 9)  # one pair of nine inverted

    def test_average_precision(self) -> None:
        assert detection.average_precision(LABELS, LOGITS) == pytest.approx((1 + 1 + 3 / 4) / 3)

    def test_equal_error_rate(self) -> None:
        # The ROC steps (0, 2/3) -> (1/3, 2/3): false alarms meet misses at one third.
        assert detection.equal_error_rate(LABELS, LOGITS) == pytest.approx(1 / 3)

    def test_equal_error_rate_between_two_points(self) -> None:
        # All tied: the ROC is the diagonal, met at one half.
        assert detection.equal_error_rate(LABELS, np.zeros(6)) == pytest.approx(0.5)

    def test_tpr_at_fpr(self) -> None:
        assert detection.tpr_at_fpr(LABELS, LOGITS, 0.05) == pytest.approx(2 / 3)
        assert detection.tpr_at_fpr(LABELS, LOGITS, 1 / 3) == 1.0

    def test_negative_log_likelihood(self) -> None:
        even = detection.negative_log_likelihood(LABELS, np.zeros(6))
        assert even == pytest.approx(math.log(2))
        odds = math.log(4)  # P = 0.8 for the truth, twice
        found = detection.negative_log_likelihood(np.array([1, 0]), np.array([odds, -odds]))
        assert found == pytest.approx(-math.log(0.8))

    def test_negative_log_likelihood_does_not_overflow(self) -> None:
        labels, logits = np.array([0, 1]), np.array([1000.0, 1000.0])
        assert detection.negative_log_likelihood(labels, logits) == 500

    def test_calibration_error(self) -> None:
        odds = math.log(3)  # P = 0.75, and three of four are synthetic: perfect
        labels, logits = np.array([1, 1, 1, 0]), np.full(4, odds)
        assert detection.calibration_error(labels, logits) == pytest.approx(0)
        assert detection.calibration_error(1 - labels, logits) == pytest.approx(0.5)

    def test_calibration_error_of_certainty(self) -> None:
        labels, logits = np.array([0, 1]), np.array([1000.0, -1000.0])
        assert detection.calibration_error(labels, logits) == pytest.approx(1)

    def test_vip_score(self) -> None:
        wrong = (np.array([0, 1]), np.array([1.0, 1.0]))  # balanced accuracy 0.5
        right = (np.array([0, 1]), np.array([-1.0, 1.0]))
        assert detection.vip_score(right, wrong) == pytest.approx(0.7 + 0.15)
        assert detection.vip_score(wrong, right) == pytest.approx(0.35 + 0.3)


class TestAgainstScikitLearn:
    @given(answers())
    def test_threshold_metrics(self, answer: tuple[Labels, Scores]) -> None:
        labels, logits = answer
        called = logits > 0
        assert detection.balanced_accuracy(labels, logits) == pytest.approx(
            sk.balanced_accuracy_score(labels, called)
        )
        assert detection.f1(labels, logits) == pytest.approx(
            sk.f1_score(labels, called, zero_division=0)
        )

    @given(answers())
    def test_ranking_metrics(self, answer: tuple[Labels, Scores]) -> None:
        labels, logits = answer
        assert detection.auc(labels, logits) == pytest.approx(sk.roc_auc_score(labels, logits))
        assert detection.average_precision(labels, logits) == pytest.approx(
            sk.average_precision_score(labels, logits)
        )
        fpr, tpr, values = sk.roc_curve(labels, logits, drop_intermediate=False)
        for found, expected in zip(detection.roc(labels, logits), (fpr, tpr, values), strict=True):
            np.testing.assert_allclose(found, expected)
        for rate in (0.01, 0.05, 0.5):
            expected = tpr[fpr <= rate].max()
            assert detection.tpr_at_fpr(labels, logits, rate) == pytest.approx(expected)

    @given(answers())
    def test_negative_log_likelihood(self, answer: tuple[Labels, Scores]) -> None:
        labels, logits = answer
        expected = sk.log_loss(labels, 1 / (1 + np.exp(-logits)))
        assert detection.negative_log_likelihood(labels, logits) == pytest.approx(expected)


class TestThresholds:
    def test_lies_halfway(self) -> None:
        labels, logits = np.array([0, 0, 1, 1]), np.array([-3.0, -1.0, 2.0, 5.0])
        assert detection.best_balanced_accuracy_threshold(labels, logits) == 0.5
        assert detection.best_f1_threshold(labels, logits) == 0.5

    def test_takes_the_widest_of_equals(self) -> None:
        labels, logits = np.array([0, 1, 0, 1]), np.array([0.0, 1.0, 2.0, 9.0])
        assert detection.best_balanced_accuracy_threshold(labels, logits) == 5.5

    def test_f1_and_balanced_accuracy_disagree(self) -> None:
        # Many reals: balanced accuracy accepts 2 of 20 as alarms for one more fake, F1 does not.
        labels = np.array([1] * 3 + [0] * 2 + [1] + [0] * 18)
        logits = -np.arange(24.0)
        assert detection.best_balanced_accuracy_threshold(labels, logits) == -5.5
        assert detection.best_f1_threshold(labels, logits) == -2.5

    @given(answers())
    def test_nothing_beats_the_best(self, answer: tuple[Labels, Scores]) -> None:
        labels, logits = answer
        cuts = np.concatenate([logits - 0.1, logits + 0.1])
        for metric, threshold in [
            (detection.balanced_accuracy, detection.best_balanced_accuracy_threshold),
            (detection.f1, detection.best_f1_threshold),
        ]:
            best = metric(labels, logits, threshold(labels, logits))
            assert best >= max(metric(labels, logits, cut) for cut in cuts) - 1e-9

    @pytest.mark.parametrize("labels", [[0, 0], [1, 1]])
    def test_one_class_gives_no_threshold(self, labels: list[int]) -> None:
        with pytest.raises(UsageError, match="only one class"):
            detection.best_f1_threshold(np.array(labels), np.array([1.0, 2.0]))


class TestAbsentClasses:
    def test_reals_alone(self) -> None:
        scores = detection.summarise(np.zeros(4), np.array([-1.0, -2.0, -3.0, 1.0]))
        assert scores["balanced_accuracy"] == 0.75
        undefined = {"f1", "auc", "ap", "eer", "tpr_at_fpr_5", "tpr_at_fpr_1"}
        assert {name for name, value in scores.items() if math.isnan(value)} == undefined

    def test_fakes_alone(self) -> None:
        scores = detection.summarise(np.ones(4), np.array([-1.0, 2.0, 3.0, 1.0]))
        assert scores["balanced_accuracy"] == 0.75
        assert scores["f1"] == pytest.approx(6 / 7)
        undefined = {"auc", "eer", "tpr_at_fpr_5", "tpr_at_fpr_1"}
        assert {name for name, value in scores.items() if math.isnan(value)} == undefined

    def test_no_pictures(self) -> None:
        scores = detection.summarise(np.array([], bool), np.array([]))
        assert all(math.isnan(value) for value in scores.values())

    def test_none_found_is_zero(self) -> None:
        assert detection.f1(np.array([0, 1]), np.array([-1.0, -1.0])) == 0


class TestSummarise:
    def test_even_odds_move_probabilities_alone(self) -> None:
        plain, moved = (detection.summarise(LABELS, LOGITS, odds) for odds in (0.0, 1.0))
        changed = {name for name in plain if plain[name] != moved[name]}
        assert changed == {"nll", "ece"}
        assert moved["nll"] == detection.negative_log_likelihood(LABELS, LOGITS - 1)

    @pytest.mark.parametrize("bad", [math.nan, math.inf])
    def test_refuses_what_is_not_finite(self, bad: float) -> None:
        with pytest.raises(UsageError, match="1 of 2 logits are not finite"):
            detection.auc(np.array([0, 1]), np.array([0.0, bad]))

    def test_refuses_another_length(self) -> None:
        with pytest.raises(UsageError, match="shape"):
            detection.auc(np.array([0, 1]), np.array([0.0, 1.0, 2.0]))
