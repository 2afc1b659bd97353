"""Fixed-point types for each value of the network, from what passes through it on the calibration data."""

from __future__ import annotations

import math
from typing import TYPE_CHECKING

import numpy as np

if TYPE_CHECKING:
    from numpy.typing import NDArray
    from qonnx.core.modelwrapper import ModelWrapper

_SAMPLES = 64
"""How many calls are watched at most: qonnx runs one node after another."""
_WEIGHTED = frozenset({"MatMul", "Conv"})
_ACTIVATIONS = frozenset({"Relu", "Sigmoid", "Tanh", "LeakyRelu", "Elu", "Selu", "PRelu", "HardSigmoid", "Clip"})


def fixed_type(low: float, high: float, bits: int, *, margin: int = 0) -> str:
    """The signed type of that width that holds all from `low` to `high`, as hls4ml writes it; it rounds and saturates.

    `margin`: further bits before the point, for values larger than any seen.
    """
    largest = max(abs(low), abs(high), 2.0**-bits)
    integer = math.floor(math.log2(largest)) + 2 + margin
    return f"fixed<{bits},{integer},RND,SAT>"


def layer_types(model: ModelWrapper, calls: NDArray[np.float32], bits: int) -> dict[str, dict[str, str]]:
    """The types of the input, of each activation and of each layer's weights, by hls4ml's names for layer and value.

    calls: (samples, *input shape without batch). Sums inside layers keep hls4ml's exact widths.
    """
    ranges = _ranges(model, calls)
    entry = model.graph.input[0].name
    constants = {tensor.name for tensor in model.graph.initializer}
    readers = {name: node for node in model.graph.node for name in node.input}
    chosen: dict[str, dict[str, str]] = {entry: {"result": fixed_type(*ranges[entry], bits)}}
    for node in model.graph.node:
        if node.op_type in _ACTIVATIONS:
            chosen[node.name] = {"result": fixed_type(*ranges[node.output[0]], bits, margin=1)}
        if node.op_type not in _WEIGHTED:
            continue
        follower = readers.get(node.output[0])
        added = follower.input if follower is not None and follower.op_type == "Add" else ()
        named = {"weight": node.input[1]}
        named.update(("bias", name) for name in (*node.input[2:], *added) if name in constants)
        chosen[node.name] = {part: fixed_type(*ranges[name], bits) for part, name in named.items()}
    return chosen


def _ranges(model: ModelWrapper, calls: NDArray[np.float32]) -> dict[str, tuple[float, float]]:
    """The smallest and largest number of each value and constant, and zero."""
    from qonnx.core.onnx_exec import execute_onnx

    ranges: dict[str, tuple[float, float]] = {}
    for sample in calls[:_SAMPLES]:
        context = execute_onnx(model, {model.graph.input[0].name: sample[None]}, return_full_exec_context=True)
        for name, values in context.items():
            if values is not None:
                low, high = ranges.get(name, (0.0, 0.0))
                ranges[name] = min(low, float(np.min(values))), max(high, float(np.max(values)))
    return ranges
