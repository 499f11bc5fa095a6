"""ONNX Runtime: on the CPU the reference that every other backend is held against, and CUDA."""

from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt
import onnxruntime as ort

from synthdet.inference.weights import Precision, Storage

_GPU_MEMORY_LIMIT = 14 * 2**30  # bytes; the contest's card has 16 GB, and CUDA itself needs some
_CUDA, _CPU = "CUDAExecutionProvider", "CPUExecutionProvider"


class OnBoundMemory:
    """CUDA; satisfies `synthdet.inference.backends.Backend`.

    Inputs and outputs are bound, so that the runtime copies a batch to the device once, and back
    only what was asked for, instead of placing copies as its graph partition happens to want them.
    Python's API offers no pinned memory; 64 images of 200 px are 8 MB, a millisecond or two of
    pageable copy beside a model's tens.
    """

    provider = "cuda"

    def __init__(self, session: ort.InferenceSession, precision: Precision) -> None:
        self.precision = precision
        self.outputs: list[str] = [output.name for output in session.get_outputs()]
        self._input = session.get_inputs()[0].name
        self._session = session

    def run(self, images: npt.NDArray[np.uint8]) -> Sequence[npt.NDArray[Any]]:
        """As `Backend` says."""
        binding = self._session.io_binding()
        binding.bind_cpu_input(self._input, images)
        for name in self.outputs:
            binding.bind_output(name)
        self._session.run_with_iobinding(binding)
        arrays: list[npt.NDArray[Any]] = binding.copy_outputs_to_cpu()
        return arrays


class OnCpu:
    """The CPU, in the graph's own precision; satisfies `synthdet.inference.backends.Backend`."""

    provider = "cpu"
    precision: Precision = "fp32"

    def __init__(self, session: ort.InferenceSession) -> None:
        self.outputs: list[str] = [output.name for output in session.get_outputs()]
        self._input = session.get_inputs()[0].name
        self._session = session

    def run(self, images: npt.NDArray[np.uint8]) -> Sequence[npt.NDArray[Any]]:
        """As `Backend` says."""
        arrays: list[npt.NDArray[Any]] = self._session.run(self.outputs, {self._input: images})
        return arrays


def open_on_cpu(graph: Path, threads: int, stored: Storage = "fp32") -> OnCpu:
    """Open a graph; raises whatever the runtime raises."""
    return OnCpu(ort.InferenceSession(graph, _options(threads, stored), providers=[_CPU]))


def open_on_cuda(
    graph: Path, precision: Precision, threads: int, stored: Storage = "fp32"
) -> OnBoundMemory:
    """Open a graph on the first GPU.

    Raises:
        RuntimeError: the runtime left CUDA out.
        Exception: whatever else it raises.
    """
    limits = {
        "gpu_mem_limit": _GPU_MEMORY_LIMIT,
        "arena_extend_strategy": "kSameAsRequested",
        "cudnn_conv_algo_search": "HEURISTIC",
        "use_tf32": 0,  # fp32 means fp32; who wants less exports a graph in fp16
    }
    ort.preload_dlls()  # finds the CUDA and cuDNN wheels beside this package
    options = _options(threads, stored)
    session = ort.InferenceSession(graph, options, providers=[(_CUDA, limits), _CPU])
    # get_available_providers() lists CUDA on machines without a GPU; the session knows.
    if _CUDA not in session.get_providers():
        raise RuntimeError("the runtime left it out")
    return OnBoundMemory(session, precision)


def _options(threads: int, stored: Storage) -> ort.SessionOptions:
    options = ort.SessionOptions()
    options.intra_op_num_threads = threads
    options.inter_op_num_threads = 1
    options.log_severity_level = 3  # errors only; warnings are for the exporter
    # Threads that spin while they wait would take the CPUs from the decoding workers.
    options.add_session_config_entry("session.intra_op.allow_spinning", "0")
    if stored == "int8":
        # Weights become floating numbers once, here. Left alone, the runtime would make products
        # of it that round activations to int8 too, which moves logits by a tenth.
        options.add_session_config_entry("session.disable_quant_qdq", "1")
    return options
