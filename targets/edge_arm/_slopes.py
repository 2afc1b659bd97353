"""PRELU in place of its parts, where nothing is quantized: the quantizer knows the parts, and not the operator."""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np

if TYPE_CHECKING:
    from targets.edge_arm._graph import Graph, Tensor


def join_slopes(graph: Graph) -> None:
    """Write relu(x) + slope * min(x, 0) as one PRELU, for a constant slope per channel."""
    for operation in graph.operations:
        if operation.code != "ADD" or operation.options.fusedActivationFunction:
            continue
        for positive, negative in (operation.inputs, operation.inputs[::-1]):
            x = _rectified(positive)
            slope = _slope(negative, x) if x is not None else None
            if x is not None and slope is not None and x.shape == operation.outputs[0].shape:
                operation.code, operation.options = "PRELU", None
                operation.inputs = [x, graph.constant(slope)]
                break
    graph.prune()


def _rectified(tensor: Tensor | None) -> Tensor | None:
    """x, if the tensor is relu(x); else None."""
    operation = tensor.producer if tensor is not None else None
    return operation.inputs[0] if operation is not None and operation.code == "RELU" else None


def _slope(tensor: Tensor | None, x: Tensor) -> np.ndarray[tuple[int, ...], np.dtype[np.float32]] | None:
    """The slope with all axes of x but the first, if the tensor is slope * min(x, 0) and it is one a channel."""
    operation = tensor.producer if tensor is not None else None
    if operation is None or operation.code != "MUL" or operation.options.fusedActivationFunction:
        return None
    for factor, below in (operation.inputs, operation.inputs[::-1]):
        least = below.producer if below is not None else None
        if factor is None or factor.data is None or factor.dtype != np.float32:
            continue
        if least is None or least.code != "MINIMUM" or least.inputs[0] is not x or not _is_zero(least.inputs[1]):
            continue
        if len(x.shape) > 1 and factor.data.size == factor.data.shape[-1] == x.shape[-1]:
            return factor.data.reshape((1,) * (len(x.shape) - 2) + (-1,)).astype(np.float32)
    return None


def _is_zero(tensor: Tensor | None) -> bool:
    return tensor is not None and tensor.data is not None and not tensor.data.any()
