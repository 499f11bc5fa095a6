"""The only place where pixels are cropped, padded or resized, for training and for inference.

Traces of generation and of compression live at native resolution, so a detector looks at crops
that were never resampled, plus, where it helps, one reduced view of the whole picture. How many
of each a model wants, and how they combine, stands in its weights folder as an `InputSpec`.
"""

import math
from collections.abc import Callable
from dataclasses import dataclass
from functools import partial
from typing import TYPE_CHECKING, Any

import cv2
import numpy as np
import numpy.typing as npt

from synthdet.decisions.input_warnings import doubts
from synthdet.decisions.out_of_distribution import Familiar
from synthdet.errors import WeightsError

if TYPE_CHECKING:
    from synthdet.io.images import LoadedImage

Image = npt.NDArray[np.uint8]  # HxWx3 RGB, 0 to 255

# Where native crops lie, as fractions of the free play (y, x), most telling first: a budget that
# runs out keeps the head of this list.
_POSITIONS = (
    (0.5, 0.5), (0.0, 0.0), (1.0, 1.0), (0.0, 1.0), (1.0, 0.0),
    (0.5, 0.0), (0.5, 1.0), (0.0, 0.5), (1.0, 0.5),
)  # fmt: skip
MAX_NATIVE = len(_POSITIONS)
_JPEG_BLOCK = 8  # crops start on multiples of this, so that JPEG blocks keep their phase
_REDUCE_FROM = 1.25  # a reduced view is made from this ratio of short side to view size upward


@dataclass(frozen=True)
class InputSpec:
    """What a model wants to see of a picture; stored in the weights folder's ``config.json``.

    Attributes:
        size: side of every view in pixels; views are square.
        native: most crops at native resolution, 1 to 9; small pictures give fewer.
        reduced: most views of the whole picture, its short side resized to ``size``: 0 or 1.
        reduced_weight: share of the reduced view in the picture's logit, 0 to 1; the native
            crops share the rest equally.

    Raises:
        WeightsError: a value outside these ranges.
    """

    size: int
    native: int = 1
    reduced: int = 0
    reduced_weight: float = 0.5

    def __post_init__(self) -> None:
        rules = {
            "size": 8 <= self.size <= 4096,
            "native": 1 <= self.native <= MAX_NATIVE,
            "reduced": self.reduced in (0, 1),
            "reduced_weight": 0.0 <= self.reduced_weight <= 1.0,
        }
        for name, holds in rules.items():
            if not holds:
                raise WeightsError(
                    f"input {name} is {getattr(self, name)!r}, expected {_RANGES[name]}: "
                    "correct the weights folder's config.json"
                )

    @property
    def max_views(self) -> int:
        """Most views one picture can give."""
        return self.native + self.reduced


_RANGES = {
    "size": "8 to 4096 pixels",
    "native": f"1 to {MAX_NATIVE} crops",
    "reduced": "0 or 1",
    "reduced_weight": "0 to 1",
}


@dataclass(frozen=True)
class Views:
    """What a model sees of one picture.

    Attributes:
        pixels: uint8 NxSxSx3 RGB, most telling view first.
        weights: float32 N, non-negative, summing to 1: the share of each view in the logit.
    """

    pixels: npt.NDArray[np.uint8]
    weights: npt.NDArray[np.float32]

    def first(self) -> "Views":
        """The most telling view alone, for when time runs short."""
        return Views(self.pixels[:1], np.ones(1, np.float32))


@dataclass(frozen=True)
class Seen:
    """What a decode worker sends back of one file: its views, and what there is to know of it."""

    views: Views
    notes: tuple[str, ...] = ()


def views_of(loaded: "LoadedImage", spec: InputSpec, familiar: Familiar | None = None) -> Seen:
    """A decoded file -> its views, and what speaks against it; runs in the decode workers."""
    views = make_views(loaded.pixels, spec)
    return Seen(views, loaded.notes + doubts(loaded, views.pixels[0], familiar))


