"""The metric of the Recod.ai / LUC scientific image forgery contest: oF1.

A forged image holds one or more copied regions, and each predicted region has to answer for one
true region. An image scores the mean F1 of the best pairing, and less for regions too many.
"""

import numpy as np
import numpy.typing as npt
from scipy.optimize import linear_sum_assignment

from synthdet.errors import UsageError

Masks = npt.NDArray[np.bool_]  # bool NxHxW, one region each; N is 0 for an authentic image


def of1(truth: Masks, predicted: Masks) -> float:
    """oF1 of one image, 0 to 1; the contest takes the mean over images.

    True and predicted regions are paired for the largest sum of F1 (Hungarian method). The sum is
    divided by the number of true regions, so a region without partner counts 0, and multiplied by
    n_true / max(n_predicted, n_true).

    Args:
        truth: bool NxHxW; N = 0 for an authentic image.
        predicted: bool MxHxW; M = 0 for the answer "authentic".

    Returns:
        1 where both are authentic, 0 where only one is.

    Raises:
        UsageError: the regions are not of one size.
    """
    if not (len(truth) and len(predicted)):
        return float(len(truth) == len(predicted))
    f1 = pairwise_f1(truth, predicted)
    rows, columns = linear_sum_assignment(f1, maximize=True)
    # mean over the true ones x n_true / max(n_predicted, n_true): the number of true ones cancels
    return float(f1[rows, columns].sum() / max(len(predicted), len(truth)))


def pairwise_f1(truth: Masks, predicted: Masks) -> npt.NDArray[np.float64]:
    """Pixel F1 of every true with every predicted region: bool NxHxW, MxHxW -> float64 NxM.

    Two empty regions score 0, as in the contest: nothing was found.

    Raises:
        UsageError: the regions are not of one size.
    """
    if truth.ndim != 3 or predicted.ndim != 3 or truth.shape[1:] != predicted.shape[1:]:
        raise UsageError(
            f"true regions are {truth.shape} and predicted ones {predicted.shape}: expected "
            "(N, H, W) and (M, H, W) of one size"
        )
    both = np.array([[np.count_nonzero(t & p) for p in predicted] for t in truth], np.float64)
    sizes = np.add.outer(_areas(truth), _areas(predicted))
    f1: npt.NDArray[np.float64] = 2 * both / np.maximum(sizes, 1)
    return f1


def _areas(masks: Masks) -> npt.NDArray[np.intp]:
    return np.array([np.count_nonzero(mask) for mask in masks])
