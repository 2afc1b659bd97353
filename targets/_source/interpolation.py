"""Resizing along one axis as a matrix [outputs, inputs], by ONNX's Resize. Everything here is pure."""

from __future__ import annotations

from typing import TYPE_CHECKING, NamedTuple

import numpy as np

from targets._source.refusal import UnsupportedError

if TYPE_CHECKING:
    from numpy.typing import NDArray

_HALVES = {"half_pixel", "pytorch_half_pixel", "half_pixel_symmetric"}


class Scheme(NamedTuple):
    """The attributes of one Resize."""

    mode: str
    transformation: str
    nearest: str
    cubic_a: float
    exclude_outside: bool
    antialias: bool


class Axis(NamedTuple):
    """One axis to resize."""

    size: int
    outputs: int
    scale: float
    start: float = 0.0
    end: float = 1.0
    """The part that is kept, as fractions, with ``tf_crop_and_resize``."""


def places(scheme: Scheme, axis: Axis) -> NDArray[np.float64]:
    """Where each output lies between the inputs."""
    x = np.arange(axis.outputs, dtype=np.float64)
    wide = axis.scale * axis.size
    last = axis.size - 1
    if scheme.transformation == "asymmetric":
        return x / axis.scale
    if scheme.transformation == "align_corners":
        return x * last / (wide - 1) if wide != 1 else np.zeros_like(x)
    if scheme.transformation == "tf_crop_and_resize":
        if wide == 1:
            return np.full_like(x, (axis.start + axis.end) * last / 2)
        return axis.start * last + x * (axis.end - axis.start) * last / (wide - 1)
    if scheme.transformation not in _HALVES:
        raise UnsupportedError(f"coordinate transformation '{scheme.transformation}' is not served")
    if scheme.transformation == "pytorch_half_pixel" and axis.outputs == 1:
        return np.zeros_like(x)
    shift = axis.size / 2 * (1 - axis.outputs / wide) if scheme.transformation == "half_pixel_symmetric" else 0.0
    return shift + (x + 0.5) / axis.scale - 0.5


def outside(scheme: Scheme, axis: Axis) -> NDArray[np.bool_]:
    """Which outputs are the extrapolation value, because their place lies beyond the input."""
    where = places(scheme, axis)
    if scheme.transformation != "tf_crop_and_resize":
        return np.zeros(len(where), np.bool_)
    return (where < 0) | (where > axis.size - 1)


def matrix(scheme: Scheme, axis: Axis) -> NDArray[np.float64]:
    """How much each input counts in each output; rows of what lies outside are zero."""
    where = places(scheme, axis)
    # The left neighbour is the one strictly below, so that the ratio lies in (0, 1].
    base = np.ceil(where).astype(int) - 1
    ratio = where - base
    result = np.zeros((axis.outputs, axis.size))
    out = outside(scheme, axis)
    for row in range(axis.outputs):
        if out[row]:
            continue
        taps, weights = _taps(scheme, axis, float(ratio[row]))
        taps = taps + base[row]
        if scheme.exclude_outside:
            weights = np.where((taps < 0) | (taps >= axis.size), 0.0, weights)
            weights = weights / weights.sum()
        np.add.at(result[row], np.clip(taps, 0, axis.size - 1), weights)
    return result


def _taps(scheme: Scheme, axis: Axis, ratio: float) -> tuple[NDArray[np.int64], NDArray[np.float64]]:
    """Neighbours, counted from the left one, and their weights."""
    shrink = min(axis.scale, 1.0) if scheme.antialias else 1.0
    if scheme.mode == "nearest":
        left = {
            "round_prefer_floor": ratio <= 0.5,  # noqa: PLR2004 - the middle
            "round_prefer_ceil": ratio < 0.5,  # noqa: PLR2004 - likewise
            "floor": ratio < 1,
            "ceil": False,
        }
        if scheme.nearest not in left:
            raise UnsupportedError(f"nearest_mode '{scheme.nearest}' is not served")
        return np.array([0, 1]), np.array([1.0, 0.0] if left[scheme.nearest] else [0.0, 1.0])
    if scheme.mode == "linear":
        first = int(np.floor(-1 / shrink)) + 1
        taps = np.arange(first, 2 - first)
        weights = np.clip(1 - np.abs(taps - ratio) * shrink, 0, 1)
    elif scheme.mode == "cubic":
        first = int(np.floor(-2 / shrink)) + 1
        taps = np.arange(first, 2 - first)
        weights = _cubic(np.abs(taps - ratio) * shrink, scheme.cubic_a)
    else:
        raise UnsupportedError(f"mode '{scheme.mode}' is not served")
    return taps, weights / weights.sum()


def _cubic(x: NDArray[np.float64], a: float) -> NDArray[np.float64]:
    """The cubic convolution kernel; Keys, "Cubic convolution interpolation for digital image processing", 1981."""
    near = (a + 2) * x**3 - (a + 3) * x**2 + 1
    far = a * x**3 - 5 * a * x**2 + 8 * a * x - 4 * a
    return np.where(x <= 1, near, np.where(x < 2, far, 0.0))  # noqa: PLR2004 - the kernel's reach
