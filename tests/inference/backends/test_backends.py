"""Each backend's answers are those of ONNX Runtime's plain call."""

from pathlib import Path

import numpy as np
import onnxruntime as ort
import pytest

from synthdet.host_resources import computes_in_bf16
from synthdet.inference.backends.onnxruntime import OnBoundMemory, OnCpu, open_on_cpu
from synthdet.inference.backends.openvino import OpenVino
from tests.conftest import picture, write_detector, write_localizer

BATCHES = (1, 3, 2)


def pictures(count: int) -> np.ndarray:
    return np.stack([picture(seed, 32, 32) for seed in range(count)])


@pytest.fixture(params=[write_detector, write_localizer])
def graph(request: pytest.FixtureRequest, tmp_path: Path) -> Path:
    return request.param(tmp_path) / "model.onnx"


def expected(graph: Path, images: np.ndarray) -> dict[str, np.ndarray]:
    session = ort.InferenceSession(graph, providers=["CPUExecutionProvider"])
    names = [output.name for output in session.get_outputs()]
    return dict(zip(names, session.run(names, {"images": images}), strict=True))


@pytest.mark.parametrize("name", ["cpu", "bound", "openvino"])
def test_the_answers_are_the_graphs_at_every_batch_size(graph: Path, name: str) -> None:
    session = ort.InferenceSession(graph, providers=["CPUExecutionProvider"])
    backend = {
        "cpu": lambda: open_on_cpu(graph, 1),
        "bound": lambda: OnBoundMemory(session, "fp32"),
        "openvino": lambda: OpenVino(graph, "fp32", 1),
    }[name]()
    for count in BATCHES:
        images = pictures(count)
        found = dict(zip(backend.outputs, backend.run(images), strict=True))
        for output, values in expected(graph, images).items():
            np.testing.assert_allclose(found[output], values, atol=1e-4)


@pytest.mark.parametrize("kind", [OnCpu, OpenVino])
def test_an_answer_outlives_the_next_call(tmp_path: Path, kind: type) -> None:
    graph = write_detector(tmp_path) / "model.onnx"
    backend = open_on_cpu(graph, 1) if kind is OnCpu else OpenVino(graph, "fp32", 1)
    first = backend.run(pictures(2))[0]
    kept = first.copy()
    backend.run(pictures(4)[2:])
    assert first.tolist() == kept.tolist()


def test_bf16_rounds_where_the_cpu_has_it_and_changes_nothing_elsewhere(tmp_path: Path) -> None:
    graph = write_detector(tmp_path, gain=100.0) / "model.onnx"
    images = pictures(8)
    error = np.abs(
        OpenVino(graph, "bf16", 1).run(images)[0] - OpenVino(graph, "fp32", 1).run(images)[0]
    ).max()
    assert (error > 1e-3) == computes_in_bf16()
    assert error < 5
