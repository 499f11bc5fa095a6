"""Metrics of localization: which pixels of an image were manipulated.

A truth is bool HxW, true where manipulated; a map is float HxW in [0, 1], and a pixel is called
manipulated where the map is at or above the threshold. Scores of one image are averaged over
images in two ways: "pos" takes the manipulated images alone, "all" takes every image, where
an authentic one scores 1 for an empty prediction and 0 for any pixel called.
"""

from collections.abc import Sequence
from typing import Any

import numpy as np
import numpy.typing as npt

from synthdet.errors import UsageError
from synthdet.metrics.detection import auc

Mask = npt.NDArray[np.bool_]
Map = npt.NDArray[np.floating[Any]]


def score_map(truth: Mask, probability: Map, threshold: float = 0.5) -> dict[str, float]:
    """All pixel metrics of one image by name.

    Args:
        truth: bool HxW.
        probability: float HxW in [0, 1], of the same size.
        threshold: of the fixed-threshold metrics.

    Returns:
        ``dice`` and ``iou`` at the threshold; ``best_dice`` and ``best_iou`` at the image's own
        best threshold, an upper limit that only one who knows the truth can reach; ``auc``.
    """
    predicted = probability >= threshold
    best, _ = best_dice(truth, probability)
    return {
        "dice": dice(truth, predicted),
        "iou": iou(truth, predicted),
        "best_dice": best,
        "best_iou": best / (2 - best),  # IoU rises with Dice, so both peak at one threshold
        "auc": pixel_auc(truth, probability),
    }


def summarise_maps(
    scores: Sequence[dict[str, float]], forged: npt.NDArray[np.bool_]
) -> dict[str, float]:
    """Means of `score_map` over images, each in the two variants "pos" and "all".

    Args:
        scores: one dictionary per image.
        forged: bool N, true where the image's truth is not empty.

    Returns:
        ``<metric>_pos`` over the forged images and ``<metric>_all`` over all; an image whose
        metric is nan (the AUC of an empty truth) does not count, and a mean of none is nan.
    """
    summary = {}
    for name in scores[0] if scores else ():
        values = np.array([score[name] for score in scores])
        summary[f"{name}_pos"] = _mean(values[forged])
        summary[f"{name}_all"] = _mean(values)
    return summary


def dice(truth: Mask, predicted: Mask) -> float:
    """Dice coefficient, which is the F1 of pixels: bool HxW twice -> 0 to 1.

    Both empty: 1. One empty: 0.
    """
    both, total = _overlap(truth, predicted)
    return 2 * both / total if total else 1.0


def iou(truth: Mask, predicted: Mask) -> float:
    """Intersection over union (Jaccard index): bool HxW twice -> 0 to 1.

    Both empty: 1. One empty: 0.
    """
    both, total = _overlap(truth, predicted)
    return both / (total - both) if total else 1.0


def pixel_auc(truth: Mask, probability: Map) -> float:
    """Chance that a manipulated pixel outscores an authentic one, ties half.

    Nan where the truth is empty or covers the whole image.
    """
    _check_size(truth, probability)
    return auc(truth.ravel(), probability.ravel())


def best_dice(truth: Mask, probability: Map) -> tuple[float, float]:
    """Largest Dice over all thresholds, and the threshold that gives it.

    An empty truth scores 1, at a threshold above the whole map: infinity.
    """
    _check_size(truth, probability)
    if not truth.any():
        return 1.0, float("inf")
    values, first = np.unique(probability.ravel(), return_inverse=True)
    called = _from_above(np.bincount(first))
    found = _from_above(np.bincount(first, truth.ravel()))
    scores = 2 * found / (called + found[0])
    best = int(np.argmax(scores))
    return float(scores[best]), float(values[best])


def dice_curve(
    truth: Mask, probability: Map, thresholds: npt.NDArray[np.float64]
) -> npt.NDArray[np.float64]:
    """Dice at each of T thresholds.

    Args:
        truth: bool HxW.
        probability: float HxW, of the same size.
        thresholds: float64 T, ascending.

    Returns:
        float64 T; of an empty truth 1 where no pixel is called, else 0.
    """
    _check_size(truth, probability)
    passed = np.searchsorted(thresholds, probability.ravel(), side="right")
    bins = len(thresholds) + 1  # of the first, pixels pass no threshold
    called = _from_above(np.bincount(passed, minlength=bins))[1:]
    found = _from_above(np.bincount(passed, truth.ravel(), minlength=bins))[1:]
    total = called + np.count_nonzero(truth)
    return np.divide(2 * found, total, out=np.ones(len(thresholds)), where=total > 0)


def best_shared_threshold(
    curves: npt.NDArray[np.float64], thresholds: npt.NDArray[np.float64]
) -> tuple[float, float]:
    """The one threshold of largest mean Dice over images, and that mean.

    Args:
        curves: float64 NxT, the `dice_curve` of each image.
        thresholds: float64 T; of equals, the first.

    Raises:
        UsageError: there is no image.
    """
    if not len(curves):
        raise UsageError("no picture is forged: a threshold needs manipulated pictures")
    means = curves.mean(axis=0)
    best = int(np.argmax(means))
    return float(thresholds[best]), float(means[best])


def _overlap(truth: Mask, predicted: npt.NDArray[Any]) -> tuple[int, int]:
    """Pixels in both, and the sum of the pixels in each."""
    _check_size(truth, predicted)
    both = int(np.count_nonzero(np.logical_and(truth, predicted)))
    return both, int(np.count_nonzero(truth)) + int(np.count_nonzero(predicted))


def _check_size(truth: Mask, predicted: npt.NDArray[Any]) -> None:
    if truth.shape != predicted.shape:
        raise UsageError(
            f"the mask is {truth.shape} and the prediction {predicted.shape}: expected one size; "
            "write maps at the picture's own size"
        )


def _from_above(counts: npt.NDArray[Any]) -> npt.NDArray[np.float64]:
    """At each place, the sum of it and of all that follow."""
    return np.cumsum(counts[::-1], dtype=np.float64)[::-1]


def _mean(values: npt.NDArray[np.float64]) -> float:
    known = values[~np.isnan(values)]
    return float(known.mean()) if known.size else float("nan")
