"""Shapes, copies and element types: nothing here computes."""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np
import onnx
from ai_edge_litert import schema_py_generated as schema

from targets._source.refusal import UnsupportedError
from targets.edge_arm import _layout
from targets.edge_arm._registry import operator

if TYPE_CHECKING:
    from targets._source.model import Node
    from targets.edge_arm._emission import Emission, Value


@operator("BitCast", since=26)
def bit_cast(g: Emission, node: Node, x: Value) -> Value:
    """The same bits as another element type of the same size."""
    dtype = np.dtype(onnx.helper.tensor_dtype_to_np_dtype(node.integer("to", 0)))
    if {x.dtype.name, dtype.name} - {"float32", "int32", "uint32"}:
        raise UnsupportedError(f"the bits of {x.dtype.name} as {dtype.name}: expected types of 32 bits")
    order = x.order
    tensor = g.tensor(x, order)
    return g.made(g.graph.add("BITCAST", [tensor], tensor.shape, dtype, schema.BitcastOptionsT()), dtype, order)


@operator("OptionalGetElement", since=15)
@operator("Identity")
def identity(g: Emission, node: Node, x: Value) -> Value:
    """X."""
    del g, node
    return x


@operator("Dropout", since=7, until=11)
def dropout_in_use(g: Emission, node: Node, x: Value) -> tuple[Value, ...]:
    """x, and a mask of ones."""
    del node
    return x, g.constant(np.ones(x.shape, bool))


@operator("Dropout", since=12)
def dropout(
    g: Emission, node: Node, x: Value, ratio: Value | None = None, training: Value | None = None
) -> tuple[Value, ...]:
    """x, and a mask of ones: nothing is dropped when a model is used."""
    del node
    if training is not None and bool(training.number("training_mode")) and (ratio is None or ratio.number("ratio")):
        raise UnsupportedError("it drops at random: training_mode is set", "export the model in its inference mode")
    return x, g.constant(np.ones(x.shape, bool))


@operator("Reshape", since=5)
def reshape(g: Emission, node: Node, x: Value, shape: Value) -> Value:
    """X in another shape; 0 keeps a size (unless `allowzero`), -1 is what is left."""
    wanted = list(shape.integers("shape"))
    if not node.integer("allowzero", 0):
        wanted = [x.shape[axis] if size == 0 else size for axis, size in enumerate(wanted)]
    if -1 in wanted:
        rest = int(np.prod([size for size in wanted if size != -1]))
        wanted[wanted.index(-1)] = int(np.prod(x.shape)) // rest
    return g.reshape(x, wanted)


@operator("Flatten")
def flatten(g: Emission, node: Node, x: Value) -> Value:
    """X as a matrix, cut before one axis."""
    axis = node.integer("axis", 1)
    axis = axis + x.rank if axis < 0 else axis
    return g.reshape(x, (int(np.prod(x.shape[:axis])), int(np.prod(x.shape[axis:]))))


@operator("Squeeze")
def squeeze(g: Emission, node: Node, x: Value, axes: Value | None = None) -> Value:
    """X without axes of size 1: those named, or all."""
    named = axes.integers("axes") if axes else node.integers("axes")
    gone = {x.axis(axis) for axis in named} or {axis for axis, size in enumerate(x.shape) if size == 1}
    return g.reshape(x, [size for axis, size in enumerate(x.shape) if axis not in gone])


@operator("Unsqueeze")
def unsqueeze(g: Emission, node: Node, x: Value, axes: Value | None = None) -> Value:
    """X with axes of size 1 put in."""
    wanted = axes.integers("axes") if axes else node.integers("axes")
    rank = x.rank + len(wanted)
    new = {axis + rank if axis < 0 else axis for axis in wanted}
    sizes = iter(x.shape)
    return g.reshape(x, [1 if axis in new else next(sizes) for axis in range(rank)])


@operator("Transpose")
def transpose(g: Emission, node: Node, x: Value) -> Value:
    """X with its axes in another order; by default reversed."""
    return g.transpose(x, node.integers("perm") or tuple(range(x.rank))[::-1])


@operator("Cast", since=6)
def cast(g: Emission, node: Node, x: Value) -> Value:
    """X in another element type."""
    return _cast(g, x, np.dtype(onnx.helper.tensor_dtype_to_np_dtype(node.integer("to", 0))))


