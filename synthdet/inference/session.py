"""A weights folder -> a verified model on a chosen backend. Nothing else knows the backends."""

import math
import time
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt

from synthdet.errors import WeightsError
from synthdet.host_resources import available_cpus
from synthdet.inference import self_test
from synthdet.inference.backends import Backend
from synthdet.inference.backends.choice import (
    NAMES,
    Candidate,
    candidates,
    first_line,
    open_reference,
)
from synthdet.inference.batch_size import BatchSize
from synthdet.inference.providers import Provider
from synthdet.inference.self_test import SelfTest
from synthdet.inference.weights import (
    GRAPHS,
    Precision,
    Task,
    WeightsConfig,
    read_config,
    sha256_of,
    verify_files,
)
from synthdet.process_setup import say

Warn = Callable[[str], None]

REFERENCE = "cpu"  # ONNX Runtime in fp32, which the export compared with the network itself
# A CPU gains nothing beyond; a GPU is full from here on. Below, the run finds what is best.
BATCH_SIZES = {"cuda": 256, "openvino": 16, "cpu": 16}
_FIRST_SIZES = {"cuda": 32, "openvino": 1, "cpu": 1}
# A localizer's squares are larger and keep all their features: so many pixels in one call.
LOCALIZER_PIXELS = {"cuda": 2**22, "openvino": 2**18, "cpu": 2**18}
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
        batch_limit: most images ever run at once; less once the device has run out of memory.
        stop_at: reading of ``time.monotonic()`` from which on `run` begins no further batch.
    """

    stop_at = math.inf

    def __init__(
        self,
        backend: Backend,
        config: WeightsConfig,
        open_reference: Callable[[], Backend],
        warn: Warn = warn_on_stderr,
    ) -> None:
        self.config = config
        self.batch_limit = most_at_once(config, backend.provider)
        self._batches = BatchSize(_FIRST_SIZES[backend.provider], self.batch_limit)
        self._backend = backend
        self._open_reference = open_reference
        self._warn = warn

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

        A backend other than the reference, ONNX Runtime in fp32 on the CPU, runs only once it has
        given the stored answers of the folder's self-test. One that does not open or disagrees is
        left out with a warning, and the next one is tried; the reference is the last.

        Args:
            folder: holds graphs and ``config.json``.
            task: what the graph must answer.
            provider: "auto" takes CUDA where a device is visible, then OpenVINO where it is
                installed and the CPU computes in bf16; "cuda" and "openvino" are tried anyway.
            threads: CPU threads for one operator; by default the CPUs this process may use.
            warn: takes one line for a person.

        Raises:
            WeightsError: missing, corrupt or unfit weights.
        """
        config = read_config(folder, task)
        verify_files(folder, config, GRAPHS["fp32"])
        threads = threads or available_cpus()
        test = SelfTest.read(folder, config)

        def on_reference() -> Backend:
            return open_reference(folder, "fp32", threads, config.stored)

        for candidate in candidates(provider, config, tested=test is not None):
            backend = _try(candidate, folder, config, test, threads)
            if isinstance(backend, str):
                warn(f"{candidate} is not used ({backend}); what is tried next is slower")
                continue
            if test is None:
                warn(f"{folder} has no self-test, so {candidate} runs unchecked")
            return cls(backend, config, on_reference, warn)
        return cls(on_reference(), config, on_reference, warn)

    @classmethod
    def as_written(cls, folder: Path, precision: Precision = "fp32") -> "OnnxModel":
        """The graph of one precision on the reference backend, to compare numbers with.

        Raises:
            WeightsError: missing, corrupt or unfit weights.
        """
        config = read_config(folder)
        verify_files(folder, config, GRAPHS[precision])

        def on_reference() -> Backend:
            return open_reference(folder, precision, available_cpus(), config.stored)

        return cls(on_reference(), config, on_reference)

    @property
    def provider(self) -> str:
        """The one that really runs: "cuda", "openvino" or "cpu"."""
        return self._backend.provider

    @property
    def precision(self) -> Precision:
        """Of the arithmetic."""
        return self._backend.precision

    @property
    def batch_size(self) -> int:
        """Pictures in a call, as far as it has been found."""
        return min(self._batches.size, self.batch_limit)

    def fix_batch_size(self, size: int) -> None:
        """Run ``size`` images at once, and look for no better number."""
        self.batch_limit = size
        self._batches.settle(size)

    def run(self, images: npt.NDArray[np.uint8]) -> dict[str, npt.NDArray[np.float32]]:
        """uint8 NxHxWx3, N at least 1 -> the graph's outputs by name, each float32 Nx….

        Runs ``batch_size`` images at once, which the first calls find. When the device is out
        of memory it is halved and the work goes on; the smaller size stays. A backend that cannot
        take a single image, or fails in another way, is given up for the reference.

        Raises:
            TimeoutError: the time is past `stop_at`.
            Exception: whatever the reference raises.
        """
        parts: list[dict[str, npt.NDArray[Any]]] = []
        start = 0
        while start < len(images):
            if time.monotonic() > self.stop_at:
                raise TimeoutError("the time for this picture is over")
            batch = images[start : start + self.batch_size]
            began = time.perf_counter()
            try:
                parts.append(_ask(self._backend, batch))
            except Exception as error:  # the run times raise a dozen types of their own
                self._adapt(len(batch), error)
                continue
            self._batches.observe(len(batch), time.perf_counter() - began)
            start += len(batch)
        return {
            name: np.concatenate([part[name] for part in parts]).astype(np.float32, copy=False)
            for name in parts[0]
        }

    def try_once(self, folder: Path) -> dict[str, tuple[int, ...]]:
        """Run one black square of the size that the config names -> the shape of each output.

        Raises:
            WeightsError: the graph does not take it; names ``folder``.
        """
        size = self.config.input.size
        try:
            raw = self.run(np.zeros((1, size, size, 3), np.uint8))
        except Exception as error:  # the run times raise a dozen types of their own
            raise WeightsError(
                f"{folder}/model.onnx does not take uint8 1x{size}x{size}x3 ({error}): "
                "export the model again"
            ) from error
        return {name: values.shape for name, values in raw.items()}

    def _adapt(self, batch: int, error: Exception) -> None:
        """Make the next try smaller, or move it to the reference; raise where neither is left."""
        # No run time has an exception type of its own for this; the message must tell.
        no_memory = any(sign in str(error).lower() for sign in _OUT_OF_MEMORY)
        if no_memory and batch > 1:
            self.fix_batch_size(batch // 2)
            self._warn(f"out of memory at {batch} pictures; going on with {batch // 2} at once")
        elif self.provider != REFERENCE:
            name = NAMES[self.provider]
            self._warn(f"{name} failed ({first_line(error)}); going on on {NAMES[REFERENCE]}")
            self._backend = self._open_reference()
            self.batch_limit = min(self.batch_limit, most_at_once(self.config, self.provider))
            self._batches = BatchSize(_FIRST_SIZES[self.provider], self.batch_limit)
        else:
            raise error


def add_self_test(folder: Path, tell: Callable[[str], None] = say) -> WeightsConfig:
    """Record what the reference answers in a weights folder, replacing an older record.

    Where this CPU computes in bf16 and OpenVINO is installed, bf16 is tried at once, and noted in
    the config as unfit where it disagrees, so that no run spends its start on finding out.

    Returns:
        The new description, which is written.

    Raises:
        WeightsError: missing, corrupt or unfit weights.
    """
    config = read_config(folder)
    test = SelfTest.record(OnnxModel.as_written(folder).run, config.input.size)
    test.save(folder)
    files = {**config.files, self_test.FILE: sha256_of(folder / self_test.FILE)}
    config = replace(config, files=files, unfit=[])
    bf16 = Candidate("openvino", "bf16")
    if bf16 in candidates("openvino", config, tested=True):
        found = _try(bf16, folder, config, test, available_cpus())
        config = replace(config, unfit=["bf16"] if isinstance(found, str) else [])
        tell(f"{bf16}: {found if isinstance(found, str) else 'agrees with fp32'}")
    config.save(folder)
    return config


def most_at_once(config: WeightsConfig, provider: str) -> int:
    """Pictures in one call of a model, as long as the device does not run out of memory."""
    most = BATCH_SIZES[provider]
    if config.localization is None:
        return most
    return max(1, min(most, LOCALIZER_PIXELS[provider] // config.input.size**2))


def _try(
    candidate: Candidate, folder: Path, config: WeightsConfig, test: SelfTest | None, threads: int
) -> Backend | str:
    """The backend, opened and held against the self-test; or why it is of no use."""
    try:
        backend = candidate.open(folder, config, threads)
        if test is None:
            return backend
        answers = _ask(backend, test.images)
        return test.disagreement(answers, config, backend.precision) or backend
    except Exception as error:  # a broken driver must not cost the run
        return first_line(error)


def _ask(backend: Backend, images: npt.NDArray[np.uint8]) -> dict[str, npt.NDArray[Any]]:
    return dict(zip(backend.outputs, backend.run(images), strict=True))
