import numpy as np
import onnx
import pytest
from onnx import TensorProto, helper, numpy_helper

from synthdet.errors import WeightsError
from tests.conftest import write_detector, write_localizer
from training.count_flops import count_flops, main


def graph(nodes: list[onnx.NodeProto], **weights: np.ndarray) -> onnx.ModelProto:
    """Takes ``x``, floats 1x8x8x3 (N, H, W, C), and gives ``y``."""
    made = helper.make_graph(
        [helper.make_node("Transpose", ["x"], ["planes"], perm=[0, 3, 1, 2]), *nodes],
        "tiny",
        [helper.make_tensor_value_info("x", TensorProto.FLOAT, ["N", "H", "W", 3])],
        [helper.make_tensor_value_info("y", TensorProto.FLOAT, None)],
        [numpy_helper.from_array(value, name) for name, value in weights.items()],
    )
    return helper.make_model(made, opset_imports=[helper.make_opsetid("", 17)], ir_version=9)


def test_every_kind_is_counted_as_by_hand():
    nodes = [
        # 4 filters of 3x3x3, every second place of 8x8: 4x4x4 numbers of 27 products.
        helper.make_node("Conv", ["planes", "c"], ["a"], strides=[2, 2], pads=[1, 1, 1, 1]),
        # 4x4x4 numbers spread over 2 filters of 2x2.
        helper.make_node("ConvTranspose", ["a", "t"], ["b"], strides=[2, 2]),
        helper.make_node("Flatten", ["b"], ["flat"]),  # 1x128
        helper.make_node("Gemm", ["flat", "g"], ["d"], transB=1),  # 5 numbers of 128 products
        helper.make_node("MatMul", ["d", "m"], ["y"]),  # 7 numbers of 5 products
    ]
    zeros = {"c": (4, 3, 3, 3), "t": (4, 2, 2, 2), "g": (5, 128), "m": (5, 7)}
    model = graph(nodes, **{name: np.zeros(shape, np.float32) for name, shape in zeros.items()})
    assert count_flops(model, 8) == {
        "Conv": 2 * 64 * 27,
        "ConvTranspose": 2 * 64 * 8,
        "Gemm": 2 * 5 * 128,
        "MatMul": 2 * 7 * 5,
    }


def test_a_shape_that_cannot_be_told_is_refused():
    nodes = [
        helper.make_node("NonZero", ["planes"], ["places"]),  # as many as there are
        helper.make_node("Cast", ["places"], ["floats"], to=TensorProto.FLOAT),
        helper.make_node("MatMul", ["m", "floats"], ["y"]),
    ]
    with pytest.raises(WeightsError, match="the shape of"):
        count_flops(graph(nodes, m=np.zeros((5, 4), np.float32)), 8)


def test_folders_are_printed_with_what_their_config_says(tmp_path, capsys):
    detector, localizer = write_detector(tmp_path / "d"), write_localizer(tmp_path / "l", 64)
    assert main([str(detector), str(localizer)]) == 0
    lines = capsys.readouterr().out.splitlines()
    assert lines[0] == f"{detector}: 0.000 GFLOP a view of 32 px"
    assert "of 64 px" in lines[2]
    assert main([str(tmp_path)]) == 2
