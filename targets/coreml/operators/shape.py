"""Shapes, copies and element types: nothing here computes."""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np
import onnx

from targets.coreml import _arithmetic as a
from targets.coreml._emission import RANK_LIMIT, Value
from targets.coreml._registry import UnsupportedError, operator
from targets.coreml.operators.arithmetic import wrapped

if TYPE_CHECKING:
    from targets._source.model import Node
    from targets.coreml._emission import Emission

_WIDE = {"float32", "float64", "int64", "int32", "uint32", "uint64"}


@operator("OptionalGetElement", since=15)
@operator("Identity")
def identity(g: Emission, node: Node, x: Value) -> Value:
    """X."""
    del g, node
    return x


@operator("Dropout", since=7, until=11)
def dropout_in_use(g: Emission, node: Node, x: Value) -> tuple[Value, ...]:
    """x, and a mask of ones."""
    return _kept(g, node, x)


@operator("Dropout", since=12)
def dropout(
    g: Emission, node: Node, x: Value, ratio: Value | None = None, training: Value | None = None
) -> tuple[Value, ...]:
    """x, and a mask of ones: nothing is dropped when a model is used."""
    if training is not None and bool(training.number("training_mode")) and (ratio is None or ratio.number("ratio")):
        raise UnsupportedError("it drops at random: training_mode is set", "export the model in its inference mode")
    return _kept(g, node, x)


def _kept(g: Emission, node: Node, x: Value) -> tuple[Value, ...]:
    return (x, g.constant(np.ones(x.shape, bool))) if len(node.outputs) > 1 else (x,)


@operator("Reshape", since=5)
def reshape(g: Emission, node: Node, x: Value, shape: Value) -> Value:
    """X in another shape; 0 keeps a size (unless `allowzero`), -1 is what is left."""
    if shape.constant is None:
        return _to_computed_shape(g, x, shape)
    wanted = list(shape.integers("shape"))
    if not node.integer("allowzero", 0):
        for axis, size in enumerate(wanted):
            if size == 0:
                known = x.sizes[axis]
                if known is None and -1 in wanted:
                    return g.op("reshape", x=x, shape=_mixed(g, x, wanted))
                wanted[axis] = -1 if known is None else known
    if -1 in wanted and None not in x.sizes:
        rest = int(np.prod([size for size in wanted if size != -1]))
        wanted[wanted.index(-1)] = x.size // rest if rest else 0
    return g.reshape(x, wanted)


def _mixed(g: Emission, x: Value, wanted: list[int]) -> Value:
    """A shape that keeps free sizes, read from x as the model runs."""
    sizes = g.op("shape", np.int32, x=x)
    parts = []
    for axis, size in enumerate(wanted):
        if size == 0:
            parts.append(g.op("slice_by_index", np.int32, x=sizes, begin=[axis], end=[axis + 1]))
        else:
            parts.append(g.constant(np.array([size], np.int32)))
    return g.concat(parts, 0)


def _to_computed_shape(g: Emission, x: Value, shape: Value) -> Value:
    # No tensor of Core ML is empty, so that no size comes out as the 0 that `allowzero` is about.
    if None not in x.sizes:
        raise UnsupportedError("its shape is computed by the model: expected a constant")
    return g.op("reshape", x=x, shape=g.cast(shape, np.int32))


@operator("Flatten")
def flatten(g: Emission, node: Node, x: Value) -> Value:
    """X as a matrix, cut before one axis."""
    axis = x.axis(node.integer("axis", 1))
    sizes = [x.sizes[:axis], x.sizes[axis:]]
    shape = [-1 if None in part else int(np.prod(part)) for part in sizes]  # type: ignore[arg-type]  # none is None
    return g.reshape(x, shape)


