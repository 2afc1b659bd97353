"""Fourier transforms, as products with constant matrices of real numbers."""

from __future__ import annotations

from math import prod
from typing import TYPE_CHECKING

import numpy as np

from targets._source.fourier import transform_matrix
from targets.coreml import _arithmetic as a
from targets.coreml._registry import UnsupportedError, operator
from targets.coreml.operators.convolution import convolved_line
from targets.coreml.operators.matmul import fully_connected
from targets.coreml.operators.slicing import looked_up

if TYPE_CHECKING:
    from targets._source.model import Node
    from targets.coreml._emission import Emission, Value

_LIMIT = 1 << 24
"""Most numbers in one matrix."""


@operator("DFT", since=17, until=19)
def dft_17(g: Emission, node: Node, x: Value, length: Value | None = None) -> Value:
    """The discrete Fourier transform along an axis that an attribute names."""
    return _dft(g, node, x, length, x.axis(node.integer("axis", 1)))


@operator("DFT", since=20)
def dft(g: Emission, node: Node, x: Value, length: Value | None = None, axis: Value | None = None) -> Value:
    """The discrete Fourier transform along an axis; the last axis is real, or real and imaginary part."""
    return _dft(g, node, x, length, x.axis(int(axis.number("axis")) if axis is not None else -2))


def _dft(g: Emission, node: Node, x: Value, length: Value | None, axis: int) -> Value:
    inverse, onesided = bool(node.integer("inverse", 0)), bool(node.integer("onesided", 0))
    have, parts = x.shape[axis], x.shape[-1]
    size = 2 * (have - 1) if inverse and onesided else have
    size = int(length.number("dft_length")) if length is not None else size
    if have * parts * size * 2 > _LIMIT:
        raise UnsupportedError(f"a transform of {have} to {size} places is too large for one matrix")
    rows = transform_matrix(have, parts, size, inverse=inverse, onesided=onesided)
    bins, made = rows.shape[:2]
    moved = [place for place in range(x.rank - 1) if place != axis]
    order = (*moved, axis, x.rank - 1)
    lined = g.transpose(x, order)
    outer = [x.shape[place] for place in moved]
    flat = g.reshape(lined, (prod(outer), have * parts))
    result = fully_connected(g, flat, g.constant(rows.reshape(bins * made, have * parts)), None)
    result = g.reshape(g.cast(result, x.dtype), (*outer, bins, made))
    return g.transpose(result, tuple(order.index(place) for place in range(x.rank)))


@operator("STFT", since=17)
def stft(
    g: Emission, node: Node, signal: Value, step: Value, window: Value | None = None, length: Value | None = None
) -> Value:
    """The transform of each frame of a signal [batch, places, parts], as one convolution if the window is known."""
    places, parts = signal.shape[1:] if signal.rank > 2 else (signal.shape[1], 1)  # noqa: PLR2004 - a real signal may leave its last axis out
    hop = int(step.number("frame_step"))
    size = int(length.number("frame_length")) if length is not None else places
    size = window.shape[0] if window is not None else size
    rows = transform_matrix(size, parts, size, inverse=False, onesided=bool(node.integer("onesided", 1)))
    bins = rows.shape[0]
    frames = 1 + (places - size) // hop
    batch = signal.shape[0]
    source = g.reshape(signal, (batch, places, parts))
    if window is None or window.constant is not None:
        kernel = rows if window is None else rows * window.array("the window").reshape(1, 1, -1, 1)
        weights = g.constant(kernel.reshape(bins * 2, size, parts).transpose(0, 2, 1).astype(np.float32))
        result = g.transpose(convolved_line(g, g.transpose(source, (0, 2, 1)), weights, hop), (0, 2, 1))
    else:
        taps = (np.arange(frames)[:, None] * hop + np.arange(size)).reshape(-1)
        cut = g.reshape(looked_up(g, source, 1, taps), (batch, frames, size, parts))
        cut = g.reshape(a.mul(g, cut, g.reshape(window, (size, 1))), (batch * frames, size * parts))
        result = fully_connected(g, cut, g.constant(rows.reshape(bins * 2, size * parts)), None)
    return g.reshape(g.cast(result, signal.dtype), (batch, frames, bins, 2))
