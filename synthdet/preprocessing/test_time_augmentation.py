"""Test-time augmentation of a localizer: transforms of an image that are undone on its map."""

from collections.abc import Callable
from functools import partial
from typing import Any, NamedTuple

import numpy as np

from synthdet.preprocessing.resizing import Image, Map


class Transform(NamedTuple):
    """A transform of an image, and its inverse on a map. Both are exact; a square stays square."""

    forward: Callable[[Any], Any]
    inverse: Callable[[Any], Any]


_TRANSFORMS = (
    Transform(lambda array: array, lambda array: array),
    Transform(np.fliplr, np.fliplr),
    Transform(np.flipud, np.flipud),
    Transform(partial(np.rot90, k=1), partial(np.rot90, k=-1)),
    Transform(partial(np.rot90, k=-1), partial(np.rot90, k=1)),
)
MAX_TRANSFORMS = len(_TRANSFORMS)


def transform(image: Image, view: int) -> Image:
    """uint8 HxWx3 -> its view 0 to 4: as it is, two flips, two quarter rotations; contiguous."""
    return np.ascontiguousarray(_TRANSFORMS[view].forward(image))


def inverse(probabilities: Map, view: int) -> Map:
    """Float HxW, the map of `transform`'s view -> the map of the image as it is, exactly."""
    restored: Map = _TRANSFORMS[view].inverse(probabilities)
    return restored
