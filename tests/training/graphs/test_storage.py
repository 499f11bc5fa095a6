"""Matrices in fewer bytes: what is stored, what comes out of it, and that it computes in floats."""

from collections import Counter
from pathlib import Path

import numpy as np
import onnx
import onnxruntime as ort
import pytest
import torch
from onnx import TensorProto, numpy_helper
from torch import Tensor, nn

from synthdet.inference.backends.onnxruntime import open_on_cpu
from synthdet.inference.backends.openvino import OpenVino
from synthdet.inference.session import OnnxModel
from synthdet.inference.weights import Storage, WeightsConfig, read_config, verify_files
from synthdet.preprocessing.detector_views import InputSpec
from training import export
from training.export import export_network, main
from training.graphs import files, storage
from training.graphs.files import to_graph
from training.graphs.rounding import round_trained_weights
from training.graphs.storage import large_matrices, narrowed, plans, round_to_int8
from training.network_file import Average
from training.train import train

MADE = {"commit": "abc", "manifest_sha256": "def", "sources": ["camera"], "figures": {}}
STORES = ("fp32", "fp16", "int8")


class Layers(nn.Module):
    """A convolution, a linear layer over tokens, one over a picture, and a small one."""

    task, outputs, any_size = "detector", ("logit",), False

    def __init__(self) -> None:
        super().__init__()
        torch.manual_seed(0)
        self.patches = nn.Conv2d(3, 96, 4, 4)
        self.tokens = nn.Sequential(nn.Linear(96, 128), nn.GELU(), nn.Linear(128, 96))
        self.picture = nn.Linear(96 * 16, 8)
        self.head = nn.Linear(8, 1)

    def deployed(self, images: Tensor) -> tuple[Tensor]:
        dtype = self.head.weight.dtype
        planes = images.permute(0, 3, 1, 2).to(dtype) / 255 - 0.5
        tokens = self.patches(planes).flatten(2).transpose(1, 2)
        flat = (tokens + self.tokens(tokens)).flatten(1)
        return (self.head(self.picture(flat).tanh())[:, 0].float(),)


@pytest.fixture(autouse=True)
def small(monkeypatch: pytest.MonkeyPatch) -> None:
    """All but the head counts as large."""
    monkeypatch.setattr(storage, "LEAST", 1000)


@pytest.fixture
def network() -> Average:
    return Average([Layers().eval()])


def config(store: Storage) -> WeightsConfig:
    return WeightsConfig(
        "test", "detector", "1", InputSpec(16), {}, temperature=2.0, stored=store, provenance=MADE
    )


def views(count: int = 20) -> np.ndarray:
    return np.random.default_rng(0).integers(0, 256, (count, 16, 16, 3), dtype=np.uint8)


def write(network: Average, out: Path, store: Storage, fp16: bool = False) -> Path:
    export_network(network, out, config(store), views(), fp16)
    return out


def size(folder: Path) -> int:
    return sum(file.stat().st_size for file in folder.glob("model*"))


def types(folder: Path, graph: str = "model.onnx") -> Counter[int]:
    """How many large weights of a graph have which type."""
    weights = onnx.load(folder / graph, load_external_data=False).graph.initializer
    return Counter(weight.data_type for weight in weights if np.prod(weight.dims) >= 1000)


def places(folder: Path, graph: str) -> dict[tuple[int, ...], dict[str, str]]:
    """Shape of a large weight -> where its bytes lie."""
    weights = onnx.load(folder / graph, load_external_data=False).graph.initializer
    return {
        tuple(weight.dims): {entry.key: entry.value for entry in weight.external_data}
        for weight in weights
        if np.prod(weight.dims) >= 1000
    }


@pytest.mark.parametrize("store", STORES)
def test_the_answers_stay_close_and_the_names_the_same(
    network: Average, tmp_path: Path, store: Storage
) -> None:
    write(network, tmp_path / "out", store)
    described = read_config(tmp_path / "out")
    verify_files(tmp_path / "out", described)
    assert described.stored == store
    model = OnnxModel.load(tmp_path / "out", "detector", "cpu")
    found = model.run(views())
    assert list(found) == ["logit"]
    expected = network(torch.from_numpy(views()))[0].detach().numpy()
    apart = float(np.abs(found["logit"] - expected).max()) / described.temperature
    assert apart <= {"fp32": 1e-4, "fp16": 1e-3, "int8": 0.02}[store]
    if store != "fp32":
        assert described.provenance["largest_difference"]["fp32"] == pytest.approx(apart, rel=0.1)


