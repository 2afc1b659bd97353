"""The same network in numbers that quantize better: channels brought to like ranges, biases corrected.

M. Nagel and others, "Data-Free Quantization Through Weight Equalization and Bias Correction", 2019; the balance between
activations and weights is that of G. Xiao and others, "SmoothQuant", 2022, with its exponent at one half.
"""

from __future__ import annotations

import contextlib
from typing import TYPE_CHECKING, Any

import numpy as np
from ai_edge_litert import schema_py_generated as schema

from targets.edge_arm._graph import Tensor

if TYPE_CHECKING:
    from collections.abc import Iterator

    from numpy.typing import NDArray

    from targets.edge_arm._graph import Graph, Operation
    from targets.edge_arm._observation import Activations
    from targets.edge_arm._quantization import Network

    Floats = NDArray[np.floating[Any]]

_OUTPUT_AXIS = {"CONV_2D": 0, "DEPTHWISE_CONV_2D": 3, "FULLY_CONNECTED": 0}
"""The axis of an operation's weights that is the output channel."""
_LINEAR = {schema.ActivationFunctionType.NONE, schema.ActivationFunctionType.RELU}
"""What commutes with a positive factor."""


def equalize(graph: Graph, reached: dict[str, Activations]) -> int:
    """How many pairs of products now share their ranges out evenly; the network computes what it did, bit for bit.

    A channel between two products is divided by a power of two in the first and multiplied by it in the second.
    """
    uses: dict[int, int] = {}
    for operation in graph.operations:
        for tensor in operation.inputs:
            if tensor is not None:
                uses[id(tensor)] = uses.get(id(tensor), 0) + 1
    for tensor in graph.outputs.values():
        uses[id(tensor)] = uses.get(id(tensor), 0) + 1
    found = 0
    for second in graph.operations:
        between = second.inputs[0]
        first = between.producer if between is not None else None
        if between is None or first is None or uses[id(between)] != 1 or between.name not in reached:
            continue
        if not (_is_scalable(first, uses) and _is_scalable(second, uses)):
            continue
        if first.options.fusedActivationFunction not in _LINEAR:
            continue
        found += _balance(first, second, reached[between.name].largest)
    return found


def _is_scalable(operation: Operation, uses: dict[int, int]) -> bool:
    """Whether its weights and bias are constants that nothing else reads."""
    if operation.code not in _OUTPUT_AXIS:
        return False
    constants = [tensor for tensor in operation.inputs[1:] if tensor is not None]
    return all(tensor.data is not None and uses[id(tensor)] == 1 for tensor in constants)


def _balance(first: Operation, second: Operation, largest: Floats) -> bool:
    weights = _data(second.inputs[1])
    is_depthwise = second.code == "DEPTHWISE_CONV_2D"
    if weights.shape[-1] != len(largest) or first.outputs[0].shape[-1] != len(largest):
        return False
    extent = np.abs(weights).reshape(-1, len(largest)).max(axis=0)
    usable = (largest > 0) & (extent > 0)
    if not usable.any():
        return False
    # A depthwise product has a scale of its own for each channel, so only its input needs to be evened out.
    wanted = largest if is_depthwise else np.sqrt(largest / np.where(usable, extent, 1))
    exponents = np.round(np.log2(np.where(usable, wanted, 1)) - np.median(np.log2(wanted[usable])))
    factor = np.where(usable, 2.0**exponents, 1.0).astype(np.float32)
    if (factor == 1).all():
        return False
    _scale(first.inputs[1], 1 / factor, _OUTPUT_AXIS[first.code])
    _scale(second.inputs[1], factor, 3 if is_depthwise else -1)
    if len(first.inputs) > 2 and first.inputs[2] is not None:  # noqa: PLR2004 - the bias is the third operand
        _scale(first.inputs[2], 1 / factor, 0)
    return True


def _scale(tensor: Tensor | None, factor: Floats, axis: int) -> None:
    data = _data(tensor)
    spread = [1] * data.ndim
    spread[axis] = -1
    if tensor is not None:
        tensor.data = data * factor.reshape(spread)


