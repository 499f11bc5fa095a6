"""A weights folder -> a verified model on a chosen provider. The only import of the runtime."""

from collections.abc import Callable
from pathlib import Path
from typing import Any, Literal

import numpy as np
import numpy.typing as npt
import onnxruntime as ort

from synthdet.console import say
from synthdet.errors import WeightsError
from synthdet.machine import available_cpus, gpu_present
from synthdet.weights import Task, WeightsConfig, read_config, verify_files

Provider = Literal["auto", "cuda", "cpu"]
Warn = Callable[[str], None]

GPU_MEMORY_LIMIT = 14 * 2**30  # bytes; the contest's card has 16 GB, and CUDA itself needs some
BATCH_SIZES = {"cuda": 64, "cpu": 16}  # a CPU gains nothing beyond; a GPU is full from here on
# A localizer's squares are larger and keep all their features: so many pixels in one call.
LOCALIZER_PIXELS = {"cuda": 2**22, "cpu": 2**18}
_CUDA, _CPU = "CUDAExecutionProvider", "CPUExecutionProvider"
_OUT_OF_MEMORY = (
    "out of memory",
    "failed to allocate memory",
    "bfcarena",
    "bad_alloc",
    "bad alloc",
)


def warn_on_stderr(message: str) -> None:
    """The default `Warn`: one line on stderr."""
    say(f"warning: {message}")


class OnnxModel:
    """One loaded graph: uint8 NxHxWx3 in, named float arrays out.

    Attributes:
        config: the weights folder's description.
        provider: "cuda" or "cpu", the one that really runs; a GPU that fails is given up.
        batch_limit: most pictures run at once; halved whenever the device runs out of memory.
    """

    def __init__(
        self,
        session: ort.InferenceSession,
        config: WeightsConfig,
        provider: str,
        open_on_cpu: Callable[[], ort.InferenceSession],
        warn: Warn = warn_on_stderr,
    ) -> None:
        self.config = config
        self.provider = provider
        self.batch_limit = most_at_once(config, provider)
        self._session = session
        self._open_on_cpu = open_on_cpu
        self._warn = warn
        self._input = session.get_inputs()[0].name
        self._outputs = [output.name for output in session.get_outputs()]

    @classmethod
    def load(
        cls,
        folder: Path,
        task: Task,
        provider: Provider = "auto",
        threads: int | None = None,
        warn: Warn = warn_on_stderr,
    ) -> "OnnxModel":
        """Verify a weights folder and open its graph.

        Args:
            folder: holds ``model.onnx`` and ``config.json``.
            task: what the graph must answer.
            provider: "auto" takes CUDA where a device is visible; "cuda" tries it anyway. Both
                fall back to the CPU, and say so.
            threads: CPU threads for one operator; by default the CPUs this process may use.
            warn: takes one line for a person.

        Raises:
            WeightsError: missing, corrupt or unfit weights.
        """
        config = read_config(folder, task)
        verify_files(folder, config)
        threads = threads or available_cpus()

        def open_on_cpu() -> ort.InferenceSession:
            return _open_on_cpu(folder / "model.onnx", threads)

        session = None
        if provider == "cuda" or (provider == "auto" and gpu_present()):
            session = _open_on_cuda(folder / "model.onnx", threads, warn)
        if session is None:
            return cls(open_on_cpu(), config, "cpu", open_on_cpu, warn)
        return cls(session, config, "cuda", open_on_cpu, warn)

    def run(self, images: npt.NDArray[np.uint8]) -> dict[str, npt.NDArray[np.float32]]:
        """uint8 NxHxWx3, N at least 1 -> the graph's outputs by name, each float32 Nx….

        Runs at most ``batch_limit`` pictures at once. When the device is out of memory the limit
        is halved and the work goes on; the smaller limit stays. A GPU that cannot take a single
        picture, or fails in another way, is given up for the CPU.

        Raises:
            Exception: whatever the runtime raises on the CPU.
        """
        parts: list[list[npt.NDArray[Any]]] = []
        start = 0
        while start < len(images):
            batch = images[start : start + self.batch_limit]
            try:
                parts.append(self._session.run(self._outputs, {self._input: batch}))
            except Exception as error:  # the runtime raises a dozen types of its own
                self._adapt(len(batch), error)
                continue
            start += len(batch)
        columns = zip(*parts, strict=True)
        return {
            name: np.concatenate(column).astype(np.float32, copy=False)
            for name, column in zip(self._outputs, columns, strict=True)
        }

    def try_once(self, folder: Path) -> dict[str, tuple[int, ...]]:
        """Run one black square of the size that the config names -> the shape of each output.

        Raises:
            WeightsError: the graph does not take it; names ``folder``.
        """
        size = self.config.input.size
        try:
            raw = self.run(np.zeros((1, size, size, 3), np.uint8))
        except Exception as error:  # the runtime raises a dozen types of its own
            raise WeightsError(
                f"{folder}/model.onnx does not take uint8 1x{size}x{size}x3 ({error}): "
                "export the model again"
            ) from error
        return {name: values.shape for name, values in raw.items()}

    def _adapt(self, batch: int, error: Exception) -> None:
        """Make the next try smaller, or move it to the CPU; raise where neither is left."""
        # The runtime has no exception type of its own for this; the message must tell.
        no_memory = any(sign in str(error).lower() for sign in _OUT_OF_MEMORY)
        if no_memory and batch > 1:
            self.batch_limit = batch // 2
            self._warn(f"out of memory at {batch} pictures; going on with {batch // 2} at once")
        elif self.provider == "cuda":
            self._warn(f"CUDA failed ({_first_line(error)}); going on on the CPU, which is slower")
            self._session, self.provider = self._open_on_cpu(), "cpu"
            self.batch_limit = min(self.batch_limit, most_at_once(self.config, "cpu"))
        else:
            raise error