@operator("Squeeze")
def squeeze(g: Emission, node: Node, x: Value, axes: Value | None = None) -> Value:
    """X without axes of size 1: those named, or all."""
    named = axes.integers("axes") if axes else node.integers("axes")
    gone = sorted({x.axis(axis) for axis in named} or {axis for axis, size in enumerate(x.shape) if size == 1})
    if not gone:
        return x
    if x.constant is not None:
        return g.constant(x.constant.squeeze(tuple(gone)))
    if x.folded is not None:
        return g.reshape(x, [size for axis, size in enumerate(x.folded) if axis not in gone])
    return g.op("squeeze", x=x, axes=gone)


@operator("Unsqueeze")
def unsqueeze(g: Emission, node: Node, x: Value, axes: Value | None = None) -> Value:
    """X with axes of size 1 put in."""
    wanted = axes.integers("axes") if axes else node.integers("axes")
    rank = x.rank + len(wanted)
    new = sorted(axis + rank if axis < 0 else axis for axis in wanted)
    if x.constant is not None:
        return g.constant(np.expand_dims(x.constant, tuple(new)))
    if rank > RANK_LIMIT:
        sizes = iter(x.shape)
        return g.reshape(x, [1 if axis in new else next(sizes) for axis in range(rank)])
    return g.op("expand_dims", x=x, axes=new)


@operator("Transpose")
def transpose(g: Emission, node: Node, x: Value) -> Value:
    """X with its axes in another order; by default reversed."""
    return g.transpose(x, node.integers("perm") or tuple(range(x.rank))[::-1])


@operator("Cast", since=6)
def cast(g: Emission, node: Node, x: Value) -> Value:
    """X in another element type."""
    return converted(g, x, np.dtype(onnx.helper.tensor_dtype_to_np_dtype(node.integer("to", 0))))


@operator("CastLike", since=15)
def cast_like(g: Emission, node: Node, x: Value, like: Value) -> Value:
    """X in the element type of another value."""
    del node
    return converted(g, x, like.dtype)


def converted(g: Emission, x: Value, dtype: np.dtype[np.generic]) -> Value:
    """X in another element type, wrapped round where an integer does not fit."""
    if dtype == x.dtype:
        return x
    if x.dtype.kind == "f" and dtype == np.bool_:
        return a.unequal(g, x, 0)
    if dtype.kind in "iu" and dtype.name not in _WIDE:
        return wrapped(g, Value(dtype, g.cast(x, np.int32).var))
    return g.cast(x, dtype)


@operator("Expand", since=8)
def expand(g: Emission, node: Node, x: Value, shape: Value) -> Value:
    """X broadcast against a shape."""
    del node
    if shape.constant is None:
        if x.dtype == np.bool_:
            numbers = g.cast(x, np.int32)
            return g.cast(a.add(g, numbers, _filled(g, shape, g.scalar(0, numbers))), np.bool_)
        return a.add(g, x, _filled(g, shape, g.scalar(0, x)))
    return a.repeated(g, x, np.broadcast_shapes(x.shape, shape.integers("shape")))


@operator("ConstantOfShape", since=9)
def constant_of_shape(g: Emission, node: Node, shape: Value) -> Value:
    """A tensor of a computed shape that holds one number."""
    value = node.attributes.get("value")
    number = np.zeros(1, np.float32) if value is None else onnx.numpy_helper.to_array(value)
    return _filled(g, shape, g.constant(number.reshape(())))


def _filled(g: Emission, shape: Value, number: Value) -> Value:
    """A tensor of a computed shape that holds one number; MIL has it for floats and int32."""
    if number.dtype == np.bool_:
        return g.cast(_filled(g, shape, g.cast(number, np.int32)), np.bool_)
    return g.op("fill", number.dtype, shape=g.cast(shape, np.int32), value=number)


@operator("Tile", since=6)
def tile(g: Emission, node: Node, x: Value, repeats: Value) -> Value:
    """X repeated along each axis."""
    del node
    times = repeats.integers("repeats")
    if 0 in times:
        return g.constant(np.zeros([size * count for size, count in zip(x.shape, times, strict=True)], x.dtype))
    return g.op("tile", x=x, reps=list(times)) if any(count > 1 for count in times) else x


