"""An image laid over itself: where a transformation carries its pixels, and what lies there.

Coordinates are (x, y) in pixels, pixel centres at whole numbers.
"""

from collections.abc import Sequence
from typing import Any

import cv2
import numpy as np
import numpy.typing as npt

Affine = npt.NDArray[np.float64]  # 2x3, for column vectors (x, y, 1)
Mask = npt.NDArray[np.bool_]
Floats = npt.NDArray[np.float32]
Box = tuple[slice, slice]  # rows, columns

APART = 16.0  # pixels between a place and its copy at least


def box_around(points: Floats, margin: float, size: Sequence[int]) -> tuple[Box, tuple[int, int]]:
    """The part of an image that holds points (x, y) and a margin, and its corner (x, y)."""
    x, y = np.floor(points.min(axis=0) - margin).astype(int).clip(0).tolist()
    right, bottom = np.ceil(points.max(axis=0) + margin).astype(int).tolist()
    return (slice(y, min(bottom + 1, size[0])), slice(x, min(right + 1, size[1]))), (x, y)


def seen_through(
    values: npt.NDArray[Any],
    affine: Affine,
    corner: tuple[int, int] = (0, 0),
    size: Sequence[int] | None = None,
    more: int = 0,
) -> npt.NDArray[Any]:
    """What lies at the other place of each pixel of a box: HxW or HxWx3 -> as much of (h, w).

    Beyond the image its border is repeated.

    Args:
        values: HxW or HxWx3.
        affine: from here to there.
        corner: (x, y) of the box; the image's own by default.
        size: (h, w) of the box; the image's own by default.
        more: pixels that the box is wider and higher.
    """
    height, width = values.shape[:2] if size is None else size[:2]
    moved = affine.copy()
    moved[:, 2] += affine[:, :2] @ np.asarray(corner, float)
    return cv2.warpAffine(
        values,
        moved,
        (width + more, height + more),
        flags=cv2.INTER_LINEAR | cv2.WARP_INVERSE_MAP,
        borderMode=cv2.BORDER_REPLICATE,
    )


def carried(points: Floats, affine: Affine) -> npt.NDArray[np.float64]:
    """Where points (x, y), Nx2, go."""
    moved: npt.NDArray[np.float64] = points @ affine[:, :2].T + affine[:, 2]
    return moved


def copy_of(source: Mask, affine: Affine) -> Mask:
    """Where a region goes, bool HxW -> bool HxW."""
    moved = cv2.warpAffine(source.astype(np.float32), affine, source.shape[::-1])
    return np.asarray(moved >= 0.5, bool)


def can_be_source(size: tuple[int, int], affine: Affine) -> Mask:
    """Where a pixel goes to another place within the image."""
    y, x = np.mgrid[: size[0], : size[1]].astype(np.float32)
    to_x, to_y = (row[0] * x + row[1] * y + row[2] for row in affine.astype(np.float32))
    within = (to_x >= 0) & (to_y >= 0) & (to_x < size[1]) & (to_y < size[0])
    return np.asarray(within & (np.hypot(to_x - x, to_y - y) > APART), bool)
