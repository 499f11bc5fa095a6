"""Backends that fail, disagree or run out of memory, without a GPU."""

from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from synthdet.errors import WeightsError
from synthdet.inference import session
from synthdet.inference.backends import choice
from synthdet.inference.backends.choice import Candidate
from synthdet.inference.self_test import SelfTest
from synthdet.inference.session import OnnxModel
from synthdet.inference.weights import Precision, read_config, sha256_of
from tests.conftest import write_detector


class SmallDevice:
    """A backend that fits ``room`` pictures, and answers with each picture's mean, or near it."""

    precision: Precision
    outputs = ["logit"]  # noqa: RUF012 - as the protocol has it

    def __init__(
        self,
        room: int = 64,
        message: str = "CUDA error: out of memory",
        provider: str = "cpu",
        precision: Precision = "fp32",
        error: float = 0.0,
    ) -> None:
        self.room, self.message, self.error = room, message, error
        self.provider, self.precision = provider, precision
        self.batches: list[int] = []

    def run(self, images: np.ndarray) -> list[np.ndarray]:
        self.batches.append(len(images))
        if len(images) > self.room:
            raise RuntimeError(self.message)
        return [images.mean(axis=(1, 2, 3)).astype(np.float32) + self.error]


def images(count: int) -> np.ndarray:
    return np.arange(count, dtype=np.uint8)[:, None, None, None] * np.ones((1, 4, 4, 3), np.uint8)


def model_on(
    device: SmallDevice, folder: Path, warnings: list[str], cpu: SmallDevice | None = None
) -> OnnxModel:
    """On ``device``, with ``cpu`` as the reference behind it."""
    return OnnxModel(device, read_config(folder), lambda: cpu or device, warnings.append)


def test_no_batch_is_begun_once_the_time_is_over(detector_folder: Path) -> None:
    device = SmallDevice()
    model = model_on(device, detector_folder, [])
    model.stop_at = 0.0
    with pytest.raises(TimeoutError):
        model.run(images(2))
    assert device.batches == []
    model.stop_at = float("inf")
    assert len(model.run(images(2))["logit"]) == 2


def test_out_of_memory_halves_the_batch_and_goes_on(detector_folder: Path) -> None:
    device, warnings = SmallDevice(room=5), []
    model = model_on(device, detector_folder, warnings)
    model.fix_batch_size(16)
    logits = model.run(images(20))["logit"]
    assert logits.tolist() == list(range(20))
    assert device.batches == [16, 8, 4, 4, 4, 4, 4]
    assert (model.batch_limit, model.batch_size) == (4, 4)
    assert len(warnings) == 2
    assert "going on with 4 at once" in warnings[-1]


