"""OpenVINO on the CPU: bf16 where the CPU computes in it."""

from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt
import openvino
from openvino.passes import ConstantFolding, Manager

from synthdet.inference.weights import Precision, Storage

_HINTS: dict[Precision, str] = {"fp32": "f32", "bf16": "bf16"}


class OpenVino:
    """A compiled graph; satisfies `synthdet.inference.backends.Backend`."""

    provider = "openvino"

    def __init__(
        self, graph: Path, precision: Precision, threads: int, stored: Storage = "fp32"
    ) -> None:
        """Compile the graph.

        Args:
            graph: an ONNX file; its batch, height and width may be open.
            precision: of the arithmetic, "fp32" or "bf16".
            threads: CPU threads.
            stored: narrowest type of the graph's weights.

        Raises:
            Exception: whatever OpenVINO raises.
        """
        self.precision = precision
        core = openvino.Core()
        model = core.read_model(graph)
        if stored == "int8":
            # Weights become floating numbers once, here. Left alone, OpenVINO would round
            # activations to int8 too in fp32, and widen weights in each product in bf16.
            folding = Manager()
            folding.register_pass(ConstantFolding())
            folding.run_passes(model)
        compiled = core.compile_model(
            model,
            "CPU",
            {
                "INFERENCE_PRECISION_HINT": _HINTS[precision],
                "INFERENCE_NUM_THREADS": threads,
                "PERFORMANCE_HINT": "LATENCY",  # all threads on one batch, as elsewhere
                "ENABLE_CPU_PINNING": False,  # the decoding workers run on the same CPUs
            },
        )
        self.outputs: list[str] = [output.get_any_name() for output in compiled.outputs]
        self._request = compiled.create_infer_request()

    def run(self, images: npt.NDArray[np.uint8]) -> Sequence[npt.NDArray[Any]]:
        """As `Backend` says."""
        found = self._request.infer([images], share_inputs=True)
        return [found[place] for place in range(len(self.outputs))]
