"""Convolutions and pools: what looks at a window that moves over the spatial axes."""

from __future__ import annotations

from typing import TYPE_CHECKING, NamedTuple

import numpy as np

from targets.coreml.evaluator import _kernels
from targets.coreml.evaluator._registry import operator

if TYPE_CHECKING:
    from collections.abc import Sequence

    from targets.coreml.evaluator._types import Array

_SPATIAL = 2
"""Where the spatial axes begin."""


class _Window(NamedTuple):
    """How a window moves along one axis."""

    size: int
    stride: int
    before: int
    after: int
    places: int


def _padding(
    pad_type: str, pad: Array | None, sizes: Sequence[int], strides: Sequence[int], lengths: Sequence[int]
) -> list[tuple[int, int]]:
    if pad_type == "valid":
        return [(0, 0)] * len(sizes)
    if pad_type == "custom":
        ends = [0] * (2 * len(sizes)) if pad is None else [int(each) for each in pad]
        return list(zip(ends[::2], ends[1::2], strict=True))
    if pad_type not in {"same", "same_lower"}:
        raise ValueError(f"unknown pad_type '{pad_type}'")
    pairs = []
    for size, stride, length in zip(sizes, strides, lengths, strict=True):
        total = max(0, (-(-length // stride) - 1) * stride + size - length)
        small, large = total // 2, total - total // 2
        pairs.append((small, large) if pad_type == "same" else (large, small))
    return pairs


def _numbers(given: Array | None, count: int) -> list[int]:
    return [1] * count if given is None else [int(each) for each in given]


@operator("conv")
def conv(
    x: Array,
    weight: Array,
    bias: Array | None = None,
    strides: Array | None = None,
    pad_type: str = "valid",
    pad: Array | None = None,
    dilations: Array | None = None,
    groups: Array | int = 1,
) -> Array:
    count = x.ndim - _SPATIAL
    steps, spread = _numbers(strides, count), _numbers(dilations, count)
    sizes = [(size - 1) * d + 1 for size, d in zip(weight.shape[_SPATIAL:], spread, strict=True)]
    ends = _padding(pad_type, pad, sizes, steps, x.shape[_SPATIAL:])
    return _kernels.run(
        "Conv",
        [x, weight] if bias is None else [x, weight, bias],
        strides=tuple(steps),
        dilations=tuple(spread),
        group=int(groups),
        pads=(*(before for before, _ in ends), *(after for _, after in ends)),
    )


@operator("conv_quantized")
def conv_quantized(
    x: Array,
    weight: Array,
    quantization_type: str,
    quant_scale: Array,
    quant_bias: Array,
    bias: Array | None = None,
    nbits: Array | int = 8,
    strides: Array | None = None,
    pad_type: str = "valid",
    pad: Array | None = None,
    dilations: Array | None = None,
    groups: Array | int = 1,
) -> Array:
    if quantization_type != "linear" or int(nbits) != 8:  # noqa: PLR2004 - the bits of a byte
        raise ValueError(f"quantization '{quantization_type}' of {int(nbits)} bits is not documented")
    shape = (-1, *([1] * (weight.ndim - 1)))
    dense = weight.astype(np.float32) * quant_scale.reshape(shape) + quant_bias.reshape(shape)
    return conv(x, dense, bias, strides, pad_type, pad, dilations, groups)


@operator("conv_transpose")
def conv_transpose(
    x: Array,
    weight: Array,
    bias: Array | None = None,
    pad: Array | None = None,
    output_shape: Array | None = None,
    pad_type: str = "valid",
    strides: Array | None = None,
    dilations: Array | None = None,
    groups: Array | int = 1,
) -> Array:
    count = x.ndim - _SPATIAL
    steps, spread = _numbers(strides, count), _numbers(dilations, count)
    full = _kernels.run(
        "ConvTranspose",
        [x, weight] if bias is None else [x, weight, bias],
        strides=tuple(steps),
        dilations=tuple(spread),
        group=int(groups),
    )
    cuts = [slice(None), slice(None)]
    missing = [(0, 0), (0, 0)]
    ends = [0] * (2 * count) if pad is None or pad_type != "custom" else [int(each) for each in pad]
    for axis in range(count):
        length = full.shape[axis + _SPATIAL]
        before, after = ends[2 * axis], ends[2 * axis + 1]
        if pad_type == "same":
            wanted = x.shape[axis + _SPATIAL] * steps[axis]
            if output_shape is not None:
                wanted = int(output_shape[axis + _SPATIAL])
            before = max(0, length - wanted) // 2
        elif output_shape is not None:
            wanted = int(output_shape[axis + _SPATIAL])
        else:
            wanted = length - before - after
        cuts.append(slice(before, before + wanted))
        missing.append((0, max(0, before + wanted - length)))
    if any(after for _, after in missing):
        # Beyond the last window's reach nothing was added up but the bias.
        rest = full if bias is None else full - _by_channel(bias, full.ndim)
        full = np.pad(rest, missing)
        full = full if bias is None else full + _by_channel(bias, full.ndim)
    return full[tuple(cuts)]


def _by_channel(values: Array, rank: int) -> Array:
    return values.reshape((1, -1, *([1] * (rank - _SPATIAL))))


def _windows(
    x: Array, kernel_sizes: Array, strides: Array | None, pad_type: str, pad: Array | None, *, ceil_mode: bool
) -> list[_Window]:
    sizes = [int(each) for each in kernel_sizes]
    steps = _numbers(strides, len(sizes))
    lengths = x.shape[_SPATIAL:]
    windows = []
    for (before, after), size, step, length in zip(
        _padding(pad_type, pad, sizes, steps, lengths), sizes, steps, lengths, strict=True
    ):
        room = length + before + after - size
        places = (room + step - 1 if ceil_mode else room) // step + 1
        if ceil_mode and (places - 1) * step >= length + before and before + after > 0:
            places -= 1
        windows.append(_Window(size, step, before, after, places))
    return windows


def _pooled(x: Array, windows: Sequence[_Window], fill: float, combine: np.ufunc) -> Array:
    """Combine axis by axis: neither sums nor maxima depend on the order."""
    for axis, window in enumerate(windows, start=_SPATIAL):
        reach = (window.places - 1) * window.stride + window.size
        beyond = max(0, reach - window.before - x.shape[axis])
        edges = [(0, 0)] * x.ndim
        edges[axis] = (window.before, beyond)
        padded = np.pad(x, edges, constant_values=fill)
        cut = [slice(None)] * x.ndim
        result: Array | None = None
        for offset in range(window.size):
            cut[axis] = slice(offset, offset + (window.places - 1) * window.stride + 1, window.stride)
            part = padded[tuple(cut)]
            result = part.copy() if result is None else combine(result, part, out=result)
        x = padded if result is None else result
    return x


@operator("max_pool")
def max_pool(
    x: Array,
    kernel_sizes: Array,
    pad_type: str,
    strides: Array | None = None,
    pad: Array | None = None,
    ceil_mode: Array | bool = False,
) -> Array:
    windows = _windows(x, kernel_sizes, strides, pad_type, pad, ceil_mode=bool(ceil_mode))
    return _pooled(x, windows, -np.inf, np.maximum)


@operator("avg_pool")
def avg_pool(
    x: Array,
    kernel_sizes: Array,
    pad_type: str,
    strides: Array | None = None,
    pad: Array | None = None,
    exclude_padding_from_average: Array | bool = False,
    ceil_mode: Array | bool = False,
) -> Array:
    windows = _windows(x, kernel_sizes, strides, pad_type, pad, ceil_mode=bool(ceil_mode))
    total = _pooled(x.astype(np.float64), windows, 0, np.add)
    for axis, window in enumerate(windows, start=_SPATIAL):
        starts = np.arange(window.places) * window.stride - window.before
        length = x.shape[axis]
        # In ceil mode the last window may reach beyond the padding; what lies there never counts.
        low, high = (0, length) if bool(exclude_padding_from_average) else (-window.before, length + window.after)
        counts = np.minimum(starts + window.size, high) - np.maximum(starts, low)
        total = total / counts.reshape([-1 if place == axis else 1 for place in range(x.ndim)])
    return total


@operator("l2_pool")
def l2_pool(
    x: Array,
    kernel_sizes: Array,
    pad_type: str,
    strides: Array | None = None,
    pad: Array | None = None,
    ceil_mode: Array | bool = False,
) -> Array:
    windows = _windows(x, kernel_sizes, strides, pad_type, pad, ceil_mode=bool(ceil_mode))
    return np.sqrt(_pooled(np.square(x.astype(np.float64)), windows, 0, np.add))