def most_at_once(config: WeightsConfig, provider: str) -> int:
    """Pictures in one call of a model, as long as the device does not run out of memory."""
    most = BATCH_SIZES[provider]
    if config.localization is None:
        return most
    return max(1, min(most, LOCALIZER_PIXELS[provider] // config.input.size**2))


def _open_on_cuda(path: Path, threads: int, warn: Warn) -> ort.InferenceSession | None:
    """A session that runs on CUDA, or None and a warning that says why not."""
    limits = {
        "gpu_mem_limit": GPU_MEMORY_LIMIT,
        "arena_extend_strategy": "kSameAsRequested",
        "cudnn_conv_algo_search": "HEURISTIC",
    }
    providers = [(_CUDA, limits), _CPU]
    why = "the runtime left it out"
    try:
        ort.preload_dlls()  # finds the CUDA and cuDNN wheels beside this package
        session = ort.InferenceSession(path, _options(threads), providers=providers)
        # get_available_providers() lists CUDA on machines without a GPU; the session knows.
        if _CUDA in session.get_providers():
            return session
    except Exception as error:  # a broken driver must not cost the run
        why = _first_line(error)
    warn(f"CUDA does not run here ({why}); scoring on the CPU, which is slower")
    return None


def _open_on_cpu(path: Path, threads: int) -> ort.InferenceSession:
    try:
        return ort.InferenceSession(path, _options(threads), providers=[_CPU])
    except Exception as error:  # the runtime raises a dozen types of its own
        raise WeightsError(
            f"{path} cannot be loaded ({_first_line(error)}): expected an ONNX graph that "
            "onnxruntime can run; export the model again"
        ) from error


def _options(threads: int) -> ort.SessionOptions:
    options = ort.SessionOptions()
    options.intra_op_num_threads = threads
    options.inter_op_num_threads = 1
    options.log_severity_level = 3  # errors only; warnings are for the exporter
    # Threads that spin while they wait would take the CPUs from the decoding workers.
    options.add_session_config_entry("session.intra_op.allow_spinning", "0")
    return options


def _first_line(error: Exception) -> str:
    return str(error).strip().partition("\n")[0][:200]
