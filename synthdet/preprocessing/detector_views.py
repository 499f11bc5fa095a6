"""What a detector sees of an image.

Traces of generation and of compression live at native resolution, so a detector looks at crops
that were never resampled, plus, where it helps, one reduced view of the whole image. How many
of each a model wants, and how they combine, stands in its weights folder as an `InputSpec`.
"""

from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np
import numpy.typing as npt

from synthdet.decisions.input_warnings import doubts
from synthdet.decisions.out_of_distribution import TypicalStatistics
from synthdet.errors import WeightsError
from synthdet.preprocessing.resizing import Image, crop, fill_out, on_grid, resize

if TYPE_CHECKING:
    from synthdet.io.images import LoadedImage

# Where native crops lie, as fractions of the free play (y, x), most telling first: a budget that
# runs out keeps the head of this list.
_POSITIONS = (
    (0.5, 0.5), (0.0, 0.0), (1.0, 1.0), (0.0, 1.0), (1.0, 0.0),
    (0.5, 0.0), (0.5, 1.0), (0.0, 0.5), (1.0, 0.5),
)  # fmt: skip
MAX_NATIVE = len(_POSITIONS)
_REDUCE_FROM = 1.25  # a reduced view is made from this ratio of short side to view size upward


@dataclass(frozen=True)
class InputSpec:
    """What a model wants to see of an image; stored in the weights folder's ``config.json``.

    Attributes:
        size: side of every view in pixels; views are square.
        native: most crops at native resolution, 1 to 9; small images give fewer.
        reduced: most views of the whole image, its short side resized to ``size``: 0 or 1.
        reduced_weight: share of the reduced view in the image's logit, 0 to 1; the native
            crops share the rest equally.
        enlarge: images whose short side is under ``size`` are enlarged until it is not, instead
            of being continued by their mirror image.

    Raises:
        WeightsError: a value outside these ranges.
    """

    size: int
    native: int = 1
    reduced: int = 0
    reduced_weight: float = 0.5
    enlarge: bool = False

    def __post_init__(self) -> None:
        rules = {
            "size": 8 <= self.size <= 4096,
            "native": 1 <= self.native <= MAX_NATIVE,
            "reduced": self.reduced in (0, 1),
            "reduced_weight": 0.0 <= self.reduced_weight <= 1.0,
            "enlarge": isinstance(self.enlarge, bool),
        }
        for name, holds in rules.items():
            if not holds:
                raise WeightsError(
                    f"input {name} is {getattr(self, name)!r}, expected {_RANGES[name]}: "
                    "correct the weights folder's config.json"
                )

    @property
    def max_views(self) -> int:
        """Most views one image can give."""
        return self.native + self.reduced


_RANGES = {
    "size": "8 to 4096 pixels",
    "native": f"1 to {MAX_NATIVE} crops",
    "reduced": "0 or 1",
    "reduced_weight": "0 to 1",
    "enlarge": "true or false",
}


@dataclass(frozen=True)
class Views:
    """What a model sees of one image.

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
class PreparedImage:
    """What a decode worker sends back of one file: its views, and what there is to know of it.

    Attributes:
        views: what the detector looks at.
        notes: what speaks against believing its verdict.
        compact: what the compact detector would look at; None where there is none.
    """

    views: Views
    notes: tuple[str, ...] = ()
    compact: Views | None = None
    size: tuple[int, int] | None = None  # of the stored raster


def prepare_image(
    loaded: "LoadedImage",
    spec: InputSpec,
    familiar: TypicalStatistics | None = None,
    compact: InputSpec | None = None,
) -> PreparedImage:
    """A decoded file -> its views, and what speaks against it; runs in the decode workers."""
    views = make_views(loaded.pixels, spec)
    notes = loaded.notes + doubts(loaded, views.pixels[0], familiar)
    small = None if compact is None else make_views(loaded.pixels, compact)
    return PreparedImage(views, notes, small, size=loaded.stored_size)


def make_views(image: Image, spec: InputSpec) -> Views:
    """uint8 HxWx3 RGB of any size from 1x1 -> the views that ``spec`` asks for."""
    natives = native_crops(image, spec.size, spec.native, spec.enlarge)
    if not (spec.reduced and has_reduced_view(image, spec.size)):
        return Views(np.stack(natives), np.full(len(natives), 1 / len(natives), np.float32))
    native_share = (1.0 - spec.reduced_weight) / len(natives)
    shares = [native_share] * len(natives) + [spec.reduced_weight]
    pixels = np.stack([*natives, reduced_view(image, spec.size)])
    return Views(pixels, np.array(shares, np.float32))


def native_crops(image: Image, size: int, most: int, enlarge: bool = False) -> list[Image]:
    """uint8 HxWx3 -> 1 to ``most`` different uint8 SxSx3 crops, spread out.

    They are never resampled, but for those of images that `fill_out` enlarges.
    """
    image = fill_out(image, size, enlarge)
    free_y, free_x = image.shape[0] - size, image.shape[1] - size
    corners = {  # a dict keeps the order and drops positions that coincide
        (on_grid(y * free_y), on_grid(x * free_x)): None for y, x in _POSITIONS
    }
    return [crop(image, y, x, size) for y, x in list(corners)[:most]]


def has_reduced_view(image: Image, size: int) -> bool:
    """Whether an image is so much larger than a view that a reduced one shows something else."""
    return bool(min(image.shape[:2]) >= _REDUCE_FROM * size)


def reduced_view(image: Image, size: int) -> Image:
    """uint8 HxWx3 -> uint8 SxSx3: short side resized to ``size``, then the centre."""
    height, width = image.shape[:2]
    scale = size / min(height, width)
    image = resize(image, max(size, round(height * scale)), max(size, round(width * scale)))
    return crop(image, (image.shape[0] - size) // 2, (image.shape[1] - size) // 2, size)
