"""Large matrices of a graph stored narrower than they compute: a quarter or half of the bytes.

In int8 with one scale for each output channel, or in float16. A node before each widens it again;
run times do that once, while they open the graph (`synthdet.inference.backends`), and compute in
floating point as before. What changes is the weights' last digits, and `training/export.py`
measures what that does to the answers.

Rounding a channel to int8 moves it by some 0.7 % of its length, and by next to nothing where it
lay on such a grid already, as the weights of networks that were published in int8 do.
"""

import hashlib
from collections.abc import Iterator
from dataclasses import dataclass, field

import numpy as np
import numpy.typing as npt
from onnx import GraphProto, ModelProto, NodeProto, TensorProto, helper, numpy_helper

from synthdet.inference.weights import Storage

LEAST = 2**16  # elements: smaller matrices are not worth a node
_LARGEST = 127  # of int8, on both sides of 0
_ON_A_GRID = 1e-3  # error of rounding: less is that of the float16 in which weights were published

Floats = npt.NDArray[np.float32]


@dataclass(frozen=True)
class Rounded:
    """A matrix in int8.

    Attributes:
        values: int8, -127 to 127, of the matrix's shape.
        scales: float32, one for each output channel.
        error: length of what rounding moved, as a share of the matrix's own length.
    """

    values: npt.NDArray[np.int8]
    scales: Floats
    error: float

    def restored(self, axis: int) -> Floats:
        """float32, as the widening node computes it; ``axis`` is that of the channels."""
        shape = [1] * self.values.ndim
        shape[axis] = -1
        wide: Floats = self.values.astype(np.float32) * self.scales.reshape(shape)
        return wide


@dataclass(frozen=True)
class Plan:
    """How the large matrices of a folder's graphs are stored.

    A matrix is known by what it holds in float16, so that a graph in half precision stores the
    same bytes as the one in full, and both can share a file.

    Attributes:
        in_int8: fingerprint of a matrix -> its rounded form.
        in_half: fingerprints of those in float16.
    """

    in_int8: dict[str, Rounded] = field(default_factory=dict)
    in_half: frozenset[str] = frozenset()

    @property
    def narrowest(self) -> Storage:
        """The type of fewest bytes that a matrix is stored in."""
        return "int8" if self.in_int8 else "fp16" if self.in_half else "fp32"

    def __str__(self) -> str:
        parts = {"int8": len(self.in_int8), "fp16": len(self.in_half)}
        return ", ".join(f"{count} in {kind}" for kind, count in parts.items() if count)


def plans(model: ModelProto, store: Storage) -> Iterator[Plan]:
    """Ways to store a graph's large matrices, the smallest first.

    In int8 all of them; then without the one that rounding moves most, the two, four, …, all that
    lay on no grid, until all are in float16. Whoever measures can stop at the first that is close
    enough.

    Args:
        model: in float32.
        store: the narrowest type; "fp32" leaves everything as it is.
    """
    if store == "fp32":
        yield Plan()
        return
    found = large_matrices(model.graph)
    marks = {fingerprint(tensor): (tensor, axis) for tensor, axis in found}
    if store == "int8":
        rounded = {mark: round_to_int8(_floats(t), axis) for mark, (t, axis) in marks.items()}
        worst = sorted(rounded, key=lambda mark: rounded[mark].error, reverse=True)
        moved = sum(one.error > _ON_A_GRID for one in rounded.values())
        steps = {0, moved, *(2**power for power in range(len(worst).bit_length()))}
        for kept in sorted(step for step in steps if step < len(worst)):
            int8 = {mark: rounded[mark] for mark in worst[kept:]}
            yield Plan(int8, frozenset(worst[:kept]))
    yield Plan(in_half=frozenset(marks))


def narrowed(model: ModelProto, plan: Plan) -> ModelProto:
    """The graph with its large matrices stored as planned; its inputs and outputs stay.

    Args:
        model: in float32 or float16; it is not changed.
        plan: of the graph in float32.
    """
    narrow = ModelProto()
    narrow.CopyFrom(model)
    graph = narrow.graph
    wideners: list[NodeProto] = []
    for tensor, axis in large_matrices(graph):
        mark = fingerprint(tensor)
        if mark in plan.in_int8:
            wideners += _store_in_int8(graph, tensor, axis, plan.in_int8[mark])
        elif mark in plan.in_half and tensor.data_type == TensorProto.FLOAT:
            wideners += _store_in_half(tensor)
    nodes = [*wideners, *graph.node]
    del graph.node[:]
    graph.node.extend(nodes)
    return narrow


