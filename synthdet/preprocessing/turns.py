"""Test-time augmentation of a localizer: turns of a picture that can be undone on its map."""

from collections.abc import Callable
from functools import partial
from typing import Any

import numpy as np

from synthdet.preprocessing.resizing import Image, Map

# Test-time augmentation: how a picture is turned, and how its map is turned back. Exact, and square
# stays square. The first is the picture as it is.
_TURNS: tuple[tuple[Callable[[Any], Any], Callable[[Any], Any]], ...] = (
    (lambda array: array, lambda array: array),
    (np.fliplr, np.fliplr),
    (np.flipud, np.flipud),
    (partial(np.rot90, k=1), partial(np.rot90, k=-1)),
    (partial(np.rot90, k=-1), partial(np.rot90, k=1)),
)
MAX_TURNS = len(_TURNS)


def turn(image: Image, view: int) -> Image:
    """uint8 HxWx3 -> its view 0 to 4: as it is, two mirrorings, two quarter turns; contiguous."""
    return np.ascontiguousarray(_TURNS[view][0](image))


def turn_back(probabilities: Map, view: int) -> Map:
    """Float HxW, the map of `turn`'s view -> the map of the picture as it is, exactly."""
    turned: Map = _TURNS[view][1](probabilities)
    return turned