@operator("CastLike", since=15)
def cast_like(g: Emission, node: Node, x: Value, like: Value) -> Value:
    """X in the element type of another value."""
    del node
    return _cast(g, x, like.dtype)


def _cast(g: Emission, x: Value, dtype: np.dtype[np.generic]) -> Value:
    served = {"float16", "float32", "float64", "int8", "int16", "int32", "int64", "uint8", "bool"}
    for kind in (x.dtype, dtype):
        if kind.name not in served:
            raise UnsupportedError(f"a cast between {x.dtype.name} and {dtype.name} has no kernel")
    if x.dtype.kind == "f" and dtype == np.bool_:
        return g.elementwise("NOT_EQUAL", x, g.scalar(0, x), dtype=bool, options=schema.NotEqualOptionsT())
    return g.cast(x, dtype)


@operator("Expand", since=8)
def expand(g: Emission, node: Node, x: Value, shape: Value) -> Value:
    """X broadcast against a shape."""
    del node
    return _expanded(g, x, np.broadcast_shapes(x.shape, shape.integers("shape")))


def _expanded(g: Emission, x: Value, shape: tuple[int, ...]) -> Value:
    if x.shape == shape:
        return x
    if len(shape) > x.rank:
        x = g.reshape(x, (1,) * (len(shape) - x.rank) + x.shape)
    order = x.order
    return g.made(g.broadcast(g.tensor(x, order), _layout.permuted(shape, order)), x.dtype, order)


@operator("Tile", since=6)
def tile(g: Emission, node: Node, x: Value, repeats: Value) -> Value:
    """X repeated along each axis."""
    del node
    times = repeats.integers("repeats")
    order = x.order
    tensor = g.tensor(x, order)
    shape = [size * count for size, count in zip(tensor.shape, _layout.permuted(times, order), strict=True)]
    counts = g.graph.integers(_layout.permuted(times, order))
    return g.made(g.graph.add("TILE", [tensor, counts], shape, tensor.dtype, schema.TileOptionsT()), x.dtype, order)


@operator("DepthToSpace")
def depth_to_space(g: Emission, node: Node, x: Value) -> Value:
    """Channels moved into blocks of the plane; the block's axes are the outer (DCR) or the inner (CRD) channels."""
    batch, channels, height, width = x.shape
    block = node.integer("blocksize", 1)
    left = channels // block**2
    if node.text("mode", "DCR") == "DCR":
        parts = g.reshape(x, (batch, block, block, left, height, width))
        moved = g.transpose(parts, (0, 3, 4, 1, 5, 2))
    else:
        parts = g.reshape(x, (batch, left, block, block, height, width))
        moved = g.transpose(parts, (0, 1, 4, 2, 5, 3))
    return g.reshape(moved, (batch, left, height * block, width * block))


@operator("SpaceToDepth")
def space_to_depth(g: Emission, node: Node, x: Value) -> Value:
    """Blocks of the plane moved into channels: the outer ones (DCR) or the inner ones (CRD)."""
    batch, channels, height, width = x.shape
    block = node.integer("blocksize", 1)
    parts = g.reshape(x, (batch, channels, height // block, block, width // block, block))
    outer = node.text("mode", "DCR") == "DCR"
    moved = g.transpose(parts, (0, 3, 5, 1, 2, 4) if outer else (0, 1, 3, 5, 2, 4))
    return g.reshape(moved, (batch, channels * block**2, height // block, width // block))


@operator("Shape")
def shape_(g: Emission, node: Node, x: Value) -> Value:
    """The sizes of the axes from one to another."""
    sizes = x.shape[node.integer("start", 0) : node.integer("end", x.rank)]
    return g.constant(np.array(sizes, np.int64))


@operator("Size")
def size(g: Emission, node: Node, x: Value) -> Value:
    """How many elements."""
    del node
    return g.constant(np.array(np.prod(x.shape), np.int64))


@operator("Range", since=11)
def range_(g: Emission, node: Node, start: Value, limit: Value, delta: Value) -> Value:
    """Numbers at even distances, as many as the model declares."""
    del limit
    (shape,) = node.shapes
    if shape is None:
        raise UnsupportedError("how long it is depends on what the model is given")
    steps = g.constant(np.arange(shape[0]).astype(start.dtype))
    return g.add(g.mul(steps, g.reshape(delta, ())), g.reshape(start, ()))