def test_the_first_calls_find_the_batch_that_is_fastest(
    detector_folder: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """On a clock that charges 3 s a call, and a second a picture in batches of up to four."""
    device, now = SmallDevice(), [0.0]
    run = device.run

    def timed(batch: np.ndarray) -> list[np.ndarray]:
        now[0] += 3 + len(batch) * (1 if len(batch) <= 4 else 2)
        return run(batch)

    monkeypatch.setattr(device, "run", timed)
    monkeypatch.setattr(session.time, "perf_counter", lambda: now[0])
    model = model_on(device, detector_folder, [])
    assert model.run(images(70))["logit"].tolist() == list(range(70))
    assert device.batches == [1] * 3 + [2] * 3 + [4] * 3 + [8] * 3 + [4] * 6 + [1]
    assert model.batch_size == 4


@pytest.mark.parametrize("message", ["CUDA error: out of memory", "the device fell off the bus"])
def test_a_gpu_that_fails_in_the_middle_is_given_up_for_the_cpu(
    detector_folder: Path, message: str
) -> None:
    warnings: list[str] = []
    gpu, cpu = SmallDevice(0, message, "cuda"), SmallDevice(64)
    model = model_on(gpu, detector_folder, warnings, cpu)
    assert model.run(images(70))["logit"].tolist() == list(range(70))
    assert model.provider == "cpu"
    assert f"CUDA failed ({message}); going on on ONNX Runtime on the CPU" in warnings[-1]
    assert model.run(images(3))["logit"].tolist() == [0, 1, 2]
    assert gpu.batches[-1] != 3  # it is not asked again


def test_a_fault_on_the_cpu_is_passed_on(detector_folder: Path) -> None:
    model = model_on(SmallDevice(0, "the graph is broken"), detector_folder, [])
    with pytest.raises(RuntimeError, match="the graph is broken"):
        model.run(images(3))


def with_test(folder: Path) -> Path:
    """A weights folder whose self-test holds what `SmallDevice` answers without error."""
    test = SelfTest.record(lambda images: {"logit": SmallDevice().run(images)[0]}, 32)
    test.save(folder)
    config = read_config(folder)
    files = {**config.files, "self_test.npz": sha256_of(folder / "self_test.npz")}
    replace(config, files=files).save(folder)
    return folder


def put_behind(
    monkeypatch: pytest.MonkeyPatch, devices: dict[str, SmallDevice | Exception]
) -> list[str]:
    """Candidates, by name, open these devices; gives the names in the order of the attempts."""
    tried: list[str] = []

    def open_device(candidate: Candidate, *_: Any) -> SmallDevice:
        tried.append(str(candidate))
        device = devices[str(candidate)]
        if isinstance(device, Exception):
            raise device
        return device

    monkeypatch.setattr(Candidate, "open", open_device)
    monkeypatch.setattr(session, "open_reference", lambda *_: SmallDevice())
    monkeypatch.setattr(choice, "gpu_present", lambda: True)
    monkeypatch.setattr(choice, "openvino_installed", lambda: True)
    monkeypatch.setattr(choice, "computes_in_bf16", lambda: True)
    return tried


def test_a_backend_that_disagrees_is_refused_and_the_next_is_taken(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    folder = with_test(write_detector(tmp_path))
    tried = put_behind(
        monkeypatch,
        {
            "CUDA in fp32": SmallDevice(provider="cuda", error=0.02),
            "OpenVINO in bf16": SmallDevice(provider="openvino", precision="bf16", error=0.04),
        },
    )
    warnings: list[str] = []
    model = OnnxModel.load(folder, "detector", warn=warnings.append)
    assert tried == ["CUDA in fp32", "OpenVINO in bf16"]
    assert (model.provider, model.precision) == ("openvino", "bf16")
    assert warnings == [
        "CUDA in fp32 is not used (its logits differ by up to 0.02, expected at most 0.01); "
        "what is tried next is slower"
    ]


@pytest.mark.parametrize("wrong", [0.06, float("nan"), float("inf")])
def test_where_all_disagree_the_reference_runs(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, wrong: float
) -> None:
    put_behind(
        monkeypatch,
        {
            "CUDA in fp32": SmallDevice(provider="cuda", error=wrong),
            "OpenVINO in bf16": RuntimeError(),
        },
    )
    warnings: list[str] = []
    folder = with_test(write_detector(tmp_path))
    model = OnnxModel.load(folder, "detector", warn=warnings.append)
    assert model.provider == "cpu"
    assert model.run(images(3))["logit"].tolist() == [0, 1, 2]
    assert len(warnings) == 2
    assert "(RuntimeError)" in warnings[1]


def test_what_a_folder_without_a_self_test_answers_is_said_to_be_unchecked(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    folder = write_detector(tmp_path)
    put_behind(monkeypatch, {"CUDA in fp32": SmallDevice(provider="cuda", error=5.0)})
    warnings: list[str] = []
    assert OnnxModel.load(folder, "detector", warn=warnings.append).provider == "cuda"
    assert warnings == [f"{folder} has no self-test, so CUDA in fp32 runs unchecked"]


def test_a_damaged_self_test_is_a_damaged_weights_folder(tmp_path: Path) -> None:
    folder = with_test(write_detector(tmp_path))
    (folder / "self_test.npz").write_bytes(b"no archive")
    with pytest.raises(WeightsError, match="damaged or was replaced"):
        OnnxModel.load(folder, "detector", "cpu")


def test_cuda_that_does_not_start_costs_a_warning(detector_folder: Path) -> None:
    warnings: list[str] = []
    model = OnnxModel.load(detector_folder, "detector", "cuda", warn=warnings.append)
    assert model.provider in ("cuda", "cpu")  # this machine's own word
    assert warnings
    if model.provider == "cpu":
        assert warnings[0].startswith("CUDA in fp32 is not used (")


def test_a_graph_that_is_none_is_refused(tmp_path: Path) -> None:
    folder = write_detector(tmp_path / "w")
    (folder / "model.onnx").write_bytes(b"not a graph")
    write_again = {"model.onnx": sha256_of(folder / "model.onnx")}
    config = read_config(folder)
    type(config)(**{**config.__dict__, "files": write_again}).save(folder)
    with pytest.raises(WeightsError, match="is no ONNX graph"):
        OnnxModel.load(folder, "detector", "cpu")
