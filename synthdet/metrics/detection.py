"""Metrics of detection: one logit and one label per image.

Everywhere ``labels`` are bool N (or 0 and 1), true for synthetic, and ``logits`` are finite float
N, higher for synthetic; an image is called synthetic when its logit is above the threshold. A
metric that needs both classes is nan where one is absent.
"""

from collections.abc import Callable
from typing import Any

import numpy as np
import numpy.typing as npt

from synthdet.errors import UsageError

Labels = npt.NDArray[Any]  # bool N, or 0 and 1
Scores = npt.NDArray[np.floating[Any]]
Counts = npt.NDArray[np.float64]

_VIP_SHARES = (0.7, 0.3)  # of part 1 and part 2
_ECE_BINS = 15  # as in Guo et al., "On Calibration of Modern Neural Networks", ICML 2017


def summarise(labels: Labels, logits: Scores, even_odds: float = 0.0) -> dict[str, float]:
    """All metrics of this file by name, at threshold 0.

    Args:
        labels: bool N.
        logits: float N.
        even_odds: the logit at which the calibrated probability is one half; moves NLL and ECE
            alone (see `synthdet.decisions.calibration`).
    """
    return {
        "balanced_accuracy": balanced_accuracy(labels, logits),
        "f1": f1(labels, logits),
        "auc": auc(labels, logits),
        "ap": average_precision(labels, logits),
        "eer": equal_error_rate(labels, logits),
        "nll": negative_log_likelihood(labels, logits - even_odds),
        "ece": calibration_error(labels, logits - even_odds),
        "tpr_at_fpr_5": tpr_at_fpr(labels, logits, 0.05),
        "tpr_at_fpr_1": tpr_at_fpr(labels, logits, 0.01),
    }


def vip_score(part1: tuple[Labels, Scores], part2: tuple[Labels, Scores]) -> float:
    """Score of the VIP Cup 2022: 0.7 and 0.3 of the balanced accuracy on its two parts.

    Args:
        part1: labels and logits of the first part.
        part2: labels and logits of the second part.
    """
    parts = zip(_VIP_SHARES, (part1, part2), strict=True)
    return sum(share * balanced_accuracy(*part) for share, part in parts)


def balanced_accuracy(labels: Labels, logits: Scores, threshold: float = 0.0) -> float:
    """Mean of the share of real and the share of synthetic images that are called right.

    With one class absent it is the share of the other; of no images, nan.
    """
    real, fake = split_classes(labels, logits)
    hits = (real <= threshold, fake > threshold)
    recalls = [float(np.mean(hit)) for hit in hits if hit.size]
    return float(np.mean(recalls)) if recalls else float("nan")


def f1(labels: Labels, logits: Scores, threshold: float = 0.0) -> float:
    """F1 of the synthetic (or, for a localizer's image scores, the forged) class.

    Nan without a synthetic image: there is nothing to find; 0 where none is found.
    """
    real, fake = split_classes(labels, logits)
    found = int(np.sum(fake > threshold))
    called = found + int(np.sum(real > threshold))
    return 2 * found / (called + fake.size) if fake.size else float("nan")


def auc(labels: Labels, logits: Scores) -> float:
    """Area under the ROC: the chance that a synthetic image outscores a real one, ties half.

    The Mann-Whitney statistic; nan with one class absent.
    """
    real, fake = split_classes(labels, logits)
    if not (real.size and fake.size):
        return float("nan")
    real, fake = np.sort(real), np.sort(fake)  # sorted fakes are looked up faster
    beaten_or_tied = np.searchsorted(real, fake, "left") + np.searchsorted(real, fake, "right")
    return float(beaten_or_tied.sum() / (2 * real.size * fake.size))


def average_precision(labels: Labels, logits: Scores) -> float:
    """Precision averaged over the steps of recall, without interpolation.

    Nan without a synthetic image.
    """
    _, found, alarms = _counts(labels, logits)
    if not (found.size and found[-1]):
        return float("nan")
    steps = np.diff(found, prepend=0) / found[-1]
    return float(np.sum(steps * found / (found + alarms)))


def equal_error_rate(labels: Labels, logits: Scores) -> float:
    """Where false alarms and misses are equally frequent, on the ROC joined by straight lines.

    Nan with one class absent.
    """
    fpr, tpr, _ = roc(labels, logits)
    excess = fpr + tpr - 1  # false alarms less misses: rises from -1 to 1
    if np.isnan(excess).any():
        return float("nan")
    after = int(np.argmax(excess >= 0))
    share = excess[after] / (excess[after] - excess[after - 1])
    return float(fpr[after] - share * (fpr[after] - fpr[after - 1]))


def tpr_at_fpr(labels: Labels, logits: Scores, rate: float) -> float:
    """Largest share of synthetic images found with at most ``rate`` of the real ones called.

    Only thresholds that exist count, without interpolation; nan with one class absent.
    """
    fpr, tpr, _ = roc(labels, logits)
    if np.isnan(fpr + tpr).any():
        return float("nan")
    return float(tpr[fpr <= rate].max())


