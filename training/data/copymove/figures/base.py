"""What figures are made of: panels, the boxes in them, and the primitives that all styles share."""

from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from functools import cache
from pathlib import Path
from typing import NamedTuple

import cv2
import matplotlib
import numpy as np
import numpy.typing as npt
from PIL import Image as Pillow
from PIL import ImageDraw, ImageFont

from synthdet.preprocessing.resizing import Image

Floats = npt.NDArray[np.float32]
Colour = tuple[int, int, int]

BLACK: Colour = (0, 0, 0)


class Box(NamedTuple):
    """An upright rectangle in pixels."""

    x: int
    y: int
    width: int
    height: int

    @property
    def cut(self) -> tuple[slice, slice]:
        """For indexing an array HxW."""
        return slice(self.y, self.y + self.height), slice(self.x, self.x + self.width)

    def moved(self, x: int, y: int) -> "Box":
        """The same box, further right and down."""
        return Box(self.x + x, self.y + y, self.width, self.height)

    def inset(self, margin: int) -> "Box":
        """The same box without a margin; a negative one widens it."""
        return Box(
            self.x + margin, self.y + margin, self.width - 2 * margin, self.height - 2 * margin
        )


@dataclass(frozen=True)
class Panel:
    """One part of a figure.

    Attributes:
        image: uint8 HxWx3.
        kind: panels of one kind may lend each other parts; empty where nothing is worth copying.
        objects: what a forger would copy, such as a band or a cell.
        rooms: where a copy looks at home, such as a row of bands; the whole panel, often.
    """

    image: Image
    kind: str = ""
    objects: Sequence[Box] = ()
    rooms: Sequence[Box] = ()


@dataclass(frozen=True)
class Figure:
    """A drawn figure.

    Attributes:
        image: uint8 HxWx3.
        panels: its parts; their objects and rooms lie in the figure's own pixels.
        boxes: where each panel lies.
        lettered: bool HxW, what was written or drawn over the panels at the end.
    """

    image: Image
    panels: Sequence[Panel]
    boxes: Sequence[Box]
    lettered: npt.NDArray[np.bool_]


PanelDrawer = Callable[[int, int, np.random.Generator], Panel]  # (height, width, rng)


@dataclass(frozen=True)
class Style:
    """A family of figures: what is in them, how it is laid out, and its lettering.

    Attributes:
        panels: relative frequency of each drawer.
        layout: divides (height, width) into boxes for panels.
        letters: writes what identifies the panels around or into them.
    """

    panels: dict[PanelDrawer, float]
    layout: Callable[[int, int, np.random.Generator], list[Box]]
    letters: Callable[[Image, Sequence[Box], np.random.Generator], None]


def compose(style: Style, height: int, width: int, rng: np.random.Generator) -> Figure:
    """Draw one figure; panels of one kind come often in groups, as experiments do."""
    image = np.full((height, width, 3), 255, np.uint8)
    boxes = style.layout(height, width, rng)
    drawers = list(style.panels)
    weights = np.array(list(style.panels.values()))
    few = rng.choice(len(drawers), size=2, p=weights / weights.sum())
    panels = []
    for box in boxes:
        drawer = drawers[int(rng.choice(few))]
        panel = drawer(box.height, box.width, rng)
        image[box.cut] = panel.image
        panels.append(
            replace(
                panel,
                objects=[one.moved(box.x, box.y) for one in panel.objects],
                rooms=[one.moved(box.x, box.y) for one in panel.rooms],
            )
        )
    before = image.copy()
    style.letters(image, boxes, rng)
    return Figure(image, panels, boxes, (image != before).any(axis=2))


# Primitives ---------------------------------------------------------------------------------------


def clouds(height: int, width: int, cell: float, rng: np.random.Generator) -> Floats:
    """float32 HxW, smooth noise of about unit variance, features ``cell`` pixels wide."""
    rows, columns = (max(2, round(side / cell) + 1) for side in (height, width))
    noise = rng.standard_normal((rows, columns), np.float32)
    return np.asarray(cv2.resize(noise, (width, height), interpolation=cv2.INTER_CUBIC), np.float32)


def grain(height: int, width: int, sigma: float, rng: np.random.Generator) -> Floats:
    """float32 HxW, noise of a sensor or a film: white, or softened over a pixel or so."""
    noise = rng.standard_normal((height, width), np.float32)
    if (softness := rng.uniform(0, 1.2)) > 0.4:
        noise = cv2.GaussianBlur(noise, (0, 0), softness)
        noise /= max(float(noise.std()), 1e-6)
    return np.asarray(sigma * noise, np.float32)


def to_pixels(grey: Floats, tint: Sequence[float] = (1.0, 1.0, 1.0)) -> Image:
    """float32 HxW or HxWx3, 0 to 255, -> uint8 HxWx3 with a factor for each channel."""
    colour = grey[..., None] if grey.ndim == 2 else grey
    return (colour * np.asarray(tint, np.float32)).round().clip(0, 255).astype(np.uint8)


@cache
def font(name: str, size: int) -> ImageFont.FreeTypeFont:
    """One of the fonts that come with matplotlib, by file name without extension."""
    file = Path(matplotlib.get_data_path(), "fonts", "ttf", f"{name}.ttf")
    return ImageFont.truetype(file, size)


def write(
    image: Image,
    text: str,
    place: tuple[float, float],
    face: ImageFont.FreeTypeFont,
    colour: Colour = BLACK,
    upright: bool = False,
) -> None:
    """Draw text into uint8 HxWx3, its upper left corner at (x, y); ``upright`` reads upward."""
    left, top, right, bottom = face.getbbox(text)
    ink = Pillow.new("L", (int(right - left) + 2, int(bottom - top) + 2), 0)
    ImageDraw.Draw(ink).text((1 - left, 1 - top), text, fill=255, font=face)
    letters = np.asarray(ink.transpose(Pillow.Transpose.ROTATE_90) if upright else ink)
    x, y = round(place[0]), round(place[1])
    under = image[max(y, 0) : y + letters.shape[0], max(x, 0) : x + letters.shape[1]]
    letters = letters[max(-y, 0) :, max(-x, 0) :][: under.shape[0], : under.shape[1]]
    share = letters[..., None].astype(np.float32) / 255
    under[:] = (under + share * (np.asarray(colour, np.float32) - under)).round()
