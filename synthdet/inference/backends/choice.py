"""Which backends are tried for a model on this machine, and in what order."""

from collections.abc import Iterator
from dataclasses import dataclass
from importlib.util import find_spec
from pathlib import Path
from typing import Literal

from synthdet.errors import WeightsError
from synthdet.host_resources import computes_in_bf16, gpu_present
from synthdet.inference.backends import Backend
from synthdet.inference.weights import GRAPHS, Precision, Storage, WeightsConfig, verify_files

NAMES = {"cuda": "CUDA", "openvino": "OpenVINO", "cpu": "ONNX Runtime on the CPU"}


@dataclass(frozen=True)
class Candidate:
    """A backend that may run faster than the reference."""

    provider: Literal["cuda", "openvino"]
    precision: Precision

    def __str__(self) -> str:
        return f"{NAMES[self.provider]} in {self.precision}"

    def open(self, folder: Path, config: WeightsConfig, threads: int) -> Backend:
        """Verify and open its graph.

        Raises:
            WeightsError: the graph is missing or corrupt.
            Exception: whatever the run time raises; ImportError where it is not installed.
        """
        verify_files(folder, config, GRAPHS[self.precision])
        graph = folder / GRAPHS[self.precision]
        if self.provider == "cuda":
            from synthdet.inference.backends.onnxruntime import open_on_cuda

            return open_on_cuda(graph, self.precision, threads, config.stored)
        if not openvino_installed():
            raise ImportError("it is not installed: pip install -r requirements-openvino.txt")
        from synthdet.inference.backends.openvino import OpenVino

        return OpenVino(graph, self.precision, threads, config.stored)


def candidates(provider: str, config: WeightsConfig, tested: bool) -> Iterator[Candidate]:
    """What to try before the reference, fastest first.

    A precision below fp32 needs a self-test to be held against. ``auto`` leaves OpenVINO in fp32
    alone: on the CPUs where it was measured it is no faster than ONNX Runtime, and takes seconds
    longer to open.

    Args:
        provider: as the user asked: "auto", "cuda", "openvino" or "cpu".
        config: of the weights.
        tested: whether they bring a self-test.
    """
    lower = {"fp16": GRAPHS["fp16"] in config.files, "bf16": computes_in_bf16()}
    fit = {name for name, there in lower.items() if there and tested and name not in config.unfit}
    if provider == "cuda" or (provider == "auto" and gpu_present()):
        if "fp16" in fit:
            yield Candidate("cuda", "fp16")
        yield Candidate("cuda", "fp32")
    if "bf16" in fit and (provider == "openvino" or (provider == "auto" and openvino_installed())):
        yield Candidate("openvino", "bf16")
    if provider == "openvino":
        yield Candidate("openvino", "fp32")


def openvino_installed() -> bool:
    """Whether OpenVINO can be had, without importing it, which takes a third of a second."""
    return find_spec("openvino") is not None


def open_reference(
    folder: Path, precision: Precision, threads: int, stored: Storage = "fp32"
) -> Backend:
    """ONNX Runtime on the CPU, which runs a graph as it is written.

    Args:
        folder: the weights folder, verified.
        precision: of the graph; fp32 for the reference, others to see what they cost.
        threads: CPU threads for one operator.
        stored: narrowest type of the graph's weights.

    Raises:
        WeightsError: it is no graph that ONNX Runtime can run.
    """
    from synthdet.inference.backends.onnxruntime import open_on_cpu

    graph = folder / GRAPHS[precision]
    try:
        return open_on_cpu(graph, threads, stored)
    except Exception as error:  # the runtime raises a dozen types of its own
        raise WeightsError(
            f"{graph} cannot be loaded ({first_line(error)}): expected an ONNX graph that "
            "onnxruntime can run; export the model again"
        ) from error


def first_line(error: Exception) -> str:
    """What an error says, for a message of one line."""
    return str(error).strip().partition("\n")[0][:200] or type(error).__name__
