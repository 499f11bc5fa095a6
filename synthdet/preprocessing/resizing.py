"""Padding, cropping and resizing of images and of maps: the one way from size to size.

Traces of generation and of compression live at native resolution, so crops start where JPEG blocks
do, and nothing is resampled but what is asked for.
"""

import math

import cv2
import numpy as np
import numpy.typing as npt

Image = npt.NDArray[np.uint8]  # HxWx3 RGB, 0 to 255
Map = npt.NDArray[np.float32]  # HxW, one number a pixel
JPEG_BLOCK = 8  # crops start on multiples of this, so that JPEG blocks keep their phase
_MOST_ASPECT = 16  # of what is enlarged: a line of pixels must not become an image of gigabytes


def fill_out(image: Image, size: int, enlarge: bool) -> Image:
    """uint8 HxWx3 -> the same where both sides have ``size`` pixels, else made so large.

    Args:
        image: of any size from 1x1.
        size: of a view.
        enlarge: bicubic, until the short side is ``size``; otherwise what is missing is filled with
            the mirror image. Of strips longer than 16 times their short side, the middle is
            enlarged.
    """
    return _enlarge_to(image, size) if enlarge else pad_to(image, size)


def pad_to(image: Image, size: int) -> Image:
    """Mirror the right and lower edge until both sides are at least ``size``; 1x1 images too.

    The image stays in the upper left corner, where its JPEG blocks keep their phase.
    """
    missing = [max(0, size - side) for side in image.shape[:2]]
    if not any(missing):
        return image
    return np.pad(image, ((0, missing[0]), (0, missing[1]), (0, 0)), mode="symmetric")


def crop(image: Image, y: int, x: int, size: int) -> Image:
    """uint8 HxWx3 -> a contiguous SxSx3 copy with its upper left corner at (y, x)."""
    return np.ascontiguousarray(image[y : y + size, x : x + size])


def resize(image: Image, height: int, width: int) -> Image:
    """uint8 HxWx3 -> uint8 of (height, width): area average downward, bicubic upward."""
    shrinks = height * width < image.shape[0] * image.shape[1]
    interpolation = cv2.INTER_AREA if shrinks else cv2.INTER_CUBIC
    return cv2.resize(image, (width, height), interpolation=interpolation).astype(
        np.uint8, copy=False
    )


def reduce_to(image: Image, max_side: int | None) -> Image:
    """uint8 HxWx3 -> the same, or reduced so that its long side has ``max_side`` pixels."""
    height, width = image.shape[:2]
    if max_side is None or max(height, width) <= max_side:
        return image
    scale = max_side / max(height, width)
    return resize(image, max(1, round(height * scale)), max(1, round(width * scale)))


def reduce_to_pixels(image: Image, most: int) -> Image:
    """uint8 HxWx3 -> the same, or reduced so that height times width is about ``most``."""
    height, width = image.shape[:2]
    shrunk = math.sqrt(most / (height * width))
    return image if shrunk >= 1 else reduce_to(image, min(most, round(max(height, width) * shrunk)))


def resize_map(values: Map, height: int, width: int) -> Map:
    """float32 HxW -> float32 of (height, width): area average downward, bilinear upward.

    Neither leaves the range of the values.
    """
    if values.shape == (height, width):
        return values
    shrinks = height * width < values.size
    interpolation = cv2.INTER_AREA if shrinks else cv2.INTER_LINEAR
    return np.asarray(cv2.resize(values, (width, height), interpolation=interpolation), np.float32)


def on_grid(offset: float) -> int:
    """Where the JPEG block begins that holds this row or column."""
    return int(offset) // JPEG_BLOCK * JPEG_BLOCK


def _enlarge_to(image: Image, size: int) -> Image:
    short = min(image.shape[:2])
    if short >= size:
        return image
    sides = [min(side, _MOST_ASPECT * short) for side in image.shape[:2]]
    top, left = ((whole - side) // 2 for whole, side in zip(image.shape[:2], sides, strict=True))
    middle = image[top : top + sides[0], left : left + sides[1]]
    return resize(middle, *(max(size, round(side * size / short)) for side in sides))
