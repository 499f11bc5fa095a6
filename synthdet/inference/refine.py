"""Fitting a map to the edges of its image, after the network and without learning.

- *guided*: the guided filter of He, Sun and Tang (TPAMI 2013) with the grey image as its guide:
  in every window the map becomes a linear function of the image. Box filters are all it needs.
- *crf*: mean-field inference in the dense conditional random field of Krähenbühl and Koltun
  (NIPS 2011): pixels that are near each other and of like colour are drawn to one label. Needs
  pydensecrf2 (requirements-crf.txt), which is built from source.
"""

from typing import Any, Literal

import cv2
import numpy as np

from synthdet.errors import UsageError
from synthdet.preprocessing.resizing import Image, Map, reduce_to_pixels, resize_map

Refinement = Literal["none", "guided", "crf"]

RADIUS = 8  # pixels of the guided filter's window to either side
EPSILON = 1e-3  # of the squared range of the guide: windows of less variance count as flat
_STRIP_PIXELS = 2**22  # filtered at a time, so that a large image needs little memory

# The pairwise terms of the dense CRF, as customary for images of some 500 pixels.
CRF_STEPS = 5
CRF_PIXELS = 2**20  # a larger image is reduced to so many, which take some seconds
_SMOOTH = {"sxy": 3, "compat": 3}  # near pixels; standard deviation in pixels, weight
_ALIKE = {"sxy": 60, "srgb": 10, "compat": 5}  # … and of like colour; srgb in grey levels
_SURE = 1e-5  # the network's certainty ends here, so that its energy is finite


def refine(probabilities: Map, image: Image, how: Refinement) -> Map:
    """Fit a map to its image.

    Args:
        probabilities: float32 HxW in [0, 1].
        image: uint8 HxWx3 RGB of the same size.
        how: "none" gives the map back as it is.

    Returns:
        float32 HxW in [0, 1].

    Raises:
        UsageError: "crf" without pydensecrf2.
    """
    if how == "guided":
        return guided_filter(probabilities, image)
    if how == "crf":
        return dense_crf(probabilities, image)
    return probabilities


def guided_filter(
    probabilities: Map, image: Image, radius: int = RADIUS, epsilon: float = EPSILON
) -> Map:
    """float32 HxW in [0, 1], uint8 HxWx3 -> float32 HxW in [0, 1], strip by strip."""
    height, width = probabilities.shape
    fitted = np.empty_like(probabilities)
    reach = 2 * radius  # a pixel depends on windows of windows, so strips overlap by as much
    rows = max(1, _STRIP_PIXELS // width)
    for top in range(0, height, rows):
        first, bottom = max(0, top - reach), min(height, top + rows)
        around = slice(first, min(height, bottom + reach))
        strip = _guided(probabilities[around], image[around], radius, np.float32(epsilon))
        fitted[top:bottom] = strip[top - first : bottom - first]
    return fitted


def _guided(values: Map, image: Image, radius: int, epsilon: np.float32) -> Map:
    """Algorithm 1 of the paper, with its names: guide I, input p, output q."""

    def mean(array: Any) -> Map:
        window = (2 * radius + 1, 2 * radius + 1)
        return np.asarray(cv2.boxFilter(array, -1, window, borderType=cv2.BORDER_REFLECT))

    guide = cv2.cvtColor(image, cv2.COLOR_RGB2GRAY).astype(np.float32) / 255
    mean_guide, mean_values = mean(guide), mean(values)
    variance = mean(guide * guide) - mean_guide * mean_guide
    covariance = mean(guide * values) - mean_guide * mean_values
    slope = covariance / (variance + epsilon)
    offset = mean_values - slope * mean_guide
    return np.clip(mean(slope) * guide + mean(offset), 0, 1)


def dense_crf(probabilities: Map, image: Image, library: Any = None) -> Map:
    """float32 HxW in [0, 1], uint8 HxWx3 -> float32 HxW in [0, 1].

    Args:
        probabilities: of "manipulated"; the unary energies are their negative logarithms.
        image: of the same size; beyond a megapixel both are reduced, and the result enlarged.
        library: has the class ``DenseCRF2D``; by default pydensecrf's.

    Raises:
        UsageError: no library is given, and pydensecrf2 is not installed.
    """
    library = library or find_densecrf()
    small = reduce_to_pixels(image, CRF_PIXELS)
    height, width = small.shape[:2]
    sure = np.clip(resize_map(probabilities, height, width), _SURE, 1 - _SURE).ravel()
    crf = library.DenseCRF2D(width, height, 2)
    crf.setUnaryEnergy(np.ascontiguousarray(-np.log([1 - sure, sure]), np.float32))
    crf.addPairwiseGaussian(**_SMOOTH)
    crf.addPairwiseBilateral(rgbim=np.require(small, requirements=["C", "W"]), **_ALIKE)
    state = crf.startInference()
    for _ in range(CRF_STEPS):  # one by one: each holds the interpreter's lock
        crf.stepInference(*state)
    refined = np.asarray(state[0], np.float32)[1].reshape(height, width)
    return np.clip(resize_map(refined, *probabilities.shape), 0, 1)


def find_densecrf() -> Any:
    """pydensecrf's module with the class ``DenseCRF2D``.

    Raises:
        UsageError: it is not installed.
    """
    try:
        from pydensecrf import densecrf
    except ImportError as error:
        raise UsageError(
            f"the dense CRF needs pydensecrf2 ({error}): pip install -r requirements-crf.txt, "
            "which takes a C++ compiler, or refine with 'guided'"
        ) from error
    return densecrf
