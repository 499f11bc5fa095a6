"""Copied regions of one image, each with a logit -> its map, its logit and its instances.

Whatever finds regions, they come to one answer here, so that map, logit and instances agree.
"""

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt
from scipy.special import expit

from synthdet.inference.localizer import Located
from synthdet.preprocessing.resizing import resize_map

Mask = npt.NDArray[np.bool_]

LONGEST = 1024  # pixels of a mask's long side: many masks of a large image fit into memory
SHARED = 0.3  # of the smaller of two regions, from which they show the same
NOTHING = -8.0  # the logit of an image in which nothing was found


@dataclass(frozen=True)
class Region:
    """A place together with its copies.

    Attributes:
        mask: bool hxw, the image reduced to `raster`.
        logit: > 0 means that it was copied.
    """

    mask: Mask
    logit: float


def raster(height: int, width: int) -> tuple[int, int]:
    """The size of masks, (h, w), for an image of this size: its own, or reduced to `LONGEST`."""
    scale = min(1.0, LONGEST / max(height, width))
    return max(1, round(height * scale)), max(1, round(width * scale))


def overlap(one: Mask, other: Mask) -> bool:
    """Whether two masks, bool hxw, share so much that they show the same region."""
    smaller = min(np.count_nonzero(one), np.count_nonzero(other))
    return bool(np.count_nonzero(one & other) > SHARED * smaller)


def answer(regions: Sequence[Region], height: int, width: int) -> Located:
    """Regions of an image of this size -> the likeliest one at each pixel, of all, and instances.

    Regions with a logit above 0 that overlap are one instance, and the likeliest comes first.
    """
    values = np.zeros((height, width), np.float32)
    instances: list[Mask] = []
    for region in sorted(regions, key=lambda one: one.logit, reverse=True):
        mask = np.asarray(resize_map(region.mask.astype(np.float32), height, width) >= 0.5, bool)
        np.maximum(values, mask * np.float32(expit(region.logit)), out=values)
        if region.logit > 0 and mask.any():
            instances = _join(instances, mask)
    labels = np.zeros((height, width), np.uint8 if len(instances) < 256 else np.uint16)
    for number, instance in enumerate(instances, start=1):
        labels[instance & (labels == 0)] = number
    logit = max((region.logit for region in regions), default=NOTHING)
    return Located(values, logit, labels)


def _join(instances: list[Mask], mask: Mask) -> list[Mask]:
    """Add a mask; those that it overlaps become one with it."""
    apart = []
    for instance in instances:
        if overlap(instance, mask):
            mask = mask | instance
        else:
            apart.append(instance)
    return [*apart, mask]
