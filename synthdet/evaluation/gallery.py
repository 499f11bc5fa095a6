"""Pictures beside their truth and their map, on one sheet: numbers do not show how a map fails."""

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import cv2
import numpy as np
import numpy.typing as npt
from PIL import Image as Pillow
from PIL import ImageDraw, ImageFont, ImageOps

from synthdet.formats.masks import LOC_THRESHOLD
from synthdet.formats.overlay import viridis
from synthdet.io.files import write_atomically
from synthdet.metrics.pixels import Map, Mask
from synthdet.preprocessing.resizing import Image

_SIDE = 144  # pixels of a thumbnail's square
_GAP = 6
_TEXT = 20  # pixels of a line of text
_FONT_SIZE = 13
_INK = (68, 1, 84)  # the lower end of the colour map


@dataclass(frozen=True)
class Exhibit:
    """One image of the sheet.

    Attributes:
        caption: what it stands for.
        image: uint8 HxWx3.
        truth: bool HxW.
        map: float HxW in [0, 1]; a white line is drawn where it crosses `LOC_THRESHOLD`.
    """

    caption: str
    image: Image
    truth: Mask
    map: Map


def draw_gallery(title: str, rows: Sequence[tuple[str, Sequence[Exhibit]]], path: Path) -> None:
    """Write a PNG: a row of exhibits under each heading, each as image, truth and map.

    Raises:
        OutputError: the file cannot be written.
    """
    font = ImageFont.load_default(_FONT_SIZE)
    most = max(len(exhibits) for _, exhibits in rows)
    wide, high = 3 * _SIDE + 4 * _GAP, _SIDE + 2 * _TEXT + _GAP
    width = max(most * wide, int(font.getlength(title)) + 2 * _GAP)
    sheet = Pillow.new("RGB", (width, 2 * _TEXT + len(rows) * high), "white")
    draw = ImageDraw.Draw(sheet)
    draw.text((_GAP, _GAP), title, fill=_INK, font=font)
    for r, (heading, exhibits) in enumerate(rows):
        top = 2 * _TEXT + r * high
        draw.text((_GAP, top), heading, fill=_INK, font=font)
        for e, exhibit in enumerate(exhibits):
            draw.text((_GAP + e * wide, top + _TEXT), exhibit.caption, fill=_INK, font=font)
            for t, tile in enumerate(_tiles(exhibit)):
                sheet.paste(tile, (_GAP + e * wide + t * (_SIDE + _GAP), top + 2 * _TEXT))
    with write_atomically(path) as stream:
        sheet.save(stream, "PNG")


def _tiles(exhibit: Exhibit) -> list[Pillow.Image]:
    """Picture, truth and map, each within a square."""
    truth = np.repeat(exhibit.truth[..., None].astype(np.uint8) * 255, 3, axis=2)
    return [_thumbnail(pixels) for pixels in (exhibit.image, truth, _drawn(exhibit.map))]


def _drawn(probability: Map) -> npt.NDArray[np.uint8]:
    colours = np.ascontiguousarray(viridis(probability.astype(np.float32), 0, 1))
    called = (probability >= LOC_THRESHOLD).astype(np.uint8)
    outlines, _ = cv2.findContours(called, cv2.RETR_LIST, cv2.CHAIN_APPROX_NONE)
    thickness = max(1, round(max(called.shape) / _SIDE))  # one pixel of the thumbnail
    cv2.drawContours(colours, outlines, -1, (255, 255, 255), thickness)
    return colours


def _thumbnail(pixels: npt.NDArray[np.uint8]) -> Pillow.Image:
    return ImageOps.contain(Pillow.fromarray(pixels), (_SIDE, _SIDE), Pillow.Resampling.BOX)
