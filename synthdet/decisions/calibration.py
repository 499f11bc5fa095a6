"""What a logit means: a probability, a threshold at 0, and the right to say "inconclusive".

A network's raw score becomes an image's logit in two steps, both fitted on validation images:

1. *Scale.* ``raw / temperature + b`` with temperature and b of maximum likelihood (Platt 1999),
   both classes weighing one half: its logistic function is P(synthetic) at even prior odds.
2. *Shift.* The threshold t of best balanced accuracy on that scale is subtracted, so that 0
   decides: ``logit = raw / temperature + bias`` with ``bias = b - t``.

The steps agree (t near 0) where the fitted curve is the true one. Where they differ, 0 still
decides best, but the logistic function of the logit is off by t in log-odds. ``config.json``
carries the way back: ``thresholds["even_odds"] = -t`` is the logit of calibrated probability one
half, and ``probability(logit, even_odds)`` the calibrated probability.
"""

import hashlib
import math
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from typing import Any, Literal

import numpy as np
import numpy.typing as npt

from synthdet.errors import UsageError
from synthdet.metrics.detection import (
    Labels,
    Scores,
    auc,
    best_balanced_accuracy_threshold,
    best_f1_threshold,
    split_classes,
)

Floats = npt.NDArray[np.float64]
Verdict = Literal["real", "inconclusive", "synthetic"]
Band = Sequence[float]  # lower and upper limit on the logit; both belong to the band


def probability(logits: npt.ArrayLike, even_odds: float = 0.0) -> Floats:
    """Logits of any shape -> P(synthetic) in [0, 1], float64; exact and silent at +-1000.

    Args:
        logits: of images.
        even_odds: the logit of probability one half: ``config.thresholds.get("even_odds", 0.0)``.
    """
    z = np.asarray(logits, np.float64) - even_odds
    small = np.exp(-np.abs(z))  # never overflows
    return np.where(z >= 0, 1.0, small) / (1.0 + small)


def log_odds(probabilities: npt.ArrayLike) -> Floats:
    """P in [0, 1] of any shape -> log(P / (1 - P)), float64, the inverse of `probability`.

    The ends give finite numbers (-708 and 37), as every consumer of logits wants them.
    """
    limits = np.finfo(np.float64)
    p = np.clip(np.asarray(probabilities, np.float64), limits.tiny, 1 - limits.epsneg)
    return np.asarray(np.log(p) - np.log1p(-p))


@dataclass(frozen=True)
class Calibration:
    """What `fit` found; fields as in ``config.json``.

    Attributes:
        temperature, bias: an image's logit is ``raw / temperature + bias``.
        thresholds: ``even_odds``, the logit of calibrated probability one half, and ``f1``, the
            logit of best F1 on the images of the fit.
    """

    temperature: float
    bias: float
    thresholds: dict[str, float]

    def apply(self, raw: Scores) -> Floats:
        """Raw scores, float N -> logits, float64 N."""
        return np.asarray(raw, np.float64) / self.temperature + self.bias


def fit(labels: Labels, raw: Scores) -> Calibration:
    """Fit scale, shift and thresholds on validation images.

    Args:
        labels: bool N, true for synthetic; both classes present.
        raw: float N, scores before temperature and bias.

    Raises:
        UsageError: one class is absent, or the scores do not rise from real to synthetic.
    """
    temperature, bias = fit_scale(labels, raw)
    scaled = np.asarray(raw, np.float64) / temperature + bias
    shift = best_balanced_accuracy_threshold(labels, scaled)
    thresholds = {"even_odds": -shift, "f1": best_f1_threshold(labels, scaled) - shift}
    return Calibration(temperature, bias - shift, thresholds)


def fit_scale(labels: Labels, raw: Scores) -> tuple[float, float]:
    """Temperature and bias of maximum likelihood, both classes weighing one half.

    The targets are Platt's, a little inside 0 and 1, so that the fit stays finite where the scores
    separate the classes (Platt 1999; Lin, Lin and Weng 2007).

    Raises:
        UsageError: as `fit`.
    """
    real, fake = split_classes(labels, raw)
    if not (real.size and fake.size):
        raise UsageError("only one class is present: calibration needs real and synthetic pictures")
    scores = np.concatenate([real, fake])
    targets = np.repeat([1 / (real.size + 2), 1 - 1 / (fake.size + 2)], [real.size, fake.size])
    weights = np.repeat([0.5 / real.size, 0.5 / fake.size], [real.size, fake.size])
    centre, spread = float(scores.mean()), float(scores.std()) or 1.0
    slope, offset = _fit_logistic((scores - centre) / spread, targets, weights)
    if slope <= 1e-6:
        raise UsageError(
            f"the scores do not rise from real to synthetic (AUC {auc(labels, raw):.3f}): expected "
            "a model better than chance; look for swapped labels or untrained weights"
        )
    return spread / slope, offset - slope * centre / spread