def round_to_int8(matrix: Floats, axis: int) -> Rounded:
    """float32 -> int8 with a scale for each channel along ``axis``.

    The largest weight of a channel becomes 127, which finds the grid of weights that were in int8
    once; then each scale is moved to where the rounded weights fit best (least squares).
    """
    others = tuple(one for one in range(matrix.ndim) if one != axis)
    steps = np.abs(matrix).max(axis=others, keepdims=True) / _LARGEST
    values = np.rint(matrix / np.where(steps > 0, steps, 1))
    squares = (values**2).sum(axis=others, keepdims=True)
    scales = (matrix * values).sum(axis=others, keepdims=True) / np.maximum(squares, 1)
    moved = np.linalg.norm(values * scales - matrix) / max(float(np.linalg.norm(matrix)), 1e-30)
    return Rounded(
        values.astype(np.int8), scales.astype(np.float32).reshape(-1), error=float(moved)
    )


def large_matrices(graph: GraphProto) -> list[tuple[TensorProto, int]]:
    """The weights of linear layers and convolutions, each with the axis of its output channels."""
    axes: dict[str, set[int | None]] = {}
    for node in graph.node:
        for place, name in enumerate(node.input):
            axes.setdefault(name, set()).add(_channel_axis(node, place))
    found = []
    for tensor in graph.initializer:
        axis = axes.get(tensor.name, {None}).pop()
        # Of one use alone, or of several that agree.
        agreed = axis is not None and not axes[tensor.name]
        floating = tensor.data_type in (TensorProto.FLOAT, TensorProto.FLOAT16)
        if agreed and floating and len(tensor.dims) >= 2 and np.prod(tensor.dims) >= LEAST:
            found.append((tensor, axis % len(tensor.dims)))
    return found


def fingerprint(tensor: TensorProto) -> str:
    """The same for a matrix in float32 and for its copy in float16."""
    half = _half(tensor)
    return hashlib.sha256(repr(half.shape).encode() + half.tobytes()).hexdigest()


def _channel_axis(node: NodeProto, place: int) -> int | None:
    """The axis of output channels of a node's input; None where it is no layer's weight."""
    if place != 1:
        return None
    if node.op_type == "Gemm":
        transposed = any(one.name == "transB" and one.i for one in node.attribute)
        return 0 if transposed else 1
    return {"MatMul": -1, "Conv": 0, "ConvTranspose": 1}.get(node.op_type)


def _store_in_int8(
    graph: GraphProto, tensor: TensorProto, axis: int, rounded: Rounded
) -> list[NodeProto]:
    name, half = tensor.name, tensor.data_type == TensorProto.FLOAT16
    scales = numpy_helper.from_array(rounded.scales, f"{name}.scales")
    tensor.CopyFrom(numpy_helper.from_array(rounded.values, f"{name}.int8"))
    graph.initializer.append(scales)
    wide = f"{name}.float" if half else name
    nodes = [helper.make_node("DequantizeLinear", [tensor.name, scales.name], [wide], axis=axis)]
    if half:
        nodes.append(helper.make_node("Cast", [wide], [name], to=TensorProto.FLOAT16))
    return nodes


def _store_in_half(tensor: TensorProto) -> list[NodeProto]:
    name = tensor.name
    tensor.CopyFrom(numpy_helper.from_array(_half(tensor), f"{name}.fp16"))
    return [helper.make_node("Cast", [tensor.name], [name], to=TensorProto.FLOAT)]


def _half(tensor: TensorProto) -> npt.NDArray[np.float16]:
    with np.errstate(over="ignore"):  # what comes out infinite is found when numbers are compared
        return numpy_helper.to_array(tensor).astype(np.float16, copy=False)


def _floats(tensor: TensorProto) -> Floats:
    return numpy_helper.to_array(tensor).astype(np.float32, copy=False)