def negative_log_likelihood(labels: Labels, logits: Scores) -> float:
    """Mean of -log P(truth) in nats, where P(synthetic) is the logistic function of the logit.

    One class alone is scored as it is; of no images, nan.
    """
    real, fake = split_classes(labels, logits)
    losses = np.concatenate([np.logaddexp(0, real), np.logaddexp(0, -fake)])
    return float(losses.mean()) if losses.size else float("nan")


def calibration_error(labels: Labels, logits: Scores) -> float:
    """Expected calibration error of P(synthetic): 15 equal bins, weighted by their images.

    In each bin, the distance of the mean probability from the share of synthetic images. One
    class alone is scored as it is; of no images, nan.
    """
    labels, logits = _checked(labels, logits)
    if not labels.size:
        return float("nan")
    probabilities = np.exp(-np.logaddexp(0, -logits))  # the logistic function, without overflow
    bins = np.minimum((probabilities * _ECE_BINS).astype(int), _ECE_BINS - 1)
    gaps = np.bincount(bins, probabilities - labels, _ECE_BINS)
    return float(np.abs(gaps).sum() / labels.size)


def best_balanced_accuracy_threshold(labels: Labels, logits: Scores) -> float:
    """The threshold of largest balanced accuracy, halfway between two neighbouring logits.

    Of several, the one in the widest gap. Raises UsageError with one class absent.
    """

    def quality(found: Counts, alarms: Counts, fakes: float, reals: float) -> Counts:
        return found / fakes - alarms / reals

    return _best_threshold(labels, logits, quality)


def best_f1_threshold(labels: Labels, logits: Scores) -> float:
    """The threshold of largest F1, halfway between two neighbouring logits.

    Of several, the one in the widest gap. Raises UsageError with one class absent.
    """

    def quality(found: Counts, alarms: Counts, fakes: float, reals: float) -> Counts:
        return 2 * found / (found + alarms + fakes)

    return _best_threshold(labels, logits, quality)


def roc(labels: Labels, logits: Scores) -> tuple[Counts, Counts, Counts]:
    """False and true positive rates when all logits from a value upward are called synthetic.

    Returns:
        fpr, tpr: from (0, 0) to (1, 1), one point for each distinct logit and the first one; all
            nan for an absent class.
        values: the logits, descending; the first is infinite.
    """
    values, found, alarms = _counts(labels, logits)
    rates = []
    for counts in (alarms, found):
        total = counts[-1] if counts.size and counts[-1] else float("nan")
        rates.append(np.concatenate([[0.0], counts]) / total)
    return rates[0], rates[1], np.concatenate([[np.inf], values])


def split_classes(labels: Labels, logits: Scores) -> tuple[Counts, Counts]:
    """Logits of the real and of the synthetic images, as float64.

    Raises:
        UsageError: the two have different shapes, or a logit is not finite.
    """
    labels, logits = _checked(labels, logits)
    return logits[~labels], logits[labels]


def _checked(labels: Labels, logits: Scores) -> tuple[npt.NDArray[np.bool_], Counts]:
    labels, scores = np.asarray(labels, bool), np.asarray(logits, np.float64)
    if labels.shape != scores.shape or labels.ndim != 1:
        raise UsageError(
            f"labels have shape {labels.shape} and logits {scores.shape}: expected one of each a "
            "picture"
        )
    if not np.isfinite(scores).all():
        raise UsageError(
            f"{int(np.sum(~np.isfinite(scores)))} of {scores.size} logits are not finite numbers: "
            "expected a finite logit for every picture"
        )
    return labels, scores


def _counts(labels: Labels, logits: Scores) -> tuple[Counts, Counts, Counts]:
    """Distinct logits, descending, and how many fakes and reals lie at or above each."""
    labels, scores = _checked(labels, logits)
    order = np.argsort(-scores, kind="stable")
    scores = scores[order]
    last = np.flatnonzero(np.append(np.diff(scores) != 0, True))[: scores.size]
    found = np.cumsum(labels[order], dtype=np.float64)[last]
    return scores[last], found, last + 1 - found


def _best_threshold(
    labels: Labels, logits: Scores, quality: Callable[[Counts, Counts, float, float], Counts]
) -> float:
    values, found, alarms = _counts(labels, logits)
    if not (values.size and found[-1] and alarms[-1]):
        raise UsageError("only one class is present: a threshold needs real and synthetic pictures")
    # Cut k calls the k highest values; the outermost cuts lie 1 beyond the extremes.
    edges = np.concatenate([[values[0] + 2], values, [values[-1] - 2]])
    gaps = -np.diff(edges)
    gaps[[0, -1]] = 0  # nothing is known out there: taken only where nothing else is as good
    qualities = quality(np.append(0, found), np.append(0, alarms), found[-1], alarms[-1])
    best = np.flatnonzero(qualities >= qualities.max() - 1e-12)
    cut = best[np.argmax(gaps[best])]
    return float((edges[cut] + edges[cut + 1]) / 2)
