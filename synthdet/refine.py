"""Fitting a map to the edges of its picture.

Two ways, both after the network and without learning:

- *guided*: a guided filter (He, Sun and Tang, TPAMI 2013) with the grey picture as its guide. The
  map becomes a linear function of the picture in every window, so its edges follow the picture's.
"""

from typing import Literal

import cv2
import numpy as np

from synthdet.views import Image, Map

Refinement = Literal["none", "guided"]

_RADIUS = 8  # pixels of the guided filter's window to either side
_EPSILON = 1e-3  # of the squared range of the guide: what counts as flat


def refine(probabilities: Map, image: Image, how: Refinement) -> Map:
    """Fit a map to its picture.

    Args:
        probabilities: float32 HxW in [0, 1].
        image: uint8 HxWx3 RGB of the same size.
        how: "none" gives the map back as it is.

    Returns:
        float32 HxW in [0, 1].
    """
    if how == "none":
        return probabilities
    return guided_filter(probabilities, image)


def guided_filter(
    probabilities: Map, image: Image, radius: int = _RADIUS, epsilon: float = _EPSILON
) -> Map:
    """float32 HxW in [0, 1], uint8 HxWx3 -> float32 HxW in [0, 1]; the paper's algorithm 1."""

    def mean(values: Map) -> Map:
        side = 2 * radius + 1
        blurred = cv2.boxFilter(values, -1, (side, side), borderType=cv2.BORDER_REFLECT)
        return np.asarray(blurred, np.float32)

    guide: Map = cv2.cvtColor(image, cv2.COLOR_RGB2GRAY).astype(np.float32) / np.float32(255)
    mean_guide, mean_map = mean(guide), mean(probabilities)
    variance = mean(guide * guide) - mean_guide * mean_guide
    covariance = mean(guide * probabilities) - mean_guide * mean_map
    slope = covariance / (variance + np.float32(epsilon))
    offset = mean_map - slope * mean_guide
    fitted: Map = mean(slope) * guide + mean(offset)
    return np.clip(fitted, 0.0, 1.0, out=fitted)
