"""Transposed convolutions, channels-last, over one, two or three axes."""

from __future__ import annotations

from math import prod
from typing import TYPE_CHECKING, NamedTuple

import numpy as np
from ai_edge_litert import schema_py_generated as schema

from targets._source.refusal import UnsupportedError
from targets.edge_arm import _layout
from targets.edge_arm._registry import operator
from targets.edge_arm.operators.convolution import as_line, as_plane
from targets.edge_arm.operators.slicing import joined, padded, span, strided

if TYPE_CHECKING:
    from targets._source.model import Node
    from targets.edge_arm._emission import Emission, Value

_LINE, _SPACE = 3, 5


class _Steps(NamedTuple):
    """The attributes of the node, one number an axis."""

    strides: tuple[int, ...]
    dilations: tuple[int, ...]
    extra: tuple[int, ...]
    """Places that the output grows by at its end."""


@operator("ConvTranspose")
def conv_transpose(g: Emission, node: Node, x: Value, weights: Value, bias: Value | None = None) -> Value:
    """The transposed convolution: computed whole, then cut to the declared padding or grown by the output padding."""
    if x.stored != np.float32 or not _LINE <= x.rank <= _SPACE:
        raise UnsupportedError(f"a transposed convolution of {x.dtype.name} at rank {x.rank} has no kernel")
    rank = x.rank - 2
    ones = (1,) * rank
    steps = _Steps(
        node.integers("strides") or ones,
        node.integers("dilations") or ones,
        node.integers("output_padding") or (0,) * rank,
    )
    weights = _with_holes(g, weights, steps.dilations)
    whole = [
        (size - 1) * step + tap for size, step, tap in zip(x.shape[2:], steps.strides, weights.shape[2:], strict=True)
    ]
    before, sizes = _cut(node, x, whole, steps)
    groups = node.integer("group", 1)
    parts = []
    for group in range(groups):
        inputs, rows = x.shape[1] // groups, weights.shape[0] // groups
        part = span(g, x, 1, group * inputs, (group + 1) * inputs) if groups > 1 else x
        own = span(g, weights, 0, group * rows, (group + 1) * rows) if groups > 1 else weights
        parts.append(_whole(g, part, own, whole, steps.strides))
    result = joined(g, parts, 1)
    grown = [max(start + size - full, 0) for start, size, full in zip(before, sizes, whole, strict=True)]
    result = padded(g, result, (0,) * x.rank, (0, 0, *grown))
    cuts = (range(start, start + size) for start, size in zip(before, sizes, strict=True))
    result = strided(g, result, [range(result.shape[0]), range(result.shape[1]), *cuts])
    return result if bias is None else g.add(result, g.reshape(bias, (bias.shape[0], *ones)))


def _whole(g: Emission, x: Value, weights: Value, sizes: list[int], strides: tuple[int, ...]) -> Value:
    """The transposed convolution without any padding, in one group."""
    g.macs += prod(x.shape) * prod(weights.shape[1:])
    if x.rank == _SPACE:
        return _space(g, x, weights, sizes, strides)
    line = x.rank == _LINE
    if line:
        x, weights = as_plane(g, x), g.reshape(weights, (*weights.shape[:2], 1, weights.shape[2]))
        sizes, strides = [1, *sizes], (1, *strides)
    last = _layout.channels_last(x.rank)
    shape = (x.shape[0], *sizes, weights.shape[1])
    options = schema.TransposeConvOptionsT(padding=schema.Padding.VALID, strideH=strides[0], strideW=strides[1])
    inputs = [g.graph.integers(shape), g.tensor(weights, (1, 2, 3, 0)), g.tensor(x, last)]
    plane = g.made(g.graph.add("TRANSPOSE_CONV", inputs, shape, np.float32, options), x.dtype, last)
    return as_line(g, plane) if line else plane


def _space(g: Emission, x: Value, weights: Value, sizes: list[int], strides: tuple[int, ...]) -> Value:
    last = _layout.channels_last(_SPACE)
    shape = (x.shape[0], *sizes, weights.shape[1])
    options = schema.Conv3DOptionsT(
        padding=schema.Padding.VALID,
        strideD=strides[0],
        strideH=strides[1],
        strideW=strides[2],
        dilationDFactor=1,
        dilationHFactor=1,
        dilationWFactor=1,
    )
    inputs = [g.graph.integers(shape), g.tensor(weights, (2, 3, 4, 1, 0)), g.tensor(x, last)]
    return g.made(g.graph.add("CONV_3D_TRANSPOSE", inputs, shape, np.float32, options), x.dtype, last)


def _cut(node: Node, x: Value, whole: list[int], steps: _Steps) -> tuple[list[int], list[int]]:
    """Where the declared output starts in the whole one, and its sizes, as ONNX's ConvTranspose defines them."""
    mode = node.text("auto_pad", "NOTSET")
    rank = len(whole)
    wanted = list(node.integers("output_shape"))[-rank:]
    if not wanted and mode.startswith("SAME"):
        wanted = [size * step for size, step in zip(x.shape[2:], steps.strides, strict=True)]
    if wanted:
        total = [max(full + more - want, 0) for full, more, want in zip(whole, steps.extra, wanted, strict=True)]
        return [pad // 2 if mode == "SAME_UPPER" else pad - pad // 2 for pad in total], wanted
    pads = node.integers("pads") or (0,) * (2 * rank)
    if mode == "VALID":
        pads = (0,) * (2 * rank)
    before, after = pads[:rank], pads[rank:]
    sizes = [full + more - low - high for full, more, low, high in zip(whole, steps.extra, before, after, strict=True)]
    return list(before), sizes


def _with_holes(g: Emission, weights: Value, dilations: tuple[int, ...]) -> Value:
    """The weights with zeros between their taps."""
    for place, step in enumerate(dilations):
        axis = place + 2
        size = weights.shape[axis]
        if step == 1 or size == 1:
            continue
        shape = list(weights.shape)
        flat = g.reshape(weights, (prod(shape[:axis]), size, 1, prod(shape[axis + 1 :])))
        spread = padded(g, flat, (0, 0, 0, 0), (0, 0, step - 1, 0))
        shape[axis] = size * step
        weights = span(g, g.reshape(spread, shape), axis, 0, (size - 1) * step + 1)
    return weights
