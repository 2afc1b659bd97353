"""Operators on tensors that onnxruntime had before ONNX, or beside it."""

from __future__ import annotations

from typing import TYPE_CHECKING

from packager.hub.writer import Unsupported, attributes_of, copy_attributes, text

if TYPE_CHECKING:
    import onnx

    from packager.hub.writer import Writer

_TRIANGLES = 14
"""The opset from which on there is Trilu."""


def same(writer: Writer, node: onnx.NodeProto) -> None:
    """GatherND: as ONNX has it."""
    writer.add(node.op_type, list(node.input), node.output[0], **copy_attributes(node, drop=()))


def triangle(writer: Writer, node: onnx.NodeProto) -> None:
    """Trilu."""
    if writer.version < _TRIANGLES:
        raise Unsupported(f"ONNX has it from opset {_TRIANGLES} on")
    same(writer, node)


def distances(writer: Writer, node: onnx.NodeProto) -> None:
    """CDist: between each row of one matrix and each of another."""
    metric = text(attributes_of(node), "metric", "sqeuclidean")
    if metric not in {"euclidean", "sqeuclidean"}:
        raise Unsupported(f"its metric is '{metric}'")
    apart = writer.add("Sub", [writer.unsqueeze(node.input[0], 1), writer.unsqueeze(node.input[1], 0)])
    squares = writer.add("Mul", [apart, apart])
    plain = metric == "sqeuclidean"
    total = writer.reduce("ReduceSum", squares, 2, node.output[0] if plain else "", keepdims=False)
    if not plain:
        writer.add("Sqrt", [total], node.output[0])


def expand(writer: Writer, node: onnx.NodeProto) -> None:
    """ExpandDims: one more axis, at a place that is known."""
    axis = writer.value(node.input[1])
    if axis is None:
        raise Unsupported("its axis is computed")
    writer.add("Unsqueeze", [node.input[0], writer.integers(int(axis.reshape(())))], node.output[0])


def pad(writer: Writer, node: onnx.NodeProto) -> None:
    """Pad: the amounts may stand in a row of a matrix."""
    amounts = writer.add("Reshape", [node.input[1], writer.integers(-1)])
    given = [node.input[0], amounts, *node.input[2:]]
    writer.add("Pad", given, node.output[0], **copy_attributes(node, drop=()))


def range_(writer: Writer, node: onnx.NodeProto) -> None:
    """Range: the step is one where it is left out; the numbers may stand in a list of one."""
    import numpy as np

    kind = writer.dtype(node.input[0])
    shapeless = writer.constant(np.array([], dtype=np.int64))
    given = [writer.add("Reshape", [name, shapeless]) for name in node.input if name]
    step = [] if len(given) > 2 else [writer.constant(np.array(1, dtype=kind))]  # noqa: PLR2004 - first, end, step
    writer.add("Range", [*given, *step], node.output[0])


def unique(writer: Writer, node: onnx.NodeProto) -> None:
    """Unique: in the order in which values come first."""
    found = writer.add_many("Unique", [node.input[0]], 4, sorted=0)
    for name, place in zip(node.output, (0, 2, 3), strict=False):
        if name:
            writer.add("Identity", [found[place]], name)
