"""JPEGs to measure on: of any size and number, made here, so that every machine has the same."""

import math
import os
import re
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from PIL import Image

from synthdet.errors import UsageError

_DISTINCT_PIXELS = 2**27  # made in all; beyond, files bear several names
_COARSE = 6  # colours a side, which everything between is interpolated from
_NOISE = 12  # largest deviation, 0 to 255
_QUALITIES = (65, 100)  # of the contest's JPEGs


@dataclass(frozen=True)
class Size:
    """Height and width in pixels, and what a person calls it.

    Example:
        >>> Size.parse("200"), Size.parse("12MP")
        (Size('200 px', 200, 200), Size('12 MP', 3000, 4000))
    """

    name: str
    height: int
    width: int

    @classmethod
    def parse(cls, text: str) -> "Size":
        """``200``, a square's side in pixels, or ``12MP``, megapixels at 4:3.

        Raises:
            UsageError: neither.
        """
        found = re.fullmatch(r"(\d{1,6})\s*(px|MP)?", text)
        if not found or int(found[1]) == 0:
            raise UsageError(f"found the size {text!r}, expected pixels or megapixels: 200, 12MP")
        number = int(found[1])
        if found[2] != "MP":
            return cls(f"{number} px", number, number)
        height = round(1000 * math.sqrt(number * 3 / 4))
        return cls(f"{number} MP", height, round(height * 4 / 3))


def make_pictures(folder: Path, count: int, size: Size, seed: int = 0) -> list[Path]:
    """Write ``count`` JPEGs: smooth colours under noise, so that they compress like photographs.

    Each has a file name of its own; beyond 128 megapixels in all they are links to the first ones,
    which costs a reader just as much once the files are in memory.
    """
    rng = np.random.default_rng(seed)
    folder.mkdir(parents=True, exist_ok=True)
    distinct = max(1, min(count, _DISTINCT_PIXELS // (size.height * size.width)))
    files = [folder / f"{index:06d}.jpg" for index in range(count)]
    for index, file in enumerate(files):
        if index < distinct:
            quality = int(rng.integers(_QUALITIES[0], _QUALITIES[1] + 1))
            _picture(rng, size).save(file, quality=quality)
        else:
            os.link(files[index % distinct], file)
    return files


def _picture(rng: np.random.Generator, size: Size) -> Image.Image:
    coarse = Image.fromarray(rng.integers(0, 256, (_COARSE, _COARSE, 3), np.uint8))
    smooth = coarse.resize((size.width, size.height), Image.Resampling.BICUBIC)
    noise = rng.integers(-_NOISE, _NOISE + 1, (size.height, size.width, 1), np.int16)
    return Image.fromarray(np.clip(np.asarray(smooth) + noise, 0, 255).astype(np.uint8))
