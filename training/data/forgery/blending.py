"""How a forged region is set into its picture."""

from collections.abc import Callable

import cv2
import numpy as np
import numpy.typing as npt

from synthdet.preprocessing.operations import Mask
from synthdet.preprocessing.resizing import Image

_MARGIN = 2  # pixels at the border of a picture that Poisson blending leaves out


def hard(ground: Image, pasted: Image, mask: Mask, rng: np.random.Generator) -> Image:
    """Cut along the mask: the one way that leaves a seam."""
    return np.where(mask[..., None], pasted, ground)


def feather(ground: Image, pasted: Image, mask: Mask, rng: np.random.Generator) -> Image:
    """Fade over a few pixels on both sides of the outline."""
    sigma = min(float(rng.uniform(0.8, 4.0)), 0.05 * np.sqrt(mask.sum()) + 0.5)
    return fade(ground, pasted, cv2.GaussianBlur(mask.astype(np.float32), (0, 0), sigma))


def poisson(ground: Image, pasted: Image, mask: Mask, rng: np.random.Generator) -> Image:
    """Keep the gradients of the pasted part and take the ground's colours at the outline.

    Perez et al., "Poisson Image Editing", 2003; now and then with the stronger of both gradients.
    What would touch the border of the picture is cut off there first.
    """
    inside = np.zeros(mask.shape, np.uint8)
    inner = slice(_MARGIN, -_MARGIN)
    inside[inner, inner] = mask[inner, inner]
    x, y, width, height = cv2.boundingRect(inside)
    if min(width, height) < 3:  # nothing between the edges to solve for
        return feather(ground, pasted, mask, rng)
    flags = cv2.MIXED_CLONE if rng.random() < 0.2 else cv2.NORMAL_CLONE
    centre = (x + width // 2, y + height // 2)
    cloned = cv2.seamlessClone(pasted, ground, inside * 255, centre, flags)
    return hard(ground, cloned, mask & (inside > 0), rng)


BLENDS: dict[str, Callable[[Image, Image, Mask, np.random.Generator], Image]] = {
    "feather": feather,
    "poisson": poisson,
    "hard": hard,
}
"""(ground, pasted, mask, generator) -> picture; uint8 HxWx3, the mask bool HxW."""


def fade(ground: Image, pasted: Image, alpha: npt.NDArray[np.float32]) -> Image:
    """uint8 HxWx3 twice and float32 HxW in [0, 1] -> ``pasted`` where alpha is 1."""
    share = alpha[..., None]
    return np.asarray((ground + share * (pasted.astype(np.float32) - ground)).round(), np.uint8)
