import json
import math

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from scipy.optimize import minimize

from synthdet.decisions import calibration
from synthdet.errors import UsageError
from synthdet.metrics.detection import Labels, Scores, balanced_accuracy, negative_log_likelihood


def overlapping(size: int, seed: int = 0) -> tuple[Labels, Scores]:
    """Real scores around -1, synthetic ones around 1, unit deviation: log-odds are 2 x score."""
    labels = np.arange(size) % 2
    return labels, np.random.default_rng(seed).normal(2.0 * labels - 1, 1)


class TestProbability:
    def test_by_hand(self) -> None:
        found = calibration.probability([0.0, math.log(3), -math.log(3)])
        np.testing.assert_allclose(found, [0.5, 0.75, 0.25])

    def test_is_exact_and_silent_far_out(self) -> None:
        found = calibration.probability(np.array([-1000.0, -40.0, 40.0, 1000.0]))
        assert found.tolist() == [0.0, math.exp(-40), 1.0, 1.0]

    def test_even_odds(self) -> None:
        assert calibration.probability(1.5, even_odds=1.5) == 0.5

    @given(st.floats(-30, 30))
    def test_log_odds_is_the_inverse(self, logit: float) -> None:
        found = calibration.log_odds(calibration.probability(logit))
        assert float(found) == pytest.approx(logit, abs=1e-2 if logit > 25 else 1e-5)

    def test_log_odds_of_certainty_are_finite(self) -> None:
        low, high = calibration.log_odds([0.0, 1.0])
        assert -710 < low < -700
        assert 36 < high < 38


class TestFitScale:
    def test_finds_the_true_scale(self) -> None:
        labels, scores = overlapping(20_000)
        temperature, bias = calibration.fit_scale(labels, 10 * scores + 7)
        # log-odds of a score s are 2 s, and raw is 10 s + 7: temperature 5, bias -1.4
        assert temperature == pytest.approx(5, rel=0.05)
        assert bias == pytest.approx(-1.4, abs=0.05)

    def test_class_sizes_do_not_matter(self) -> None:
        labels, scores = overlapping(20_000)
        keep = (labels == 1) | (np.arange(20_000) % 20 == 0)  # one real in ten
        _, bias = calibration.fit_scale(labels[keep], scores[keep])
        assert bias == pytest.approx(0, abs=0.15)

    @pytest.mark.parametrize("tails", [0.0, 2.0])
    def test_matches_a_general_optimiser(self, tails: float) -> None:
        labels, raw = overlapping(300, seed=3)
        raw += tails * np.random.default_rng(4).standard_t(3, 300)
        count = 150
        targets = np.where(labels, 1 - 1 / (count + 2), 1 / (count + 2))

        def loss(line: np.ndarray) -> float:
            z = line[0] * raw + line[1]
            return float(np.mean(np.logaddexp(0, z) - targets * z))

        slope, offset = minimize(loss, np.zeros(2)).x
        temperature, bias = calibration.fit_scale(labels, raw)
        assert temperature == pytest.approx(1 / slope, rel=1e-3)
        assert bias == pytest.approx(offset, abs=1e-3)

    @pytest.mark.parametrize("scale", [1e-6, 1.0, 1e6])
    def test_separated_classes_give_a_finite_fit(self, scale: float) -> None:
        labels, raw = np.array([0, 0, 1, 1]), scale * np.array([-2.0, -1.0, 1.0, 2.0])
        temperature, bias = calibration.fit_scale(labels, raw)
        assert 0 < temperature < math.inf
        assert bias == pytest.approx(0, abs=1e-6)

    @pytest.mark.parametrize("raw", [[1.0, 2.0, -1.0, -2.0], [1.0, 1.0, 1.0, 1.0]])
    def test_refuses_scores_that_do_not_rise(self, raw: list[float]) -> None:
        with pytest.raises(UsageError, match="do not rise"):
            calibration.fit_scale(np.array([0, 0, 1, 1]), np.array(raw))

    def test_refuses_one_class(self) -> None:
        with pytest.raises(UsageError, match="only one class"):
            calibration.fit_scale(np.array([1, 1]), np.array([1.0, 2.0]))


class TestFit:
    @given(st.integers(0, 50))
    def test_zero_is_the_best_threshold(self, seed: int) -> None:
        labels, raw = overlapping(60, seed)
        logits = calibration.fit(labels, raw).apply(raw)
        best = max(balanced_accuracy(labels, logits, cut) for cut in [*logits, *(logits - 1e-6)])
        assert balanced_accuracy(labels, logits) == pytest.approx(best)

    def test_even_odds_lead_back_to_the_likeliest_probability(self) -> None:
        labels, raw = overlapping(200, seed=5)
        found = calibration.fit(labels, raw)
        even_odds = found.thresholds["even_odds"]
        assert even_odds != 0  # in so few pictures the two thresholds differ
        temperature, bias = calibration.fit_scale(labels, raw)
        np.testing.assert_allclose(found.apply(raw) - even_odds, raw / temperature + bias)
        plain, shifted = (
            negative_log_likelihood(labels, found.apply(raw) - odds) for odds in (even_odds, 0)
        )
        assert plain < shifted

    def test_f1_threshold_is_on_the_shifted_logit(self) -> None:
        # With one fake in ten, best F1 asks for more evidence than best balanced accuracy.
        labels, raw = overlapping(4000)
        keep = (labels == 0) | (np.arange(4000) % 20 == 1)
        assert calibration.fit(labels[keep], raw[keep]).thresholds["f1"] > 0.5


