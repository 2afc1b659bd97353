"""Windows without weights: MaxPool, AveragePool, and the means and maxima over all of a picture."""

from __future__ import annotations

from math import prod
from typing import TYPE_CHECKING, Literal

import numpy as np

from targets._source.refusal import UnsupportedError
from targets._source.window import coverage, window
from targets.fpga._layers import RealPool, RealReorder
from targets.fpga._reading import from_end
from targets.fpga._registry import operator

if TYPE_CHECKING:
    from targets._source.model import Node
    from targets.fpga._reading import Reading, Stream, Value

    Kind = Literal["max", "average"]

_MOST_AXES = 2


@operator("MaxPool")
def _max_pool(g: Reading, node: Node, x: Value) -> Stream:
    if len(node.outputs) > 1 and node.outputs[1]:
        raise UnsupportedError("it gives the places of the largest values too")
    if any(step != 1 for step in node.integers("dilations")):
        raise UnsupportedError("its window has holes")
    return _pool(g, node, x, "max")


@operator("AveragePool")
def _average_pool(g: Reading, node: Node, x: Value) -> Stream:
    if any(step != 1 for step in node.integers("dilations")):
        raise UnsupportedError("its window has holes")
    return _pool(g, node, x, "average")


@operator("GlobalAveragePool")
def _global_average_pool(g: Reading, node: Node, x: Value) -> Stream:
    return _whole(g, node, x, "average")


@operator("GlobalMaxPool")
def _global_max_pool(g: Reading, node: Node, x: Value) -> Stream:
    return _whole(g, node, x, "max")


@operator("ReduceMean")
def _reduce_mean(g: Reading, node: Node, x: Value, axes: Value | None = None) -> Stream:
    return _reduced(g, node, x, axes, "average")


@operator("ReduceMax")
def _reduce_max(g: Reading, node: Node, x: Value, axes: Value | None = None) -> Stream:
    return _reduced(g, node, x, axes, "max")


def _pool(g: Reading, node: Node, x: Value, kind: Kind) -> Stream:
    shape = g.shape_of(node)
    stream = g.stream(x)
    if not 1 <= len(stream.shape) - 1 <= _MOST_AXES:
        raise UnsupportedError(f"it slides over {len(stream.shape) - 1} axes: expected one or two")
    view = window(node, stream.shape[1:], node.integers("kernel_shape"), shape[1:])
    if kind == "average":
        counts = coverage(view, padding=bool(node.integer("count_include_pad", 0)))
        if not np.all(counts == prod(view.kernel)):
            raise UnsupportedError(
                "windows at the border divide by fewer elements", hint="set count_include_pad, or leave out the padding"
            )
    pads = (*view.before, *(max(pad, 0) for pad in view.reach))
    return _layer(g, node, stream, shape, (kind, view.kernel, view.strides, pads))


def _whole(g: Reading, node: Node, x: Value, kind: Kind) -> Stream:
    stream = g.stream(x)
    kernel = stream.shape[1:]
    if not 1 <= len(kernel) <= _MOST_AXES:
        raise UnsupportedError(f"it looks at {len(kernel)} axes: expected one or two")
    return _layer(g, node, stream, g.shape_of(node), (kind, kernel, kernel, (0,) * (2 * len(kernel))))


def _reduced(g: Reading, node: Node, x: Value, axes: Value | None, kind: Kind) -> Stream:
    stream = g.stream(x)
    rank = len(stream.shape) + 1
    given = node.integers("axes") if axes is None else g.constant(axes, "axes").astype(int).reshape(-1).tolist()
    found = sorted(from_end(axis, rank) for axis in given)
    if found != list(range(2 - rank, 0)) or not 1 <= len(found) <= _MOST_AXES:
        raise UnsupportedError(
            f"it reduces the axes {list(given)}: expected those of a picture, {list(range(2, rank))}"
        )
    kernel = stream.shape[1:]
    settings = (kind, kernel, kernel, (0,) * (2 * len(kernel)))
    if node.integer("keepdims", 1):
        return _layer(g, node, stream, g.shape_of(node), settings)
    channels = stream.shape[0]
    pooled = RealPool(
        sources=(stream.name,),
        output=f"{node.outputs[0]}/pooled",
        shape=(channels, *[1] * len(kernel)),
        node=node.label,
        kind=kind,
        kernel=kernel,
        strides=kernel,
        pads=settings[3],
    )
    return g.add(
        RealReorder(
            sources=(g.add(pooled).name,),
            output=node.outputs[0],
            shape=(channels,),
            node=node.label,
            indices=np.arange(channels),
        )
    )


def _layer(
    g: Reading,
    node: Node,
    stream: Stream,
    shape: tuple[int, ...],
    settings: tuple[Kind, tuple[int, ...], tuple[int, ...], tuple[int, ...]],
) -> Stream:
    kind, kernel, strides, pads = settings
    return g.add(
        RealPool(
            sources=(stream.name,),
            output=node.outputs[0],
            shape=shape,
            node=node.label,
            kind=kind,
            kernel=kernel,
            strides=strides,
            pads=pads,
        )
    )
