"""Small pictures and a small detector, made on the spot."""

import struct
from collections.abc import Callable
from pathlib import Path

import numpy as np
import onnx
import pytest
from hypothesis import HealthCheck, settings
from onnx import TensorProto, helper, numpy_helper
from PIL import Image

from synthdet.inference.weights import LocalizationSpec, WeightsConfig, sha256_of
from synthdet.preprocessing.detector_views import InputSpec

# A busy machine is no failure.
settings.register_profile("patient", deadline=None, suppress_health_check=[HealthCheck.too_slow])
settings.load_profile("patient")


# A texture of a kind that no decoder has: Pillow raises NotImplementedError at its header.
DDS = b"DDS " + struct.pack("<7I", 124, 0x1007, 8, 8, 0, 0, 0) + bytes(44)
DDS += struct.pack("<2I4s5I", 32, 4, b"QQQQ", 0, 0, 0, 0, 0) + bytes(20)


def write_detector(
    folder: Path,
    spec: InputSpec = InputSpec(32),  # noqa: B008 - frozen
    gain: float = 4.0,
    output: str = "logit",
    side: int | None = None,
    slow: bool = False,
    **config: object,
) -> Path:
    """A detector whose raw logit is ``gain`` × (mean red - mean blue) / 255, with a real 3x3
    convolution before it, so that batches go through the runtime's own matrix code. ``side``
    fixes the graph's input size, otherwise it takes any; ``slow`` gives every picture some tens
    of milliseconds of work with the same result."""
    folder.mkdir(parents=True, exist_ok=True)
    kernel = np.zeros((3, 3, 3, 3), np.float32)
    kernel[range(3), range(3), 1, 1] = 1  # the runtime does not know that it changes nothing
    depth = 8 if slow else 1
    enlarge = np.array([1, 1, 16, 16] if slow else [1, 1, 1, 1], np.float32)
    mix = np.array([gain / 255, 0.0, -gain / 255], np.float32)[:, None]
    nodes = [
        helper.make_node("Cast", ["images"], ["floats"], to=TensorProto.FLOAT),
        helper.make_node("Transpose", ["floats"], ["planes"], perm=[0, 3, 1, 2]),
        helper.make_node("Resize", ["planes", "", "enlarge"], ["plane0"], mode="nearest"),
        *(
            helper.make_node("Conv", [f"plane{n}", "kernel"], [f"plane{n + 1}"], pads=[1, 1, 1, 1])
            for n in range(depth)
        ),
        helper.make_node("GlobalAveragePool", [f"plane{depth}"], ["means"]),
        helper.make_node("Flatten", ["means"], ["flat"]),
        helper.make_node("MatMul", ["flat", "mix"], ["column"]),
        helper.make_node("Squeeze", ["column", "one"], [output]),
    ]
    graph = helper.make_graph(
        nodes,
        "tiny",
        [
            helper.make_tensor_value_info(
                "images", TensorProto.UINT8, ["N", side or "H", side or "W", 3]
            )
        ],
        [helper.make_tensor_value_info(output, TensorProto.FLOAT, ["N"])],
        [
            numpy_helper.from_array(kernel, "kernel"),
            numpy_helper.from_array(enlarge, "enlarge"),
            numpy_helper.from_array(mix, "mix"),
            numpy_helper.from_array(np.array([1]), "one"),
        ],
    )
    model = helper.make_model(graph, opset_imports=[helper.make_opsetid("", 17)], ir_version=9)
    return _write_weights(folder, model, "detector", spec, config)


def write_localizer(
    folder: Path,
    size: int = 32,
    spec: LocalizationSpec = LocalizationSpec(),  # noqa: B008 - frozen
    gain: float = 8.0,
    outputs: tuple[str, ...] = ("mask_logit", "logit"),
    **config: object,
) -> Path:
    """A localizer whose raw logit of a pixel is ``gain`` × (red / 255 - 0.5), and of a square the
    mean over its pixels. The graph takes squares of ``size`` alone."""
    folder.mkdir(parents=True, exist_ok=True)
    weights = np.array([gain / 255, 0, 0], np.float32).reshape(1, 3, 1, 1)
    nodes = [
        helper.make_node("Cast", ["images"], ["floats"], to=TensorProto.FLOAT),
        helper.make_node("Transpose", ["floats"], ["planes"], perm=[0, 3, 1, 2]),
        helper.make_node("Conv", ["planes", "weights", "bias"], ["plane"]),
        helper.make_node("Squeeze", ["plane", "one"], ["mask_logit"]),
        helper.make_node("ReduceMean", ["mask_logit"], ["logit"], axes=[1, 2], keepdims=0),
    ]
    shapes = {"mask_logit": ["N", size, size], "logit": ["N"]}
    graph = helper.make_graph(
        nodes,
        "tiny",
        [helper.make_tensor_value_info("images", TensorProto.UINT8, ["N", size, size, 3])],
        [helper.make_tensor_value_info(n, TensorProto.FLOAT, shapes[n]) for n in outputs],
        [
            numpy_helper.from_array(weights, "weights"),
            numpy_helper.from_array(np.array([-gain / 2], np.float32), "bias"),
            numpy_helper.from_array(np.array([1]), "one"),
        ],
    )
    model = helper.make_model(graph, opset_imports=[helper.make_opsetid("", 17)], ir_version=9)
    return _write_weights(
        folder, model, "localizer", InputSpec(size), {"localization": spec, **config}
    )