class TestConformalBands:
    def test_limits_by_hand(self) -> None:
        # 19 pictures a class at rate 0.1: k = floor(0.1 * 20) = 2, the second from the far end.
        labels = np.repeat([0, 1], 19)
        logits = np.concatenate([np.arange(-15.0, 4.0), np.arange(-3.0, 16.0)])
        assert calibration.conformal_bands(labels, logits, [0.1]) == {"0.1": [-2.0, 2.0]}

    def test_separated_classes_leave_none_in_the_middle(self) -> None:
        labels = np.repeat([0, 1], 19)
        logits = np.concatenate([np.arange(-30.0, -11.0), np.arange(12.0, 31.0)])
        assert calibration.conformal_bands(labels, logits, [0.1]) == {"0.1": [-13.0, 13.0]}

    def test_band_holds_zero(self) -> None:
        labels = np.repeat([0, 1], 19)
        logits = 50 + np.concatenate([np.arange(-15.0, 4.0), np.arange(-3.0, 16.0)])
        assert calibration.conformal_bands(labels, logits, [0.1]) == {"0.1": [0.0, 52.0]}

    def test_a_rate_too_small_for_the_sample_is_left_out(self) -> None:
        labels, logits = overlapping(2 * 99)
        bands = calibration.conformal_bands(labels, logits, [0.009, 0.01, 0.05])
        assert list(bands) == ["0.01", "0.05"]  # 0.01 needs 99 pictures of each class
        assert calibration.conformal_bands(labels[:-1], logits[:-1], [0.01]) == {}
        assert json.loads(json.dumps(bands)) == bands

    def test_smaller_rates_give_wider_bands(self) -> None:
        bands = calibration.conformal_bands(*overlapping(1000), [0.01, 0.05, 0.2])
        widths = [high - low for low, high in bands.values()]
        assert widths == sorted(widths, reverse=True)

    @pytest.mark.parametrize("rate", [0.05, 0.2])
    @pytest.mark.parametrize("distance", [0.5, 4.0])  # classes that overlap, and that do not
    def test_errors_stay_at_the_stated_rate(self, rate: float, distance: float) -> None:
        """Average over calibration sets of the exact error of normal scores."""
        labels = np.repeat([0, 1], [60, 45])
        alarms, misses = [], []
        for seed in range(400):
            rng = np.random.default_rng(seed)
            logits = rng.normal(distance * (2 * labels - 1), 1)
            low, high = calibration.conformal_bands(labels, logits, [rate])[f"{rate:g}"]
            alarms.append(0.5 * math.erfc((high + distance) / math.sqrt(2)))
            misses.append(0.5 * math.erfc((distance - low) / math.sqrt(2)))
        noise = 3 * math.sqrt(rate / 45 / 400)
        assert np.mean(alarms) <= rate + noise
        assert np.mean(misses) <= rate + noise
        if distance < 1:  # where the classes overlap, the band is no wider than it must be
            assert np.mean(alarms) >= rate - 1 / 61 - noise

    @pytest.mark.parametrize("rate", [0.0, 1.0, -0.1])
    def test_refuses_an_impossible_rate(self, rate: float) -> None:
        with pytest.raises(UsageError, match="error rate"):
            calibration.conformal_bands(*overlapping(50), [rate])


class TestVerdict:
    @pytest.mark.parametrize(
        ("logit", "expected"),
        [
            (-1.5, "real"),
            (-1.0, "inconclusive"),
            (0.0, "inconclusive"),
            (2.0, "inconclusive"),
            (2.5, "synthetic"),
        ],
    )
    def test_by_hand(self, logit: float, expected: str) -> None:
        assert calibration.verdict(logit, [-1.0, 2.0]) == expected

    def test_rates(self) -> None:
        labels = np.array([0, 0, 0, 0, 1, 1])
        logits = np.array([-3.0, -2.0, 0.0, 5.0, -4.0, 2.0])
        assert calibration.verdict_rates(labels, logits, [-1.0, 2.0]) == {
            "false_alarms": 0.25,
            "misses": 0.5,
            "inconclusive": 2 / 6,
        }


class TestHalves:
    def test_views_of_a_picture_stay_together_whatever_else_is_there(self) -> None:
        groups = [f"picture{i // 2}" for i in range(400)]
        half = calibration.calibration_half(groups)
        assert (half[::2] == half[1::2]).all()
        np.testing.assert_array_equal(calibration.calibration_half(groups[100:]), half[100:])
        assert 0.4 < half.mean() < 0.6

    def test_one_per_group(self) -> None:
        groups = ["b", "a", "b", "c", "a", "b"]
        chosen = calibration.one_per_group(groups)
        assert sorted(groups[i] for i in chosen) == ["a", "b", "c"]
        assert chosen.tolist() == sorted(chosen)
        picks = {tuple(calibration.one_per_group(groups, seed)) for seed in range(60)}
        assert len(picks) == 6  # 2 x 3 x 1 ways
