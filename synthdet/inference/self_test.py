"""A few stored images and the reference's answers, against which a backend is held on load.

A run time, a driver or a lower precision can be wrong without an error. What it answers to these
images shows it in a fraction of a second, on the machine where it counts.
"""

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Self

import numpy as np
import numpy.typing as npt

from synthdet.errors import WeightsError
from synthdet.inference.weights import Precision, WeightsConfig, verify_files

FILE = "self_test.npz"
# Largest difference of a calibrated logit from the reference, and largest mean difference of the
# probabilities of a map.
LOGIT_TOLERANCE: dict[Precision, float] = {"fp32": 1e-2, "fp16": 5e-2, "bf16": 5e-2}
MAP_TOLERANCE: dict[Precision, float] = {"fp32": 1e-3, "fp16": 1e-2, "bf16": 1e-2}

_LOGIT = "logit"  # the output that is an image's raw logit; all others are maps or their like
_GRAIN = (0, 4, 8)  # of each picture: its strongest grain, in grey levels
_CELLS = 8  # colours along a side of an image
_EVERY = 8  # pixels: of a map, a grid is stored

Arrays = dict[str, npt.NDArray[np.float32]]


@dataclass(frozen=True)
class SelfTest:
    """What the folder's ``self_test.npz`` holds.

    Attributes:
        images: uint8 NxSxSx3.
        answers: the graph's raw outputs in fp32 by name, maps at every eighth pixel.
    """

    images: npt.NDArray[np.uint8]
    answers: Arrays

    @classmethod
    def record(cls, run: Callable[[npt.NDArray[np.uint8]], Arrays], size: int) -> Self:
        """Ask the reference.

        Args:
            run: the reference, uint8 NxSxSx3 -> raw outputs by name.
            size: side of an image.
        """
        images = made_pictures(size)
        return cls(images, {name: _thinned(raw) for name, raw in run(images).items()})

    @classmethod
    def read(cls, folder: Path, config: WeightsConfig) -> Self | None:
        """The test of a weights folder; None where it has none.

        Raises:
            WeightsError: it is missing, damaged, or no self-test.
        """
        if FILE not in config.files:
            return None
        verify_files(folder, config, FILE)
        try:
            with np.load(folder / FILE) as stored:
                arrays = dict(stored)
            return cls(arrays.pop("images"), arrays)
        except Exception as error:  # numpy and zipfile raise a dozen types of their own
            raise WeightsError(
                f"{folder / FILE} cannot be read ({error}): "
                "run scripts/add_self_test.py, or copy the whole weights folder again"
            ) from error

    def save(self, folder: Path) -> None:
        """Write ``folder/self_test.npz``."""
        arrays: dict[str, Any] = {"images": self.images, **self.answers}
        np.savez_compressed(folder / FILE, **arrays)

    def disagreement(
        self, raw: Mapping[str, npt.NDArray[Any]], config: WeightsConfig, precision: Precision
    ) -> str | None:
        """What is wrong with a backend's raw outputs for ``images``; None where nothing is.

        Logits are compared as a run would write them, maps as probabilities: at -12 or -11.8 a
        pixel is untouched all the same.
        """
        for name, expected in self.answers.items():
            found = _thinned(raw[name])
            if found.shape != expected.shape:
                return f"its {name} has the shape {found.shape}, expected {expected.shape}"
            if name == _LOGIT:
                differs = float(np.abs(found - expected).max() / config.temperature)
                measure, allowed = "logits differ by up to", LOGIT_TOLERANCE[precision]
            else:
                differs = float(np.abs(_shares(found, config) - _shares(expected, config)).mean())
                measure, allowed = f"probabilities of {name} differ by", MAP_TOLERANCE[precision]
            if not differs <= allowed:  # also where it is not a number
                return f"its {measure} {differs:.2g}, expected at most {allowed:g}"
        return None


def made_pictures(size: int) -> npt.NDArray[np.uint8]:
    """uint8 NxSxSx3: chequered with colours under grain of three levels, so that it packs well.

    Edges, flat ground and noise of many strengths, all of which a network looks at.
    """
    rng = np.random.default_rng(0)
    cell = -(-size // _CELLS)
    pictures = []
    for strongest in _GRAIN:
        colours = rng.integers(0, 256, (_CELLS, _CELLS, 3))
        strengths = rng.integers(0, 1 + strongest, (_CELLS, _CELLS, 1))
        grain = rng.integers(-1, 2, (size, size, 1)) * _enlarged(strengths, cell)[:size, :size]
        pictures.append(np.clip(_enlarged(colours, cell)[:size, :size] + grain, 0, 255))
    return np.stack(pictures).astype(np.uint8)


def _enlarged(cells: npt.NDArray[Any], times: int) -> npt.NDArray[Any]:
    return cells.repeat(times, axis=0).repeat(times, axis=1)


def _thinned(raw: npt.NDArray[Any]) -> npt.NDArray[np.float32]:
    grid = raw[..., ::_EVERY, ::_EVERY] if raw.ndim > 2 else raw
    return grid.astype(np.float32, copy=False)


def _shares(raw: npt.NDArray[np.float32], config: WeightsConfig) -> npt.NDArray[np.float32]:
    spec = config.localization
    calibrated = raw / spec.mask_temperature + spec.mask_bias if spec else raw
    shares: npt.NDArray[np.float32] = 0.5 + 0.5 * np.tanh(0.5 * calibrated)  # scipy loads slowly
    return shares
