"""Maps that nothing was learned for: what a localizer has to beat."""

from collections.abc import Callable, Mapping

import cv2
import numpy as np

from synthdet.evaluation.mask_scoring import MaskPrediction
from synthdet.preprocessing.resizing import Image

# Second differences in both directions: blind to planes, all noise and edges (Immerkær,
# "Fast noise variance estimation", 1996).
_HIGH_PASS = np.array([[1, -2, 1], [-2, 4, -2], [1, -2, 1]], np.float32)
_WINDOW = 17  # pixels, side of the neighbourhood whose variance is taken
_FLOOR = 0.1  # grey levels², so that flat areas, which have no noise, stay comparable


def all_forged(image: Image) -> MaskPrediction:
    """Every pixel of every image is called forged; there is no opinion on the image."""
    return MaskPrediction(np.ones(image.shape[:2], np.float32), 0.0)


def noise_residual(image: Image) -> MaskPrediction:
    """How far the local noise level is from the image's own, by rank.

    Variance of a high-pass residual in a window, its logarithm, its distance from the image's
    median (after Mahdian and Saic, "Using noise inconsistencies for blind image forensics", 2009).
    Ranks say nothing of the image as a whole, so half of every image is called; the image's
    score is the spread of its noise levels.

    Args:
        image: uint8 HxWx3.

    Returns:
        map: float32 HxW in [0, 1], evenly distributed.
    """
    grey = cv2.cvtColor(image, cv2.COLOR_RGB2GRAY).astype(np.float32)
    energy = cv2.filter2D(grey, -1, _HIGH_PASS, borderType=cv2.BORDER_REFLECT) ** 2
    local = cv2.blur(energy, (_WINDOW, _WINDOW), borderType=cv2.BORDER_REFLECT)
    level = np.log(local + _FLOOR)
    distance = np.abs(level - np.median(level))
    _, place, counts = np.unique(distance, return_inverse=True, return_counts=True)
    ranks = (np.cumsum(counts) - counts / 2) / distance.size  # equal pixels share a rank
    return MaskPrediction(
        ranks[place].reshape(distance.shape).astype(np.float32), float(level.std())
    )


BASELINES: Mapping[str, Callable[[Image], MaskPrediction]] = {
    "all-forged": all_forged,
    "noise-residual": noise_residual,
}