def _data(tensor: Tensor | None) -> NDArray[Any]:
    if tensor is None or tensor.data is None:
        raise TypeError("a product's weights are not constant")
    return tensor.data


def bias_shifts(network: Network, data: bytes) -> dict[str, Floats]:
    """What to take from the biases so that quantized weights have no mean error, by the name of the result.

    `data` is the network's file quantized. What rounding adds to each channel's result on average is the difference of
    its weights times the mean of what they meet on the samples.
    """
    model = schema.ModelT.InitFromPackedBuf(data)
    main = model.subgraphs[0]
    stored = {main.tensors[operator.outputs[0]].name.decode(): operator for operator in main.operators}
    # Weights that are computed in float come by way of a DEQUANTIZE, the only reader of one constant.
    sources = {
        int(operator.outputs[0]): int(operator.inputs[0]) for operator in main.operators if len(operator.inputs) == 1
    }
    found: dict[str, Floats] = {}
    for operation in network.graph.operations:
        name, given = operation.outputs[0].name, operation.inputs[0]
        if operation.code not in _OUTPUT_AXIS or name not in stored or given is None:
            continue
        weights, reached = operation.inputs[1], network.reached.get(given.name)
        place = int(stored[name].inputs[1])
        rounded = _dequantized(model, main.tensors[sources.get(place, place)])
        if weights is None or weights.data is None or rounded is None or reached is None:
            continue
        found[name] = _mean_shift(operation.code, rounded - weights.data, reached.mean)
    return found


@contextlib.contextmanager
def shifted(graph: Graph, shifts: dict[str, Floats]) -> Iterator[None]:
    """The graph with these taken from its biases, until the block ends."""
    before: list[tuple[Operation, list[Tensor | None]]] = []
    for operation in graph.operations:
        shift = shifts.get(operation.outputs[0].name)
        if shift is None:
            continue
        before.append((operation, list(operation.inputs)))
        bias = operation.inputs[2] if len(operation.inputs) > 2 else None  # noqa: PLR2004 - the third operand
        old = np.float32(0) if bias is None or bias.data is None else bias.data
        corrected = (old - shift).astype(np.float32)
        name = f"{operation.outputs[0].name}_bias"
        operation.inputs[2:] = [Tensor(corrected.shape, corrected.dtype, corrected, bias.name if bias else name)]
    try:
        yield
    finally:
        for operation, inputs in before:
            operation.inputs = inputs


def _mean_shift(code: str, difference: Floats, mean: Floats) -> Floats:
    """What a difference of weights adds to each output channel, on average over the input."""
    if code == "DEPTHWISE_CONV_2D":
        each = np.repeat(mean, difference.shape[-1] // len(mean))
        return np.asarray(difference.sum(axis=(0, 1, 2)) * each)
    channels = difference.shape[-1]
    means = mean if len(mean) == channels else np.full(channels, mean.mean())
    return np.asarray(difference.reshape(difference.shape[0], -1, channels).sum(axis=1) @ means)


def _dequantized(model: Any, tensor: Any) -> Floats | None:  # noqa: ANN401 - the generated code has no types
    """The numbers that a constant of int8 or int4 stands for; None if it is stored in another way."""
    content = model.buffers[tensor.buffer].data
    if content is None or tensor.type not in {schema.TensorType.INT8, schema.TensorType.INT4}:
        return None
    numbers = np.asarray(content, np.uint8).view(np.int8)
    if tensor.type == schema.TensorType.INT4:
        # Two in a byte, the first in the lower half; shifting back and forth brings the sign down.
        numbers = np.stack([np.left_shift(numbers, 4) >> 4, numbers >> 4], axis=-1).reshape(-1)
    numbers = numbers[: np.prod(tensor.shape)].reshape(tensor.shape)
    scale = np.asarray(tensor.quantization.scale, np.float32)
    spread = [1] * numbers.ndim
    if scale.size > 1:
        spread[tensor.quantization.quantizedDimension] = -1
    return np.asarray(numbers.astype(np.float32) * scale.reshape(spread))
