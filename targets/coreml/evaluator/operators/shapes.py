"""What changes a tensor's shape or the order of its axes, and no value."""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np

from targets.coreml.evaluator._registry import operator

if TYPE_CHECKING:
    from collections.abc import Sequence

    from targets.coreml.evaluator._types import Array


@operator("identity", moves=True)
def identity(x: Array) -> Array:
    return x


@operator("shape", moves=True)
def shape(x: Array) -> Array:
    return np.array(x.shape, dtype=np.int32)


@operator("reshape", until="ios16", moves=True)
def reshape_of_equal_rank(x: Array, shape: Array) -> Array:
    wanted = [int(each) for each in shape]
    if 0 in wanted and len(wanted) != x.ndim and 0 not in x.shape:
        raise ValueError(f"0 in the shape {wanted} needs an input of the same rank, got {list(x.shape)}")
    return x.reshape([x.shape[place] if each == 0 else each for place, each in enumerate(wanted)])


@operator("reshape", since="ios17", moves=True)
def reshape(x: Array, shape: Array) -> Array:
    """A 0 takes the length that stands as far from the right in the input, or 1 where there is none."""
    wanted = [int(each) for each in shape]
    offset = x.ndim - len(wanted)
    lengths = []
    for place, each in enumerate(wanted):
        if each:
            lengths.append(each)
        else:
            lengths.append(x.shape[place + offset] if place + offset >= 0 else 1)
    return x.reshape(lengths)


@operator("reshape_like", since="ios16", moves=True)
def reshape_like(
    x: Array, ref_tensors: tuple[Array, ...], begins: Sequence[Array], ends: Sequence[Array], end_masks: Sequence[Array]
) -> Array:
    lengths: list[int] = []
    for reference, begin, end, to_the_end in zip(ref_tensors, begins, ends, end_masks, strict=True):
        lengths += reference.shape[int(begin) : None if bool(to_the_end) else int(end)]
    return x.reshape(lengths)


@operator("flatten2d", moves=True)
def flatten2d(x: Array, axis: Array | int = 1) -> Array:
    return x.reshape(int(np.prod(x.shape[: int(axis)])), int(np.prod(x.shape[int(axis) :])))


@operator("expand_dims", moves=True)
def expand_dims(x: Array, axes: Array) -> Array:
    return np.expand_dims(x, tuple(int(axis) for axis in np.atleast_1d(axes)))


@operator("squeeze", moves=True)
def squeeze(x: Array, axes: Array | None = None) -> Array:
    """Axes longer than one are left as they are."""
    if axes is None:
        return np.squeeze(x)
    places = {int(axis) % x.ndim for axis in np.atleast_1d(axes)}
    return np.squeeze(x, tuple(place for place in places if x.shape[place] == 1))


@operator("transpose", moves=True)
def transpose(x: Array, perm: Array) -> Array:
    return np.transpose(x, [int(axis) for axis in perm]) if x.ndim else x


@operator("tile", moves=True)
def tile(x: Array, reps: Array) -> Array:
    return np.tile(x, [int(each) for each in reps])


@operator("depth_to_space", moves=True)
def depth_to_space(x: Array, block_size: Array) -> Array:
    """The block's places are the slowest part of the channel, as in TensorFlow and ONNX's mode DCR."""
    b = int(block_size)
    n, c, h, w = x.shape
    blocks = x.reshape(n, b, b, c // (b * b), h, w).transpose(0, 3, 4, 1, 5, 2)
    return blocks.reshape(n, c // (b * b), h * b, w * b)


@operator("space_to_depth", moves=True)
def space_to_depth(x: Array, block_size: Array) -> Array:
    b = int(block_size)
    n, c, h, w = x.shape
    blocks = x.reshape(n, c, h // b, b, w // b, b).transpose(0, 3, 5, 1, 2, 4)
    return blocks.reshape(n, c * b * b, h // b, w // b)


@operator("pixel_shuffle", moves=True)
def pixel_shuffle(x: Array, upscale_factor: Array) -> Array:
    """The block's places are the fastest part of the channel, as in torch and ONNX's mode CRD."""
    f = int(upscale_factor)
    n, c, h, w = x.shape
    blocks = x.reshape(n, c // (f * f), f, f, h, w).transpose(0, 1, 4, 2, 5, 3)
    return blocks.reshape(n, c // (f * f), h * f, w * f)


@operator("pixel_unshuffle", since="ios16", moves=True)
def pixel_unshuffle(x: Array, downscale_factor: Array) -> Array:
    f = int(downscale_factor)
    n, c, h, w = x.shape
    blocks = x.reshape(n, c, h // f, f, w // f, f).transpose(0, 1, 3, 5, 2, 4)
    return blocks.reshape(n, c * f * f, h // f, w // f)


@operator("space_to_batch", moves=True)
def space_to_batch(x: Array, block_shape: Array, paddings: Array) -> Array:
    bh, bw = (int(each) for each in block_shape)
    padded = np.pad(x, [(0, 0), (0, 0), *(tuple(int(end) for end in pair) for pair in paddings)])
    n, c, h, w = padded.shape
    blocks = padded.reshape(n, c, h // bh, bh, w // bw, bw).transpose(3, 5, 0, 1, 2, 4)
    return blocks.reshape(n * bh * bw, c, h // bh, w // bw)


@operator("batch_to_space", moves=True)
def batch_to_space(x: Array, block_shape: Array, crops: Array) -> Array:
    bh, bw = (int(each) for each in block_shape)
    n, c, h, w = x.shape
    blocks = x.reshape(bh, bw, n // (bh * bw), c, h, w).transpose(2, 3, 4, 0, 5, 1)
    whole = blocks.reshape(n // (bh * bw), c, h * bh, w * bw)
    (top, bottom), (left, right) = ((int(a), int(b)) for a, b in crops)
    return whole[:, :, top : h * bh - bottom, left : w * bw - right]


@operator("sliding_windows", moves=True)
def sliding_windows(x: Array, axis: Array, size: Array, stride: Array | int = 1) -> Array:
    place = int(axis) % x.ndim
    windows = np.lib.stride_tricks.sliding_window_view(x, int(size), axis=place)
    every = windows[(*([slice(None)] * place), slice(None, None, int(stride)))]
    return np.moveaxis(every, -1, place + 1)
