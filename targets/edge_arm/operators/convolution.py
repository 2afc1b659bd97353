"""Convolutions, channels-last."""

from __future__ import annotations

from math import prod
from typing import TYPE_CHECKING

import numpy as np
from ai_edge_litert import schema_py_generated as schema

from targets._source.refusal import UnsupportedError
from targets._source.window import Window, window
from targets.edge_arm import _layout
from targets.edge_arm._padding import is_same, is_valid
from targets.edge_arm._registry import operator
from targets.edge_arm.operators.slicing import joined, padded, span

if TYPE_CHECKING:
    from targets._source.model import Node
    from targets.edge_arm._emission import Emission, Value

_LINE, _PLANE, _SPACE = 3, 4, 5
"""Ranks of what is convolved: batch, channels, and one, two or three spatial axes."""


@operator("Conv")
def conv(g: Emission, node: Node, x: Value, weights: Value, bias: Value | None = None) -> Value:
    """The convolution, with any groups, strides, dilations and paddings, over one, two or three spatial axes."""
    if x.stored != np.float32:
        raise UnsupportedError(f"a convolution of {x.dtype.name} has no kernel")
    outputs = _output_sizes(node, x, weights)
    view = window(node, x.shape[2:], weights.shape[2:], outputs)
    groups = node.integer("group", 1)
    g.macs += x.shape[0] * prod(outputs) * prod(weights.shape)
    bias = bias or g.constant(np.zeros(weights.shape[0], np.float32))
    if x.rank == _LINE:
        view = Window(*(((0 if position in {4, 5} else 1), *sizes) for position, sizes in enumerate(view)))
        flat = g.reshape(weights, (*weights.shape[:2], 1, weights.shape[2]))
        plane = _plane(g, as_plane(g, x), flat, bias, view, groups)
        return as_line(g, plane)
    if x.rank == _PLANE:
        return _plane(g, x, weights, bias, view, groups)
    if x.rank == _SPACE:
        return joined(g, [_space(g, *part, view) for part in _grouped(g, x, weights, bias, groups)], 1)
    raise UnsupportedError(f"a convolution of rank {x.rank} has no kernel")


def _grouped(g: Emission, x: Value, weights: Value, bias: Value, groups: int) -> list[tuple[Value, Value, Value]]:
    """What each group convolves, and with what."""
    if groups == 1:
        return [(x, weights, bias)]
    inputs, outputs = x.shape[1] // groups, weights.shape[0] // groups
    return [
        (
            span(g, x, 1, group * inputs, (group + 1) * inputs),
            span(g, weights, 0, group * outputs, (group + 1) * outputs),
            span(g, bias, 0, group * outputs, (group + 1) * outputs),
        )
        for group in range(groups)
    ]


def _output_sizes(node: Node, x: Value, weights: Value) -> tuple[int, ...]:
    rank = x.rank - 2
    strides = node.integers("strides") or (1,) * rank
    dilations = node.integers("dilations") or (1,) * rank
    pads = node.integers("pads") or (0,) * (2 * rank)
    if node.text("auto_pad", "NOTSET").startswith("SAME"):
        return tuple(-(-size // stride) for size, stride in zip(x.shape[2:], strides, strict=True))
    if node.text("auto_pad", "NOTSET") == "VALID":
        pads = (0,) * (2 * rank)
    return tuple(
        (size + pads[axis] + pads[axis + rank] - (kernel - 1) * dilations[axis] - 1) // strides[axis] + 1
        for axis, (size, kernel) in enumerate(zip(x.shape[2:], weights.shape[2:], strict=True))
    )


def convolved_line(g: Emission, x: Value, weights: Value, stride: int) -> Value:
    """[batch, channels, places] under weights [outputs, channels, taps], without padding."""
    count = (x.shape[2] - weights.shape[2]) // stride + 1
    view = Window((1, x.shape[2]), (1, weights.shape[2]), (1, stride), (1, 1), (0, 0), (0, 0), (1, count))
    g.macs += x.shape[0] * count * prod(weights.shape)
    flat = g.reshape(weights, (*weights.shape[:2], 1, weights.shape[2]))
    bias = g.constant(np.zeros(weights.shape[0], np.float32))
    return as_line(g, _plane(g, as_plane(g, x), flat, bias, view, 1))


def as_plane(g: Emission, x: Value) -> Value:
    """[N, C, W] as [N, C, 1, W], channels-last in memory."""
    tensor = g.tensor(x, _layout.channels_last(_LINE))
    batch, width, channels = tensor.shape
    return g.made(g.graph.reshape(tensor, (batch, 1, width, channels)), x.dtype, _layout.channels_last(_PLANE))


def as_line(g: Emission, x: Value) -> Value:
    """[N, C, 1, W] as [N, C, W]."""
    return g.reshape(x, (x.shape[0], x.shape[1], x.shape[3]))


def bordered(g: Emission, x: Value, view: Window, fill: Value | None = None) -> tuple[Value, str]:
    """What is convolved, in a border if TFLite's paddings don't do it, and the padding that is left to TFLite."""
    if is_valid(view):
        return x, "VALID"
    if is_same(view):
        return x, "SAME"
    after = [max(reach, 0) for reach in view.reach]
    last = _layout.channels_last(x.rank)
    x = g.made(g.tensor(x, last), x.dtype, last)
    return padded(g, x, (0, 0, *view.before), (0, 0, *after), fill), "VALID"


def _plane(g: Emission, x: Value, weights: Value, bias: Value, view: Window, groups: int) -> Value:
    channels = x.shape[1]
    x, padding = bordered(g, x, view)
    last = _layout.channels_last(_PLANE)
    settings = {
        "padding": getattr(schema.Padding, padding),
        "strideH": view.strides[0],
        "strideW": view.strides[1],
        "dilationHFactor": view.dilations[0],
        "dilationWFactor": view.dilations[1],
    }
    shape = (x.shape[0], *view.outputs, weights.shape[0])
    tensor = g.tensor(x, last)
    if groups == channels and groups > 1:
        depthwise = schema.DepthwiseConv2DOptionsT(depthMultiplier=weights.shape[0] // groups, **settings)
        inputs = [tensor, g.tensor(weights, (1, 2, 3, 0)), g.tensor(bias)]
        version = 2 if max(view.dilations) > 1 else 1
        result = g.graph.add("DEPTHWISE_CONV_2D", inputs, shape, tensor.dtype, depthwise, version)
        return g.made(result, x.dtype, last)
    inputs = [tensor, g.tensor(weights, (0, 2, 3, 1)), g.tensor(bias)]
    result = g.graph.add("CONV_2D", inputs, shape, tensor.dtype, schema.Conv2DOptionsT(**settings))
    return g.made(result, x.dtype, last)


def _space(g: Emission, x: Value, weights: Value, bias: Value, view: Window) -> Value:
    x, padding = bordered(g, x, view)
    last = _layout.channels_last(_SPACE)
    options = schema.Conv3DOptionsT(
        padding=getattr(schema.Padding, padding),
        strideD=view.strides[0],
        strideH=view.strides[1],
        strideW=view.strides[2],
        dilationDFactor=view.dilations[0],
        dilationHFactor=view.dilations[1],
        dilationWFactor=view.dilations[2],
    )
    shape = (x.shape[0], *view.outputs, weights.shape[0])
    inputs = [g.tensor(x, last), g.tensor(weights, (2, 3, 4, 1, 0)), g.tensor(bias)]
    return g.made(g.graph.add("CONV_3D", inputs, shape, np.float32, options), x.dtype, last)