def conformal_bands(
    labels: Labels, logits: Scores, error_rates: Iterable[float]
) -> dict[str, list[float]]:
    """Limits of the "inconclusive" band for each stated error rate, as ``config.json`` holds them.

    Class-conditional split conformal prediction (Vovk 2012). With k = floor(rate (n + 1)), a class
    is ruled out for a logit beyond its own k-th most extreme of n calibration logits: "synthetic"
    below the k-th smallest of the synthetic ones, "real" above the k-th largest of the real ones.
    A verdict is given where exactly one class is left. Both left (the classes overlap) and none
    left (unlike either) are inconclusive; either way that is the stretch between the two limits.
    It is widened to hold 0, so that a verdict never contradicts the logit's sign.

    A new image is as likely to take each of the n + 1 ranks among the calibration images of its
    class, so at most ``rate`` of the real images are called synthetic, and of the synthetic ones
    real, on average over calibration sets. This rests on nothing but exchangeability: it holds for
    images like these, one row per image, and says nothing of unknown generators. Ranks do not
    change under scale and shift, so these may be fitted on the same images.

    Args:
        labels: bool N, true for synthetic.
        logits: float N, one for each independent image.
        error_rates: each above 0 and below 1.

    Returns:
        ``{"0.05": [low, high], …}``. A rate that n images of a class cannot state, being below
        1 / (n + 1), is left out.
    """
    bands = {}
    real, fake = (np.sort(scores) for scores in split_classes(labels, logits))
    for rate in error_rates:
        if not 0 < rate < 1:
            raise UsageError(f"the error rate is {rate}, expected more than 0 and less than 1")
        # the small term undoes rounding: 0.29 * 100 is 28.999…
        below, above = (math.floor(rate * (scores.size + 1) + 1e-9) for scores in (fake, real))
        if below and above:
            limits = (0.0, float(fake[below - 1]), float(real[real.size - above]))
            bands[f"{rate:g}"] = [min(limits), max(limits)]
    return bands


def verdict(logit: float, band: Band) -> Verdict:
    """One image's logit and a band -> what may be said about it at the band's error rate."""
    if logit < band[0]:
        return "real"
    return "synthetic" if logit > band[1] else "inconclusive"


def verdict_rates(labels: Labels, logits: Scores, band: Band) -> dict[str, float]:
    """What a band does on a set of images; nan for an absent class.

    Returns:
        ``false_alarms``: share of real images called synthetic; ``misses``: share of synthetic
        ones called real; ``inconclusive``: share of all.
    """
    real, fake = split_classes(labels, logits)
    everything = np.concatenate([real, fake])
    inside = (everything >= band[0]) & (everything <= band[1])
    return {
        "false_alarms": _share(real > band[1]),
        "misses": _share(fake < band[0]),
        "inconclusive": _share(inside),
    }


def calibration_half(groups: Iterable[str]) -> npt.NDArray[np.bool_]:
    """Which of N rows calibrate (true) and which report (false), split by image.

    An image's half depends on its id alone, so it stays there whatever else is in the set, and
    all views of one image lie in one half.
    """
    digests = (hashlib.sha256(group.encode("utf-8", "surrogateescape")) for group in groups)
    return np.array([digest.digest()[0] % 2 == 0 for digest in digests], bool)


def one_per_group(groups: Sequence[str], seed: int = 0) -> npt.NDArray[np.intp]:
    """Indices of one random row of each group, ascending: N ids -> int M.

    Views of one image are not independent, and conformal prediction counts independent images.
    """
    order = np.random.default_rng(seed).permutation(len(groups))
    _, first = np.unique(np.asarray(groups)[order], return_index=True)
    return np.sort(order[first])


def _fit_logistic(x: Floats, targets: Floats, weights: Floats) -> tuple[float, float]:
    """Slope and offset of least cross-entropy, by Newton's method with step halving."""
    design = np.stack([x, np.ones_like(x)], axis=1)

    def loss(line: Floats) -> float:
        z = design @ line
        return float(weights @ (np.logaddexp(0, z) - targets * z))

    line = np.zeros(2)
    for _ in range(100):
        p = probability(design @ line)
        gradient = design.T @ (weights * (p - targets))
        curvature = (design.T * (weights * p * (1 - p))) @ design + 1e-12 * np.eye(2)
        step = np.linalg.solve(curvature, gradient)
        while loss(line - step) > loss(line) and np.abs(step).max() > 1e-10:
            step /= 2
        line = line - step
        if np.abs(step).max() < 1e-10:
            break
    return float(line[0]), float(line[1])


def _share(hits: npt.NDArray[Any]) -> float:
    return float(np.mean(hits)) if hits.size else float("nan")