def test_large_matrices_and_no_others_are_narrow(network: Average, tmp_path: Path) -> None:
    sizes = {store: size(write(network, tmp_path / store, store)) for store in STORES}
    assert types(tmp_path / "fp32") == {TensorProto.FLOAT: 4}
    assert types(tmp_path / "fp16") == {TensorProto.FLOAT16: 4}
    assert types(tmp_path / "int8") == {TensorProto.INT8: 4}
    assert sizes["int8"] < 0.75 * sizes["fp16"] < 0.75**2 * sizes["fp32"]
    assert read_config(tmp_path / "int8").provenance["storage"] == {
        "matrices": "4 in int8",
        "views": 20,
    }
    assert "(4 in int8) and widened" in (tmp_path / "int8" / "README.md").read_text()
    assert "widened" not in (tmp_path / "fp32" / "README.md").read_text()


@pytest.mark.parametrize("store", ["fp16", "int8"])
def test_the_runtime_folds_what_widens_weights(
    network: Average, tmp_path: Path, store: Storage, monkeypatch: pytest.MonkeyPatch
) -> None:
    folder = write(network, tmp_path / "out", store)
    optimised = tmp_path / "optimised.onnx"
    plain = ort.SessionOptions

    def saving() -> ort.SessionOptions:
        options = plain()
        options.optimized_model_filepath = str(optimised)
        return options

    monkeypatch.setattr(ort, "SessionOptions", saving)
    open_on_cpu(folder / "model.onnx", 1, store)
    graph = onnx.load(optimised).graph
    kinds = Counter(node.op_type for node in graph.node)
    assert kinds["Cast"] == 1  # of the pixels
    assert not kinds.keys() & {"DequantizeLinear", "MatMulNBits", "MatMulIntegerToFloat"}
    assert {weight.data_type for weight in graph.initializer} <= {
        TensorProto.FLOAT,
        TensorProto.INT64,
    }


@pytest.mark.parametrize("store", ["fp16", "int8"])
def test_openvino_computes_in_floats_too(network: Average, tmp_path: Path, store: Storage) -> None:
    graph = write(network, tmp_path / "out", store) / "model.onnx"
    expected = open_on_cpu(graph, 1, store).run(views())[0]
    found = OpenVino(graph, "fp32", 1, store).run(views())[0]
    assert np.abs(found - expected).max() < 1e-5


