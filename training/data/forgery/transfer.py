"""What pixels pass on their way into a forgery: cut, pre-compress, move, match in colour."""

from dataclasses import dataclass

import cv2
import numpy as np
import numpy.typing as npt

from synthdet.preprocessing import operations
from synthdet.preprocessing.operations import Mask
from synthdet.preprocessing.resizing import Image
from training.data.forgery.regions import Segments

_KERNELS = (cv2.INTER_LINEAR, cv2.INTER_CUBIC, cv2.INTER_LANCZOS4)
_PLACES = 12  # tries to paste a copy away from its source


@dataclass(frozen=True)
class Turn:
    """Scale, rotation in degrees and mirroring of a pasted region; `STILL` copies pixels."""

    scale: float = 1.0
    angle: float = 0.0
    mirrored: bool = False

    @property
    def matrix(self) -> npt.NDArray[np.float64]:
        """float64 2x2 for column vectors (x, y)."""
        radians = np.deg2rad(self.angle)
        cos, sin = np.cos(radians), np.sin(radians)
        flip = np.diag([-1.0 if self.mirrored else 1.0, 1.0])
        return self.scale * np.array([[cos, -sin], [sin, cos]]) @ flip


STILL = Turn()


def limit(
    image: Image, segments: Segments | None, longest: int, rng: np.random.Generator
) -> tuple[Image, Segments | None]:
    """Cut a large picture, and its segments, to at most ``longest`` pixels a side, anywhere."""
    cuts = []
    for side in image.shape[:2]:
        start = int(rng.integers(0, max(0, side - longest), endpoint=True))
        cuts.append(slice(start, start + longest))
    window = tuple(cuts)
    image = np.ascontiguousarray(image[window])
    return image, None if segments is None else segments[window]


def pre_compress(image: Image, share: float, rng: np.random.Generator) -> Image:
    """Compress a ``share`` of images beforehand, as JPEGs of quality 60 to 98."""
    quality = int(rng.integers(60, 98, endpoint=True))
    return operations.jpeg(image, quality) if rng.random() < share else image


def draw_turn(resampled: float, rng: np.random.Generator) -> Turn:
    """A turn for a share ``resampled`` of all regions, `STILL` for the rest."""
    if rng.random() >= resampled:
        return STILL
    return Turn(
        scale=round(float(np.exp(rng.uniform(np.log(0.6), np.log(1.6)))), 3),
        angle=round(float(rng.uniform(-40, 40)), 1) if rng.random() < 0.6 else 0.0,
        mirrored=bool(rng.random() < 0.4),
    )


def move(
    source: Image,
    region: Mask,
    turn: Turn,
    size: tuple[int, int],
    rng: np.random.Generator,
    apart: bool = False,
) -> tuple[Image, Mask, Turn]:
    """Carry a region of ``source`` onto a canvas, to a random place where all of it fits.

    Offsets are whole pixels, so a region that is not turned keeps its pixels, and its JPEG blocks
    a random phase.

    Args:
        source: uint8 hxwx3.
        region: bool hxw, not empty.
        turn: what happens to it on the way; it shrinks further where it would not fit.
        size: (H, W) of the canvas.
        apart: look for a place away from where the region lies in ``source``.

    Returns:
        uint8 HxWx3, the whole source as it was moved, its edges mirrored; bool HxW, the region
        there; and the turn as it was done.
    """
    corners = _outline(region)
    turn = _shrink_to_fit(corners, turn, size)
    moved = corners @ turn.matrix.T
    offset = _place(moved, corners, size, rng, apart)
    return *carry(source, region, turn, offset, size, rng), turn


def carry(
    source: Image,
    region: Mask,
    turn: Turn,
    offset: npt.NDArray[np.float64],
    size: tuple[int, int],
    rng: np.random.Generator,
) -> tuple[Image, Mask]:
    """Turn a picture and a region of it, and put them at an offset of whole pixels (x, y).

    Returns:
        uint8 HxWx3 and bool HxW of ``size`` (H, W), as `move` does.
    """
    matrix = np.hstack([turn.matrix, offset[:, None]])
    height, width = size
    kernel = int(rng.choice(_KERNELS)) if turn != STILL else cv2.INTER_NEAREST
    pixels = cv2.warpAffine(
        source, matrix, (width, height), flags=kernel, borderMode=cv2.BORDER_REFLECT_101
    )
    there = cv2.warpAffine(region.astype(np.float32), matrix, (width, height))
    return pixels.astype(np.uint8), np.asarray(there >= 0.5, bool)


def match_colours(pasted: Image, ground: Image, mask: Mask, rng: np.random.Generator) -> Image:
    """Draw mean and contrast of the pasted region some way towards those of the ground there."""
    strength = rng.uniform(0.3, 0.9)
    there, here = pasted[mask].astype(np.float32), ground[mask].astype(np.float32)
    mean = (1 - strength) * there.mean(axis=0) + strength * here.mean(axis=0)
    contrast = ((here.std(axis=0) + 8) / (there.std(axis=0) + 8)) ** (strength / 2)
    shifted = (pasted - there.mean(axis=0)) * contrast.clip(0.6, 1.6) + mean
    return np.asarray(shifted.round().clip(0, 255), np.uint8)


def _outline(region: Mask) -> npt.NDArray[np.float64]:
    """float64 Nx2, points (x, y) whose hull holds the region."""
    points = cv2.findNonZero(region.astype(np.uint8))
    return cv2.convexHull(points).reshape(-1, 2).astype(np.float64)


def _shrink_to_fit(corners: npt.NDArray[np.float64], turn: Turn, size: tuple[int, int]) -> Turn:
    extent = np.ptp(corners @ turn.matrix.T, axis=0) + 1
    room = np.array([size[1], size[0]]) / extent
    if room.min() >= 1:
        return turn
    return Turn(round(turn.scale * float(room.min()) * 0.98, 3), turn.angle, turn.mirrored)


def _place(
    moved: npt.NDArray[np.float64],
    corners: npt.NDArray[np.float64],
    size: tuple[int, int],
    rng: np.random.Generator,
    apart: bool,
) -> npt.NDArray[np.float64]:
    """Whole-pixel offset (x, y); of several, the one whose boxes overlap the source's least."""
    least = np.ceil(-moved.min(axis=0))
    most = np.maximum(np.floor(np.array([size[1], size[0]]) - 1 - moved.max(axis=0)), least)
    tries = rng.integers(least, most, size=(_PLACES if apart else 1, 2), endpoint=True)
    low = np.maximum(tries + moved.min(axis=0), corners.min(axis=0))
    high = np.minimum(tries + moved.max(axis=0), corners.max(axis=0))
    overlap = np.prod(np.clip(high - low, 0, None), axis=1)
    return tries[np.argmin(overlap)].astype(np.float64)