def write_instances(
    folder: Path,
    size: int = 32,
    spec: LocalizationSpec = LocalizationSpec(whole=True),  # noqa: B008 - frozen
    gain: float = 16.0,
    **config: object,
) -> Path:
    """Three queries, one a colour channel: the mask's raw logit is ``gain`` × (channel / 255 - 0.5)
    at half of the size, and the class's raw logit the largest of its mask's."""
    folder.mkdir(parents=True, exist_ok=True)
    nodes = [
        helper.make_node("Cast", ["images"], ["floats"], to=TensorProto.FLOAT),
        helper.make_node("Transpose", ["floats"], ["planes"], perm=[0, 3, 1, 2]),
        helper.make_node(
            "AveragePool", ["planes"], ["halved"], kernel_shape=[2, 2], strides=[2, 2]
        ),
        helper.make_node("Mul", ["halved", "slope"], ["scaled"]),
        helper.make_node("Add", ["scaled", "offset"], ["mask_logit"]),
        helper.make_node("ReduceMax", ["mask_logit"], ["class_logit"], axes=[2, 3], keepdims=0),
    ]
    shapes = {"class_logit": ["N", 3], "mask_logit": ["N", 3, size // 2, size // 2]}
    graph = helper.make_graph(
        nodes,
        "tiny",
        [helper.make_tensor_value_info("images", TensorProto.UINT8, ["N", size, size, 3])],
        [helper.make_tensor_value_info(n, TensorProto.FLOAT, shapes[n]) for n in shapes],
        [
            numpy_helper.from_array(np.array(gain / 255, np.float32), "slope"),
            numpy_helper.from_array(np.array(-gain / 2, np.float32), "offset"),
        ],
    )
    model = helper.make_model(graph, opset_imports=[helper.make_opsetid("", 17)], ir_version=9)
    return _write_weights(
        folder, model, "instances", InputSpec(size), {"localization": spec, **config}
    )


def _write_weights(
    folder: Path, model: onnx.ModelProto, task: str, spec: InputSpec, config: dict[str, object]
) -> Path:
    onnx.checker.check_model(model)
    onnx.save(model, folder / "model.onnx")
    fields = {
        "name": "tiny",
        "task": task,
        "version": "1",
        "input": spec,
        "files": {"model.onnx": sha256_of(folder / "model.onnx")},
        "prior_logit": 0.25,
        **config,
    }
    WeightsConfig(**fields).save(folder)  # type: ignore[arg-type]
    return folder


class ModelStandIn:
    """What a pass asks of the model behind a scripted detector or localizer."""

    provider, precision = "cpu", "fp32"
    stop_at = float("inf")

    def __init__(self, batch: int) -> None:
        self.fix_batch_size(batch)

    def fix_batch_size(self, size: int) -> None:
        self.batch_limit = self.batch_size = size


def picture(seed: int, height: int = 40, width: int = 48) -> np.ndarray:
    """uint8 HxWx3 RGB: smooth, so that JPEG keeps it, and different for every seed."""
    rng = np.random.default_rng(seed)
    corners = rng.integers(0, 256, (4, 4, 3), np.uint8)
    return np.asarray(Image.fromarray(corners).resize((width, height), Image.Resampling.BICUBIC))


@pytest.fixture
def detector_folder(tmp_path: Path) -> Path:
    return write_detector(tmp_path / "weights")


@pytest.fixture
def write_images(tmp_path: Path) -> Callable[[int], Path]:
    """Write N JPEGs and a CSV that names them; gives the CSV."""

    def write(count: int) -> Path:
        for index in range(count):
            Image.fromarray(picture(index)).save(tmp_path / f"{index:04d}.jpg", quality=90)
        rows = "".join(f"{index:04d}.jpg\n" for index in range(count))
        table = tmp_path / "input.csv"
        table.write_text("filename\n" + rows)
        return table

    return write


def pytest_addoption(parser: pytest.Parser) -> None:
    parser.addoption("--kills", type=int, default=3, help="Kills in the kill-and-resume test.")
