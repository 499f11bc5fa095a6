"""A map over its image, for people: a JPEG with a colour bar."""

from pathlib import Path
from typing import Any

import cv2
import numpy as np
import numpy.typing as npt
from PIL import Image as Pillow
from PIL import ImageDraw, ImageFont

from synthdet.io.files import write_atomically
from synthdet.preprocessing.resizing import Image, Map, reduce_to, resize_map

_MOST_SIDE = 1600  # pixels of the image in it
_LEAST_HEIGHT = 128  # so that the bar can be read beside the flattest image
_BAR, _MARGIN, _FONT_SIZE = 16, 8, 14
_TICKS = (0.0, 0.5, 1.0)


def write_overlay(path: Path, image: Image, probabilities: Map) -> None:
    """Write a JPEG of the image in grey under its map in colours, with the bar beside it.

    Args:
        path: ends in ``.jpg``.
        image: uint8 HxWx3 RGB.
        probabilities: float32 HxW in [0, 1].

    Raises:
        OutputError: the file cannot be written.
    """
    drawn = Pillow.fromarray(blend(image, probabilities))
    label = ImageFont.load_default(_FONT_SIZE)
    height = max(drawn.height, _LEAST_HEIGHT)
    beside = _BAR + 3 * _MARGIN + int(label.getlength("0.5"))
    sheet = Pillow.new("RGB", (drawn.width + beside, height), "white")
    sheet.paste(drawn, (0, 0))
    draw = ImageDraw.Draw(sheet)
    left, top, bottom = drawn.width + _MARGIN, _MARGIN, height - _MARGIN
    ramp = np.linspace(1, 0, bottom - top, dtype=np.float32)
    sheet.paste(Pillow.fromarray(viridis(np.tile(ramp[:, None], (1, _BAR)))), (left, top))
    for tick in _TICKS:
        y = bottom - 1 - tick * (bottom - top - 1)
        anchor = {0.0: "ls", 1.0: "lt"}.get(tick, "lm")
        draw.text((left + _BAR + _MARGIN, y), f"{tick:g}", fill="black", font=label, anchor=anchor)
    with write_atomically(path, sync=False) as stream:
        sheet.save(stream, "JPEG", quality=90)


def blend(image: Image, probabilities: Map) -> npt.NDArray[np.uint8]:
    """uint8 HxWx3, float32 HxW in [0, 1] -> uint8 hxwx3 RGB, half grey image, half colour."""
    small = reduce_to(image, _MOST_SIDE)
    grey = cv2.cvtColor(small, cv2.COLOR_RGB2GRAY)[:, :, None].astype(np.uint16)
    colours = viridis(resize_map(probabilities, *small.shape[:2]))
    return ((grey + colours) // 2).astype(np.uint8)


def viridis(
    values: npt.NDArray[np.floating[Any]], low: float = 0.0, high: float = 1.0
) -> npt.NDArray[np.uint8]:
    """Float RxC -> uint8 RxCx3 RGB, perceptually uniform; values outside take the end's colour."""
    levels = np.clip(np.nan_to_num((values - low) / (high - low)) * 255, 0, 255).astype(np.uint8)
    return np.asarray(cv2.applyColorMap(levels, cv2.COLORMAP_VIRIDIS)[:, :, ::-1], np.uint8)
