"""Tables of numbers -> one image of coloured cells; Pillow and OpenCV are all it needs."""

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import numpy.typing as npt
from PIL import Image as Pillow
from PIL import ImageDraw, ImageFont

from synthdet.formats.overlay import viridis
from synthdet.io.files import write_atomically

_CELL, _HEIGHT = 64, 36  # pixels of a cell
_MARGIN = 90  # for the names of the rows
_FONT_SIZE = 14
_LINE = 22  # pixels of a line of text
_DARK = (68, 1, 84)  # the lower end of the colour map, for text


@dataclass(frozen=True)
class Panel:
    """One table.

    Attributes:
        title: what it shows.
        rows, columns: names of the cells, R and C.
        values: float RxC.
    """

    title: str
    rows: Sequence[str]
    columns: Sequence[str]
    values: npt.NDArray[np.float64]

    @property
    def size(self) -> tuple[int, int]:
        """Width and height in pixels."""
        width = _MARGIN + _CELL * len(self.columns) + 16
        return width, 2 * _LINE + _HEIGHT * len(self.rows) + 16


def draw_panels(title: str, panels: Sequence[Panel], low: float, high: float, path: Path) -> None:
    """Write panels to a PNG, one below the other, coloured from ``low`` (dark) to ``high``.

    The scale is given and not the values' own range, so that two drawings can be compared.

    Raises:
        OutputError: the file cannot be written.
    """
    font = ImageFont.load_default(_FONT_SIZE)
    width = max([*(panel.size[0] for panel in panels), int(font.getlength(title)) + 32])
    height = 2 * _LINE + sum(panel.size[1] for panel in panels)
    sheet = Pillow.new("RGB", (width, height), "white")
    draw = ImageDraw.Draw(sheet)
    draw.text((16, _LINE // 2), title, fill=_DARK, font=font)
    top = 2 * _LINE
    for panel in panels:
        _draw_panel(draw, panel, top, (low, high))
        top += panel.size[1]
    with write_atomically(path) as stream:
        sheet.save(stream, "PNG")


def _draw_panel(
    draw: ImageDraw.ImageDraw, panel: Panel, top: int, limits: tuple[float, float]
) -> None:
    font = ImageFont.load_default(_FONT_SIZE)
    colours = viridis(panel.values, *limits)
    draw.text((16, top), panel.title, fill=_DARK, font=font)
    top += 2 * _LINE
    for c, name in enumerate(panel.columns):
        middle = _MARGIN + _CELL * c + _CELL // 2
        draw.text((middle, top - _LINE // 2), name, fill=_DARK, font=font, anchor="mm")
    for r, name in enumerate(panel.rows):
        y = top + _HEIGHT * r
        draw.text((_MARGIN - 8, y + _HEIGHT // 2), name, fill=_DARK, font=font, anchor="rm")
        for c, value in enumerate(panel.values[r]):
            x, colour = _MARGIN + _CELL * c, tuple(colours[r, c].tolist())
            draw.rectangle((x, y, x + _CELL - 2, y + _HEIGHT - 2), fill=colour)
            ink = "black" if sum(colour) > 330 else "white"
            place = (x + _CELL // 2, y + _HEIGHT // 2)
            draw.text(place, f"{value:.2f}", fill=ink, font=font, anchor="mm")
