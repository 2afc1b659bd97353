"""What TFLite's two kernels for resizing compute along an axis. Everything here is pure."""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np

if TYPE_CHECKING:
    from numpy.typing import NDArray

    from targets._source.interpolation import Axis


def kernel_nearest(axis: Axis, *, align: bool, half: bool) -> NDArray[np.int64]:
    """The inputs that TFLite's RESIZE_NEAREST_NEIGHBOR takes; source: `GetNearestNeighbor` of its reference kernel."""
    scale = np.float32(axis.size) / np.float32(axis.outputs)
    if align and axis.outputs > 1:
        scale = np.float32(axis.size - 1) / np.float32(axis.outputs - 1)
    x = (np.arange(axis.outputs, dtype=np.float32) + np.float32(0.5 if half else 0)) * scale
    rounded = np.floor(x + np.float32(0.5)) if align else np.floor(x)
    return np.array(np.clip(rounded, 0, axis.size - 1), np.int64)


def kernel_linear(axis: Axis, *, align: bool, half: bool) -> NDArray[np.float64]:
    """The matrix of TFLite's RESIZE_BILINEAR; source: `ComputeInterpolationValues` of its reference kernel."""
    scale = axis.size / axis.outputs
    if align and axis.outputs > 1:
        scale = (axis.size - 1) / (axis.outputs - 1)
    x = np.arange(axis.outputs)
    where = (x + 0.5) * scale - 0.5 if half else x * scale
    low = np.maximum(np.floor(where), 0).astype(int)
    high = np.minimum(np.ceil(where), axis.size - 1).astype(int)
    result = np.zeros((axis.outputs, axis.size))
    np.add.at(result, (x, low), 1 - (where - low))
    np.add.at(result, (x, high), where - low)
    return result