@operator("Trilu", since=14)
def trilu(g: Emission, node: Node, x: Value, k: Value | None = None) -> Value:
    """X on one side of a diagonal, and 0 on the other."""
    offset = int(k.integers("k")[0]) if k is not None else 0
    upper = bool(node.integer("upper", 1))
    if x.dtype == np.bool_:
        return g.cast(_beside(g, g.cast(x, np.int32), offset, upper=upper), np.bool_)
    return _beside(g, x, offset, upper=upper)


def _beside(g: Emission, x: Value, offset: int, *, upper: bool) -> Value:
    """MIL's band goes from one diagonal at or below the main one to one at or above it; others are what it leaves."""
    if upper and offset <= 0:
        return g.op("band_part", x=x, lower=-offset, upper=-1)
    if not upper and offset >= 0:
        return g.op("band_part", x=x, lower=-1, upper=offset)
    lower, higher = (-1, offset - 1) if upper else (-offset - 1, -1)
    sizes = g.constant(np.array(x.shape, np.int32)) if None not in x.sizes else g.op("shape", np.int32, x=x)
    ones = _filled(g, sizes, g.constant(np.array(1, np.int32)))
    left = a.equal(g, g.op("band_part", x=ones, lower=lower, upper=higher), 0)
    return a.select(g, left, x, g.scalar(0, x))


@operator("DepthToSpace")
def depth_to_space(g: Emission, node: Node, x: Value) -> Value:
    """Channels moved into blocks of the plane; the block's axes are the outer (DCR) or the inner (CRD) channels."""
    block = node.integer("blocksize", 1)
    if node.text("mode", "DCR") == "DCR":
        return g.op("depth_to_space", x=x, block_size=block)
    return g.op("pixel_shuffle", x=x, upscale_factor=block)


@operator("SpaceToDepth")
def space_to_depth(g: Emission, node: Node, x: Value) -> Value:
    """Blocks of the plane moved into channels: the outer ones (DCR) or the inner ones (CRD)."""
    block = node.integer("blocksize", 1)
    if node.text("mode", "DCR") == "DCR":
        return g.op("space_to_depth", x=x, block_size=block)
    batch, channels, height, width = x.shape
    rows = g.reshape(x, (batch * channels, height // block, block, width // block * block))
    rows = g.reshape(
        g.transpose(rows, (0, 2, 1, 3)), (batch * channels * block, height // block, width // block, block)
    )
    moved = g.transpose(rows, (0, 3, 1, 2))
    return g.reshape(moved, (batch, channels * block**2, height // block, width // block))


@operator("Shape")
def shape_(g: Emission, node: Node, x: Value) -> Value:
    """The sizes of the axes from one to another."""
    start, end = node.integer("start", 0), node.integer("end", x.rank)
    wanted = x.sizes[start:end]
    if None not in wanted:
        return g.constant(np.array(wanted, np.int64))
    sizes = g.op("shape", np.int64, x=x)
    first, last, _ = slice(start, end).indices(x.rank)
    return g.op("slice_by_index", np.int64, x=sizes, begin=[first], end=[last])


@operator("Size")
def size(g: Emission, node: Node, x: Value) -> Value:
    """How many elements."""
    del node
    return g.constant(np.array(x.size, np.int64))


@operator("Range", since=11)
def range_(g: Emission, node: Node, start: Value, limit: Value, delta: Value) -> Value:
    """Numbers from one bound to another by steps."""
    del node
    kind = np.int32 if start.dtype.kind == "i" else np.float32
    begin, end, step = (g.cast(g.reshape(each, ()), kind) for each in (start, limit, delta))
    return g.op("range_1d", start.dtype, start=begin, end=end, step=step)
