"""Run times that can stand behind `synthdet.inference.session`, one file each.

A run time is imported in its own file alone, and that file by `synthdet.inference.session` alone,
when it is tried. Nothing else asks which one runs.
"""

from collections.abc import Sequence
from typing import Any, Protocol

import numpy as np
import numpy.typing as npt

from synthdet.inference.weights import Precision


class Backend(Protocol):
    """A graph opened by one run time.

    Attributes:
        provider: what reports call it: "cuda", "openvino" or "cpu".
        precision: of its arithmetic.
        outputs: names of the graph's outputs.
    """

    provider: str
    precision: Precision
    outputs: list[str]

    def run(self, images: npt.NDArray[np.uint8]) -> Sequence[npt.NDArray[Any]]:
        """uint8 NxHxWx3, contiguous -> one floating array for each of ``outputs``.

        Raises:
            Exception: whatever the run time raises.
        """
