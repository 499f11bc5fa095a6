"""The choice of provider and the batch that does not fit, without a GPU."""

from pathlib import Path
from typing import Any

import numpy as np
import onnxruntime as ort
import pytest

from synthdet import session
from synthdet.errors import WeightsError
from synthdet.session import OnnxModel
from synthdet.weights import read_config, sha256_of
from tests.conftest import write_detector


class SmallDevice:
    """A runtime session that fits ``room`` pictures, and answers with each picture's mean."""

    def __init__(self, room: int, message: str = "CUDA error: out of memory") -> None:
        self.room = room
        self.message = message
        self.batches: list[int] = []

    def get_inputs(self) -> list[Any]:
        return [type("Input", (), {"name": "images"})]

    def get_outputs(self) -> list[Any]:
        return [type("Output", (), {"name": "logit"})]

    def run(self, names: list[str], feeds: dict[str, np.ndarray]) -> list[np.ndarray]:
        images = feeds["images"]
        self.batches.append(len(images))
        if len(images) > self.room:
            raise RuntimeError(self.message)
        return [images.mean(axis=(1, 2, 3)).astype(np.float32)]


def images(count: int) -> np.ndarray:
    return np.arange(count, dtype=np.uint8)[:, None, None, None] * np.ones((1, 4, 4, 3), np.uint8)


def model_on(
    device: SmallDevice, folder: Path, warnings: list[str], cpu: SmallDevice | None = None
) -> OnnxModel:
    """On the GPU ``device``, with ``cpu`` behind it; on a CPU where there is none."""
    provider = "cpu" if cpu is None else "cuda"
    config = read_config(folder)
    return OnnxModel(device, config, provider, lambda: cpu, warnings.append)  # type: ignore[arg-type, return-value]


def test_out_of_memory_halves_the_batch_and_goes_on(detector_folder: Path) -> None:
    device, warnings = SmallDevice(room=5), []
    model = model_on(device, detector_folder, warnings)
    logits = model.run(images(20))["logit"]
    assert logits.tolist() == list(range(20))
    assert device.batches == [16, 8, 4, 4, 4, 4, 4]
    assert model.batch_limit == 4
    assert len(warnings) == 2
    assert "going on with 4 at once" in warnings[-1]


@pytest.mark.parametrize("message", ["CUDA error: out of memory", "the device fell off the bus"])
def test_a_gpu_that_fails_in_the_middle_is_given_up_for_the_cpu(
    detector_folder: Path, message: str
) -> None:
    warnings: list[str] = []
    gpu, cpu = SmallDevice(0, message), SmallDevice(64)
    model = model_on(gpu, detector_folder, warnings, cpu)
    assert model.run(images(70))["logit"].tolist() == list(range(70))
    assert model.provider == "cpu"
    assert f"CUDA failed ({message}); going on on the CPU" in warnings[-1]
    assert model.run(images(3))["logit"].tolist() == [0, 1, 2]
    assert gpu.batches[-1] != 3  # it is not asked again


def test_a_fault_on_the_cpu_is_passed_on(detector_folder: Path) -> None:
    model = model_on(SmallDevice(0, "the graph is broken"), detector_folder, [])
    with pytest.raises(RuntimeError, match="the graph is broken"):
        model.run(images(3))


@pytest.mark.parametrize(
    ("asked", "gpu", "tries_cuda"),
    [("auto", False, False), ("auto", True, True), ("cuda", False, True), ("cpu", True, False)],
)
def test_the_provider_that_runs_is_the_sessions_own_word(
    detector_folder: Path,
    monkeypatch: pytest.MonkeyPatch,
    asked: Any,
    gpu: bool,
    tries_cuda: bool,
) -> None:
    tried: list[bool] = []
    real_open = ort.InferenceSession

    def open_session(path: Path, options: Any, providers: list[Any]) -> ort.InferenceSession:
        tried.append(len(providers) == 2)
        if len(providers) == 2:
            raise RuntimeError("CUDA driver version is insufficient\nat line 1")
        return real_open(path, options, providers=providers)

    monkeypatch.setattr(session, "gpu_present", lambda: gpu)
    monkeypatch.setattr(ort, "preload_dlls", lambda: None)
    monkeypatch.setattr(ort, "InferenceSession", open_session)
    warnings: list[str] = []
    model = OnnxModel.load(detector_folder, "detector", asked, warn=warnings.append)
    assert model.provider == "cpu"
    assert tried[0] is tries_cuda
    assert bool(warnings) is tries_cuda
    if tries_cuda:
        assert warnings == [
            "CUDA does not run here (CUDA driver version is insufficient); "
            "scoring on the CPU, which is slower"
        ]


def test_a_graph_that_is_none_is_refused(tmp_path: Path) -> None:
    folder = write_detector(tmp_path / "w")
    (folder / "model.onnx").write_bytes(b"not a graph")
    write_again = {"model.onnx": sha256_of(folder / "model.onnx")}
    config = read_config(folder)
    type(config)(**{**config.__dict__, "files": write_again}).save(folder)
    with pytest.raises(WeightsError, match="cannot be loaded"):
        OnnxModel.load(folder, "detector", "cpu")
