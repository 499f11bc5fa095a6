"""JPEG quantisation tables -> the encoder that writes such tables, and its quality.

A table tells who compressed the image last, not who made it. The tables of the Independent JPEG
Group (libjpeg, and so Pillow, OpenCV, browsers, most generators) are those of ITU-T T.81, annex K,
scaled by a quality from 1 to 100. Photoshop and cameras bring their own; those of Photoshop's
settings are taken from `PIL.JpegPresets`, the others are reported as unknown.
"""

from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np
import numpy.typing as npt
from PIL import JpegPresets

Tables = Mapping[int, Sequence[int]]  # number -> 64 divisors, row by row; 0 is luma, 1 chroma

# ITU-T T.81 (1992), tables K.1 and K.2.
_LUMA = (
    16, 11, 10, 16, 24, 40, 51, 61,   12, 12, 14, 19, 26, 58, 60, 55,
    14, 13, 16, 24, 40, 57, 69, 56,   14, 17, 22, 29, 51, 87, 80, 62,
    18, 22, 37, 56, 68, 109, 103, 77, 24, 35, 55, 64, 81, 104, 113, 92,
    49, 64, 78, 87, 103, 121, 120, 101, 72, 92, 95, 98, 112, 100, 103, 99,
)  # fmt: skip
_CHROMA = (
    17, 18, 24, 47, 99, 99, 99, 99,   18, 21, 26, 66, 99, 99, 99, 99,
    24, 26, 56, 99, 99, 99, 99, 99,   47, 66, 99, 99, 99, 99, 99, 99,
    *(99,) * 32,
)  # fmt: skip


def ijg_quality(tables: Tables) -> tuple[int, bool]:
    """Quality of the nearest scaled annex K tables, 1 to 100, and whether they are exactly these.

    Nearest in the mean absolute difference of the logarithms of luma divisors. Files of one table
    (grey images) are judged by that alone.
    """
    luma = np.array(tables[min(tables)])
    chroma = np.array(tables[1]) if len(tables) > 1 and 1 in tables else None
    distance = np.abs(_LOG_LUMA - np.log(np.maximum(luma, 1))).mean(axis=1)
    fits = (luma == _SCALED_LUMA).all(axis=1)
    if chroma is not None:
        fits &= (chroma == _SCALED_CHROMA).all(axis=1)
    quality = int(np.argmax(fits)) if fits.any() else int(np.argmin(distance))
    return quality + 1, bool(fits.any())


def photoshop_setting(tables: Tables) -> str:
    """Photoshop's name of a setting with exactly these tables; "" where there is none."""
    found = [list(tables[number]) for number in sorted(tables)]
    presets: dict[str, dict[str, Any]] = JpegPresets.presets
    for name, preset in presets.items():
        if found == preset["quantization"]:
            return name.replace("_", " ")
    return ""


def _scaled(table: Sequence[int]) -> npt.NDArray[np.int64]:
    """int64 100x64: a table at qualities 1 to 100, as libjpeg's jpeg_set_quality scales it."""
    quality = np.arange(1, 101)[:, np.newaxis]
    percent = np.where(quality < 50, 5000 // quality, 200 - 2 * quality)
    return np.clip((np.array(table, np.int64) * percent + 50) // 100, 1, 255).astype(np.int64)


_SCALED_LUMA, _SCALED_CHROMA = _scaled(_LUMA), _scaled(_CHROMA)
_LOG_LUMA = np.log(_SCALED_LUMA)
