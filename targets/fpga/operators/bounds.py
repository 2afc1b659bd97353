"""Activations that bound a tensor: they cost no layer where a layer is before them."""

from __future__ import annotations

from dataclasses import replace
from math import prod
from typing import TYPE_CHECKING

import numpy as np

from targets.fpga._layers import RealReorder
from targets.fpga._registry import operator

if TYPE_CHECKING:
    from targets._source.model import Node
    from targets.fpga._reading import Reading, Stream, Value


@operator("Relu")
def _relu(g: Reading, node: Node, x: Value) -> Stream:
    return bounded(g, node, x, 0.0, None)


@operator("Clip", since=11)
def _clip(g: Reading, node: Node, x: Value, low: Value | None = None, high: Value | None = None) -> Stream:
    first, last = (None if value is None else float(g.reals(value, "bound").reshape(())) for value in (low, high))
    return bounded(g, node, x, first, last)


@operator("Clip", since=6, until=10)
def _clip_by_attributes(g: Reading, node: Node, x: Value) -> Stream:
    low, high = (node.attributes.get(name) for name in ("min", "max"))
    return bounded(g, node, x, None if low is None else float(low), None if high is None else float(high))


@operator("Max", since=8)
def _maximum(g: Reading, node: Node, x: Value, low: Value) -> Stream:
    return bounded(g, node, x, float(g.reals(low, "second input").reshape(())), None)


@operator("Min", since=8)
def _minimum(g: Reading, node: Node, x: Value, high: Value) -> Stream:
    return bounded(g, node, x, None, float(g.reals(high, "second input").reshape(())))


def bounded(g: Reading, node: Node, x: Value, low: float | None, high: float | None) -> Stream:
    """The tensor kept within bounds, by the layer that made it where no one else reads that."""
    stream = g.stream(x)
    maker = g.maker(stream)
    if maker is not None:
        lows = [bound for bound in (maker.low, low) if bound is not None]
        highs = [bound for bound in (maker.high, high) if bound is not None]
        changed = replace(maker, low=max(lows, default=None), high=min(highs, default=None))
        return replace(stream, name=g.add(changed).name)
    return g.add(
        RealReorder(
            sources=(stream.name,),
            output=node.outputs[0],
            shape=stream.shape,
            node=node.label,
            indices=np.arange(prod(stream.shape)),
            low=low,
            high=high,
        )
    )
