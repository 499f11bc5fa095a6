from dataclasses import replace
from pathlib import Path

import pytest

from synthdet.errors import WeightsError
from synthdet.inference.backends import choice
from synthdet.inference.backends.choice import candidates
from synthdet.inference.weights import WeightsConfig, read_config
from tests.conftest import write_detector


@pytest.fixture
def config(tmp_path: Path) -> WeightsConfig:
    return read_config(write_detector(tmp_path))


@pytest.fixture
def machine(monkeypatch: pytest.MonkeyPatch) -> pytest.MonkeyPatch:
    """One with a GPU, OpenVINO, and a CPU that computes in bf16."""
    for found in ("gpu_present", "openvino_installed", "computes_in_bf16"):
        monkeypatch.setattr(choice, found, lambda: True)
    return monkeypatch


def names(provider: str, config: WeightsConfig, tested: bool = True) -> list[str]:
    return [str(one) for one in candidates(provider, config, tested)]


def test_every_provider_has_its_order(machine: pytest.MonkeyPatch, config: WeightsConfig) -> None:
    assert names("auto", config) == ["CUDA in fp32", "OpenVINO in bf16"]
    assert names("cuda", config) == ["CUDA in fp32"]
    assert names("openvino", config) == ["OpenVINO in bf16", "OpenVINO in fp32"]
    assert names("cpu", config) == []


def test_a_graph_in_fp16_comes_first_on_cuda(
    machine: pytest.MonkeyPatch, config: WeightsConfig
) -> None:
    half = replace(config, files={**config.files, "model-fp16.onnx": "0" * 64})
    assert names("cuda", half) == ["CUDA in fp16", "CUDA in fp32"]


def test_less_than_fp32_needs_a_self_test(
    machine: pytest.MonkeyPatch, config: WeightsConfig
) -> None:
    half = replace(config, files={**config.files, "model-fp16.onnx": "0" * 64})
    assert names("auto", half, tested=False) == ["CUDA in fp32"]
    assert names("openvino", half, tested=False) == ["OpenVINO in fp32"]


def test_a_precision_known_to_disagree_is_not_tried(
    machine: pytest.MonkeyPatch, config: WeightsConfig
) -> None:
    assert names("auto", replace(config, unfit=["bf16"])) == ["CUDA in fp32"]


@pytest.mark.parametrize("missing", ["openvino_installed", "computes_in_bf16"])
def test_auto_leaves_openvino_alone_where_it_gains_nothing(
    machine: pytest.MonkeyPatch, config: WeightsConfig, missing: str
) -> None:
    machine.setattr(choice, "gpu_present", lambda: False)
    machine.setattr(choice, missing, lambda: False)
    assert names("auto", config) == []


def test_openvino_that_is_not_installed_says_how_to_get_it(
    machine: pytest.MonkeyPatch, config: WeightsConfig, tmp_path: Path
) -> None:
    machine.setattr(choice, "openvino_installed", lambda: False)
    last = list(candidates("openvino", config, tested=True))[-1]
    with pytest.raises(ImportError, match=r"pip install -r requirements-openvino\.txt"):
        last.open(tmp_path, config, 1)


def test_a_graph_is_verified_before_it_is_opened(
    machine: pytest.MonkeyPatch, config: WeightsConfig, tmp_path: Path
) -> None:
    (tmp_path / "model-fp16.onnx").write_bytes(b"other bytes")
    half = replace(config, files={**config.files, "model-fp16.onnx": "0" * 64})
    with pytest.raises(WeightsError, match="damaged or was replaced"):
        next(candidates("cuda", half, tested=True)).open(tmp_path, half, 1)
