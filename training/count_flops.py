"""Count the floating-point operations of an exported model for one of its views.

    python training/count_flops.py weights/detector weights/localizer

A multiplication and an addition count as two. Convolutions and matrix products are counted, which
are nearly all there is; what remains moves memory rather than computes.
"""

import argparse
import math
import sys
from collections import Counter
from collections.abc import Callable
from pathlib import Path

if __name__ == "__main__":  # run as a file, Python looks for modules in training/ alone
    sys.path.insert(0, str(Path(__file__).resolve().parents[1]))

import onnx
from onnx import inliner, shape_inference

from synthdet.errors import SynthdetError, WeightsError
from synthdet.inference.weights import read_config

Shape = list[int]


def main(arguments: list[str] | None = None) -> int:
    """Print GFLOP a view for each folder; 0: counted, 2: unusable weights."""
    parser = argparse.ArgumentParser(
        description="Count the operations of models for one view: a multiplication and an "
        "addition are two.",
        epilog="Exit code 0: counted. 2: unusable weights.",
    )
    parser.add_argument(
        "folders", metavar="DIR", type=Path, nargs="+", help="Weights folders to count."
    )
    try:
        for folder in parser.parse_args(arguments).folders:
            config = read_config(folder)
            counts = count_flops(onnx.load(folder / "model.onnx"), config.input.size)
            kinds = ", ".join(f"{kind} {n / 1e9:.3f}" for kind, n in counts.most_common())
            print(f"{folder}: {counts.total() / 1e9:.3f} GFLOP a view of {config.input.size} px")
            print(f"  {kinds}; at most {config.input.max_views} views a picture")
    except SynthdetError as error:
        print(f"error: {error}", file=sys.stderr)
        return error.exit_code
    return 0


def count_flops(model: onnx.ModelProto, size: int) -> Counter[str]:
    """Operations for one view of size x size, by the kind of node.

    Raises:
        WeightsError: a shape that cannot be told from the graph.
    """
    model = inliner.inline_local_functions(model)
    _fix_input(model.graph, size)
    model = shape_inference.infer_shapes(model, data_prop=True)
    shapes = _shapes(model.graph)
    counts: Counter[str] = Counter()
    for node in model.graph.node:
        if node.op_type in _COUNTERS:
            try:
                sides = [shapes[name] for name in node.input[:2]]
                counts[node.op_type] += _COUNTERS[node.op_type](*sides, shapes[node.output[0]])
            except KeyError as error:
                raise WeightsError(
                    f"the shape of {error} is not known: expected a graph whose shapes follow from "
                    f"one view of {size} pixels"
                ) from error
    return counts


def _conv(data: Shape, weight: Shape, out: Shape) -> int:
    """Each number that comes out is a product of one filter: (C / groups) x kernel."""
    return 2 * math.prod(out) * math.prod(weight[1:])


def _conv_transpose(data: Shape, weight: Shape, out: Shape) -> int:
    """Each number that goes in is spread over one filter: (M / groups) x kernel."""
    return 2 * math.prod(data) * math.prod(weight[1:])


def _matrix(left: Shape, right: Shape, out: Shape) -> int:
    """Each number that comes out is a product along the last axis of the left one."""
    return 2 * math.prod(out) * left[-1]


def _gemm(left: Shape, right: Shape, out: Shape) -> int:
    """The same, whichever side is transposed."""
    return 2 * math.prod(left) * out[-1]


_COUNTERS: dict[str, Callable[[Shape, Shape, Shape], int]] = {
    "Conv": _conv,
    "ConvTranspose": _conv_transpose,
    "Gemm": _gemm,
    "MatMul": _matrix,
}


def _fix_input(graph: onnx.GraphProto, size: int) -> None:
    """One view; what the exporter wrote of other shapes is forgotten, as it was for any number."""
    dimensions = graph.input[0].type.tensor_type.shape.dim
    for dimension, value in zip(dimensions, (1, size, size, 3), strict=True):
        dimension.dim_value = value
    del graph.value_info[:]
    for output in graph.output:
        output.type.tensor_type.ClearField("shape")


def _shapes(graph: onnx.GraphProto) -> dict[str, Shape]:
    known = {tensor.name: list(tensor.dims) for tensor in graph.initializer}
    for value in (*graph.input, *graph.value_info, *graph.output):
        dimensions = value.type.tensor_type.shape.dim
        if all(one.HasField("dim_value") for one in dimensions):
            known[value.name] = [one.dim_value for one in dimensions]
    return known


if __name__ == "__main__":
    sys.exit(main())