def test_weights_that_move_answers_most_stay_in_half(
    network: Average, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    whole = export_network(network, tmp_path / "out", config("int8"), views())[0].largest
    monkeypatch.setattr(export, "STORED_TOLERANCE", whole / 2)
    (found,) = export_network(network, tmp_path / "out", config("int8"), views())
    assert found.largest <= whole / 2
    kinds = types(tmp_path / "out")
    assert kinds[TensorProto.FLOAT16] in (1, 2)
    assert kinds[TensorProto.INT8] + kinds[TensorProto.FLOAT16] == 4
    assert found.stored == ", ".join(
        f"{kinds[kind]} in {name}"
        for kind, name in ((TensorProto.INT8, "int8"), (TensorProto.FLOAT16, "fp16"))
    )


def test_nothing_is_written_where_even_half_is_too_far(
    network: Average, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(export, "STORED_TOLERANCE", 0.0)
    with pytest.raises(export.WeightsError, match=r"expected at most 0\.0: .* nothing was written"):
        export_network(network, tmp_path / "out", config("int8"), views())
    assert not (tmp_path / "out").exists()


@pytest.mark.parametrize("store", ["fp16", "int8"])
def test_a_graph_in_half_precision_shares_the_bytes(
    network: Average, tmp_path: Path, store: Storage
) -> None:
    folder = write(network, tmp_path / "out", store, fp16=True)
    assert types(folder) == types(folder, "model-fp16.onnx")
    assert places(folder, "model.onnx") == places(folder, "model-fp16.onnx")
    assert set(read_config(folder).files) == {
        *("model.onnx", "model.onnx.data.00", "model-fp16.onnx", "self_test.npz")
    }
    found = OnnxModel.as_written(folder, "fp16").run(views())["logit"]
    expected = OnnxModel.as_written(folder).run(views())["logit"]
    assert 0 < np.abs(found - expected).max() < 0.02


def test_narrow_weights_are_split_for_git(
    network: Average, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(files, "SHARD", 20_000)
    folder = write(network, tmp_path / "out", "int8")
    shards = sorted(file.name for file in folder.glob("model.onnx.data.*"))
    assert shards == ["model.onnx.data.00", "model.onnx.data.01", "model.onnx.data.02"]
    assert all((folder / name).stat().st_size <= 20_000 for name in shards)
    assert set(shards) < set(read_config(folder).files)


def test_a_file_that_git_refuses_is_not_written(
    network: Average, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(files, "MOST", 40_000)
    with pytest.raises(export.WeightsError, match=r"model\.onnx would have .*--store int8"):
        export_network(network, tmp_path / "out", config("fp32"), views())
    assert not (tmp_path / "out").exists()


def test_a_run_is_stored_as_its_recipe_or_the_command_line_says(tiny, tmp_path, capsys) -> None:
    run = train(tiny("phases.0.epochs=1", "export.store=int8"))
    out, pictures = tmp_path / "weights", tmp_path / "pictures"
    command = [str(run), "--out", str(out), "--images", str(pictures)]
    assert main(command) == 0
    said = capsys.readouterr().out
    assert "on 48 views (matrices stored: " in said
    assert f"{out}: 0." in said
    assert read_config(out).stored == "int8"
    assert main([*command, "--store", "fp32"]) == 0
    assert read_config(out).stored == "fp32"


def test_rounding_finds_the_grid_that_weights_lay_on() -> None:
    rng = np.random.default_rng(0)
    values = rng.integers(-127, 128, (64, 32))
    values[0] = 127  # each channel's largest
    scales = rng.uniform(0.001, 0.1, 32).astype(np.float32)
    found = round_to_int8((values * scales).astype(np.float32), axis=1)
    assert (found.values == values).all()
    assert found.scales == pytest.approx(scales, rel=1e-6)
    assert found.error < 1e-6


def test_rounding_keeps_to_half_a_step_in_each_channel() -> None:
    matrix = np.random.default_rng(0).normal(size=(8, 3, 5, 5)).astype(np.float32)
    matrix[2] = 0
    matrix[3] *= 100
    found = round_to_int8(matrix, axis=0)
    steps = np.abs(matrix).max(axis=(1, 2, 3)) / 127
    moved = np.abs(found.values * found.scales[:, None, None, None] - matrix).max(axis=(1, 2, 3))
    assert (moved <= 0.75 * steps).all()
    assert (found.values[2] == 0).all()
    assert 0 < found.error < 0.02


def test_channels_are_those_of_the_layer(network: Average) -> None:
    graph = to_graph(network, 16).graph
    found = {tuple(tensor.dims): axis for tensor, axis in large_matrices(graph)}
    for shape, axis in found.items():
        assert shape[axis] in (96, 128, 8)
        assert np.prod(shape) / shape[axis] in (48, 96, 128, 96 * 16)


def test_a_model_is_not_changed_by_narrowing_it(network: Average) -> None:
    model = to_graph(network, 16)
    before = model.SerializeToString(deterministic=True)
    plan = next(plans(model, "int8"))
    assert narrowed(model, plan) != model
    assert model.SerializeToString(deterministic=True) == before


def test_plans_go_from_the_smallest_to_all_in_half(network: Average) -> None:
    model = to_graph(network, 16)
    assert [str(plan) for plan in plans(model, "int8")] == [
        "4 in int8",
        "3 in int8, 1 in fp16",
        "2 in int8, 2 in fp16",
        "4 in fp16",
    ]
    assert [str(plan) for plan in plans(model, "fp16")] == ["4 in fp16"]
    assert [str(plan) for plan in plans(model, "fp32")] == [""]
    (kept,) = list(plans(model, "int8"))[1].in_half
    errors = {
        storage.fingerprint(tensor): round_to_int8(numpy_helper.to_array(tensor), axis).error
        for tensor, axis in large_matrices(model.graph)
    }
    assert errors[kept] == max(errors.values())


def test_one_plan_leaves_in_int8_what_lay_on_a_grid_and_nothing_else(network: Average) -> None:
    network.requires_grad_(False)
    network.networks[0].tokens[0].requires_grad_(True)
    assert round_trained_weights(network) == 1
    *_, second_last, last = plans(to_graph(network, 16), "int8")
    assert str(second_last) == "1 in int8, 3 in fp16"
    assert str(last) == "4 in fp16"
    (kept,) = second_last.in_int8.values()
    assert kept.error < 1e-6
    assert kept.values.shape == (96, 128)
