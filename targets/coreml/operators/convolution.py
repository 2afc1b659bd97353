"""Convolutions and their transposes."""

from __future__ import annotations

from math import prod
from typing import TYPE_CHECKING, Any

import numpy as np

from targets._source.window import Window, window
from targets.coreml import _arithmetic as a
from targets.coreml._registry import UnsupportedError, operator

if TYPE_CHECKING:
    from collections.abc import Sequence

    from targets._source.model import Node
    from targets.coreml._emission import Emission, Value


def spatial(x: Value, node: Node) -> tuple[int, ...]:
    """The sizes that a window slides over; zeros where they are free and the node's paddings don't depend on them."""
    if node.text("auto_pad", "NOTSET") in {"NOTSET", "VALID"}:
        return tuple(size or 0 for size in x.sizes[2:])
    return x.shape[2:]


def paddings(view: Window, after: Sequence[int]) -> list[int]:
    """MIL's paddings: before and after each axis in turn."""
    return [pad for pair in zip(view.before, after, strict=True) for pad in pair]


@operator("Conv")
def conv(g: Emission, node: Node, x: Value, weights: Value, bias: Value | None = None) -> Value:
    """A convolution over one to three axes."""
    if x.rank not in {3, 4, 5}:
        raise UnsupportedError(f"a convolution of rank {x.rank} is not served: expected 3 to 5")
    view = window(node, spatial(x, node), weights.shape[2:], (1,) * (x.rank - 2))
    return convolved(g, x, weights, bias, view, node.integer("group", 1))


def convolved(g: Emission, x: Value, weights: Value, bias: Value | None, view: Window, groups: int) -> Value:
    """The convolution of x with weights [outputs, inputs / groups, ...] and a bias [outputs]."""
    given: dict[str, Any] = {
        "x": x,
        "weight": weights,
        "strides": list(view.strides),
        "pad_type": "custom",
        "pad": paddings(view, view.after),
        "dilations": list(view.dilations),
        "groups": groups,
    }
    if weights.constant is None and (groups > 1 or max(view.dilations) > 1 or len(view.kernel) > 2):  # noqa: PLR2004 - a plane
        return _of_live_weights(g, x, weights, bias, view, groups)
    if bias is not None and bias.constant is not None:
        return g.op("conv", **given, bias=bias)
    result = g.op("conv", **given)
    if bias is None:
        return result
    return a.add(g, result, g.reshape(bias, (bias.shape[0], *(1,) * (x.rank - 2))))