def make_views(image: Image, spec: InputSpec) -> Views:
    """uint8 HxWx3 RGB of any size from 1x1 -> the views that ``spec`` asks for."""
    natives = native_crops(image, spec.size, spec.native)
    wants_reduced = spec.reduced and min(image.shape[:2]) >= _REDUCE_FROM * spec.size
    if not wants_reduced:
        return Views(np.stack(natives), np.full(len(natives), 1 / len(natives), np.float32))
    native_share = (1.0 - spec.reduced_weight) / len(natives)
    shares = [native_share] * len(natives) + [spec.reduced_weight]
    pixels = np.stack([*natives, reduced_view(image, spec.size)])
    return Views(pixels, np.array(shares, np.float32))


def native_crops(image: Image, size: int, most: int) -> list[Image]:
    """uint8 HxWx3 -> 1 to ``most`` different uint8 SxSx3 crops, spread out, never resampled."""
    image = pad_to(image, size)
    free_y, free_x = image.shape[0] - size, image.shape[1] - size
    corners = {  # a dict keeps the order and drops positions that coincide
        (_on_grid(y * free_y), _on_grid(x * free_x)): None for y, x in _POSITIONS
    }
    return [crop(image, y, x, size) for y, x in list(corners)[:most]]


def reduced_view(image: Image, size: int) -> Image:
    """uint8 HxWx3 -> uint8 SxSx3: short side resized to ``size``, then the centre."""
    height, width = image.shape[:2]
    scale = size / min(height, width)
    image = resize(image, max(size, round(height * scale)), max(size, round(width * scale)))
    return crop(image, (image.shape[0] - size) // 2, (image.shape[1] - size) // 2, size)


def pad_to(image: Image, size: int) -> Image:
    """Mirror the right and lower edge until both sides are at least ``size``; 1x1 pictures too.

    The picture stays in the upper left corner, where its JPEG blocks keep their phase.
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


# ---- what a localizer sees: squares that cover the picture, and turns that can be undone

Map = npt.NDArray[np.float32]  # HxW, one number a pixel

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


class Tiling:
    """Overlapping squares that cover a picture, and how maps of the squares blend into one.

    Squares start on multiples of 8 pixels, so that JPEG blocks keep their phase; what sticks out
    of the picture is filled with its mirror image. The share of a square in a pixel falls towards
    its rim as a raised cosine, and the shares in every pixel sum to 1, so that no seam shows.

    Example:
        tiling = Tiling(*image.shape[:2], size=512, overlap=0.25)
        blended = np.zeros(image.shape[:2], np.float32)
        for square in tiling.squares:
            tiling.blend(blended, localize(tiling.cut(image, square)), square)
    """

    def __init__(self, height: int, width: int, size: int, overlap: float) -> None:
        """Lay squares of side ``size`` over a picture; each covers ``overlap`` of the one before.

        Args:
            height, width: of the picture, from 1x1.
            size: side of a square in pixels, 8 or more.
            overlap: least share of the side, 0 to below 1.
        """
        self.size = size
        step = max(_JPEG_BLOCK, _on_grid(size * (1 - overlap)))
        self._down = _shares(height, size, step)
        self._across = _shares(width, size, step)
        self.squares = [(y, x) for y in self._down for x in self._across]

    def cut(self, image: Image, square: tuple[int, int]) -> Image:
        """uint8 HxWx3 -> uint8 SxSx3, the square with its upper left corner at (y, x)."""
        return pad_to(crop(image, *square, self.size), self.size)

    def blend(self, whole: Map, part: Map, square: tuple[int, int]) -> None:
        """Add the map of one square, float SxS, with its shares to ``whole``, float32 HxW."""
        y, x = square
        down, across = self._down[y], self._across[x]
        part = part[: len(down), : len(across)]
        whole[y : y + len(down), x : x + len(across)] += down[:, None] * across * part


def _shares(length: int, size: int, step: int) -> dict[int, npt.NDArray[np.float32]]:
    """Where squares start along a side of ``length`` -> the share of each in its pixels."""
    last = -(-max(0, length - size) // _JPEG_BLOCK) * _JPEG_BLOCK
    window = np.sin((np.arange(size) + 0.5) * (np.pi / size)) ** 2
    covered = {start: window[: length - start] for start in [*range(0, last, step), last]}
    total = np.zeros(length)
    for start, shares in covered.items():
        total[start : start + size] += shares
    return {
        start: (shares / total[start : start + size]).astype(np.float32)
        for start, shares in covered.items()
    }


def _on_grid(offset: float) -> int:
    return int(offset) // _JPEG_BLOCK * _JPEG_BLOCK