def _of_live_weights(g: Emission, x: Value, weights: Value, bias: Value | None, view: Window, groups: int) -> Value:
    """Each tap of the window as a product of matrices: MIL's operation takes computed weights in plain cases alone."""
    batch, channels, *_ = x.shape
    outputs = weights.shape[0]
    padded = bordered(g, x, view.before, view.after)
    spatial_sizes = padded.shape[2:]
    counts = tuple(
        (size - extent) // stride + 1
        for size, extent, stride in zip(spatial_sizes, view.extents, view.strides, strict=True)
    )
    total: Value | None = None
    flat = g.reshape(weights, (groups, outputs // groups, channels // groups, prod(view.kernel)))
    for place, tap in enumerate(np.ndindex(*view.kernel)):
        begin = [0, 0, *(each * step for each, step in zip(tap, view.dilations, strict=True))]
        steps = [1, 1, *view.strides]
        end = [batch, channels]
        end += [
            start + (count - 1) * stride + 1
            for start, count, stride in zip(begin[2:], counts, view.strides, strict=True)
        ]
        part = g.op("slice_by_index", x=padded, begin=begin, end=end, stride=steps)
        part = g.reshape(part, (batch, groups, channels // groups, prod(counts)))
        matrix = g.op(
            "slice_by_index",
            x=flat,
            begin=[0, 0, 0, place],
            end=[groups, outputs // groups, channels // groups, place + 1],
        )
        matrix = g.reshape(matrix, (1, groups, outputs // groups, channels // groups))
        product = a.matmul(g, matrix, part)
        total = product if total is None else a.add(g, total, product)
    if total is None:
        raise UnsupportedError("its kernel is empty")
    result = g.reshape(total, (batch, outputs, *counts))
    if bias is None:
        return result
    return a.add(g, result, g.reshape(bias, (outputs, *(1,) * len(counts))))


def bordered(g: Emission, x: Value, before: Sequence[int], after: Sequence[int], fill: float = 0.0) -> Value:
    """X with a border of one number around its spatial axes; a negative width cuts."""
    if not any(before) and not any(after):
        return x
    wide = [max(pad, 0) for pad in (*before, *after)]
    half = len(before)
    if any(wide):
        pads = [0, 0, 0, 0, *(pad for axis in range(half) for pad in (wide[axis], wide[axis + half]))]
        x = g.op("pad", x=x, pad=pads, mode="constant", constant_val=np.float32(fill))
    if min(*before, *after) < 0:
        begin = [0, 0, *(max(-pad, 0) for pad in before)]
        end = [*x.shape[:2], *(size + min(pad, 0) for size, pad in zip(x.shape[2:], after, strict=True))]
        x = g.op("slice_by_index", x=x, begin=begin, end=end)
    return x


@operator("ConvTranspose")
def conv_transpose(g: Emission, node: Node, x: Value, weights: Value, bias: Value | None = None) -> Value:
    """The transpose of a convolution: each input spreads the kernel over the output."""
    if x.rank not in {3, 4, 5}:
        raise UnsupportedError(f"a convolution of rank {x.rank} is not served: expected 3 to 5")
    groups = node.integer("group", 1)
    before, after, extra, view = _cut(node, x, weights)
    if weights.constant is None:
        return _transposed_live(g, x, weights, bias, (before, after, extra, view, groups))
    ends = [pad - more for more, pad in zip(extra, after, strict=True)]
    own = min(*before, *ends) >= 0
    # What MIL can't cut itself, because it is to grow at an end, is made whole first.
    result = g.op(
        "conv_transpose",
        x=x,
        weight=weights,
        strides=list(view.strides),
        pad_type="custom" if own else "valid",
        pad=[pad for pair in zip(before, ends, strict=True) for pad in pair] if own else [0] * (2 * len(before)),
        dilations=list(view.dilations),
        groups=groups,
    )
    if not own:
        result = bordered(g, result, [-pad for pad in before], [-pad for pad in ends])
    if bias is None:
        return result
    return a.add(g, result, g.reshape(bias, (bias.shape[0], *(1,) * (x.rank - 2))))


def _cut(node: Node, x: Value, weights: Value) -> tuple[tuple[int, ...], tuple[int, ...], tuple[int, ...], Window]:
    """What goes at the start and the end of each axis, what is added at the end, and the window."""
    rank = x.rank - 2
    view = window(node, spatial(x, node), weights.shape[2:], (1,) * rank)
    extra = node.integers("output_padding") or (0,) * rank
    shape = node.integers("output_shape")
    mode = node.text("auto_pad", "NOTSET")
    if shape or mode in {"SAME_UPPER", "SAME_LOWER"}:
        shape = shape[-rank:] or tuple(size * step for size, step in zip(x.shape[2:], view.strides, strict=True))
        total = [
            (size - 1) * stride + more + extent - want
            for size, stride, more, extent, want in zip(
                x.shape[2:], view.strides, extra, view.extents, shape, strict=True
            )
        ]
        # ONNX: SAME_UPPER puts the odd one at the end, everything else at the start.
        small = tuple(pad // 2 for pad in total)
        large = tuple(pad - pad // 2 for pad in total)
        return (small, large, extra, view) if mode == "SAME_UPPER" else (large, small, extra, view)
    return view.before, view.after, extra, view


def _transposed_live(
    g: Emission,
    x: Value,
    weights: Value,
    bias: Value | None,
    how: tuple[tuple[int, ...], tuple[int, ...], tuple[int, ...], Window, int],
) -> Value:
    """A convolution of x, spread with zeros, with the flipped kernel: MIL's transpose takes constant weights alone."""
    before, after, extra, view, groups = how
    rank = x.rank - 2
    channels, *sizes = x.shape[1:]
    spread = x
    for axis, (size, step) in enumerate(zip(sizes, view.strides, strict=True), start=2):
        if step > 1:
            shape = list(spread.shape)
            lead, rest = prod(shape[:axis]), prod(shape[axis + 1 :])
            rows = g.reshape(spread, (lead, size, 1, rest))
            rows = g.op("pad", x=rows, pad=[0, 0, 0, 0, 0, step - 1, 0, 0], mode="constant", constant_val=np.float32(0))
            shape[axis] = size * step
            spread = g.reshape(rows, shape)
    ends = [step - 1 for step in view.strides]
    flipped = g.op("reverse", x=weights, axes=list(range(2, rank + 2)))
    outputs = weights.shape[1]
    kernel = g.reshape(flipped, (groups, channels // groups, outputs, prod(view.kernel)))
    kernel = g.reshape(g.transpose(kernel, (0, 2, 1, 3)), (groups * outputs, channels // groups, *view.kernel))
    left = [extent - 1 - pad for extent, pad in zip(view.extents, before, strict=True)]
    right = [
        extent - 1 - pad - end + more for extent, pad, end, more in zip(view.extents, after, ends, extra, strict=True)
    ]
    spread = bordered(g, spread, left, right)
    plain = view._replace(strides=(1,) * rank, before=(0,) * rank, after=(0,) * rank, sizes=spread.shape[2:])
    return convolved(g, spread, kernel, bias, plain, groups)


def convolved_line(g: Emission, x: Value, weights: Value, hop: int) -> Value:
    """The convolution of x [batch, inputs, places] with constant weights [outputs, inputs, size], at every `hop`."""
    size = weights.shape[2]
    count = (x.shape[2] - size) // hop + 1
    view = Window((x.shape[2],), (size,), (hop,), (1,), (0,), (0,), (count,))
    return convolved(g, x, weights, None, view, 1)
