"""Fusions: an activation, or a scale and shift per channel, taken into the operation that made the value."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import numpy as np
from ai_edge_litert import schema_py_generated as schema

from targets.edge_arm._emission import narrowed

if TYPE_CHECKING:
    from numpy.typing import NDArray

    from targets.edge_arm._emission import Emission, Value
    from targets.edge_arm._graph import Operation, Tensor

_TAKES_ACTIVATION = {
    "ADD", "AVERAGE_POOL_2D", "CONV_2D", "DEPTHWISE_CONV_2D", "DIV", "FULLY_CONNECTED", "MAX_POOL_2D", "MUL", "SUB",
}  # fmt: skip
_LINEAR = {"CONV_2D": 0, "DEPTHWISE_CONV_2D": 3, "FULLY_CONNECTED": 0}
"""The axis of an operation's weights that is the output channel."""


def fuse_activation(value: Value, activation: str) -> bool:
    """Whether the operation that made the value now applies the activation as well."""
    operation = _maker(value, through={"RESHAPE", "TRANSPOSE"})
    if operation is None or operation.code not in _TAKES_ACTIVATION or operation.outputs[0].dtype != np.float32:
        return False
    if operation.options.fusedActivationFunction != schema.ActivationFunctionType.NONE:
        return False
    operation.options.fusedActivationFunction = getattr(schema.ActivationFunctionType, activation)
    return True


def fold_affine(emission: Emission, value: Value, scale: NDArray[Any] | None, shift: NDArray[Any] | None) -> bool:
    """Whether the weights and bias of the operation that made the value now scale and shift it, per channel.

    Both arrays are constants that broadcast over the value.
    """
    operation = _maker(value, through={"RESHAPE"})
    if operation is None or operation.code not in _LINEAR or operation.options.fusedActivationFunction:
        return False
    weights, bias = operation.inputs[1], operation.inputs[2]
    if weights is None or weights.data is None or (bias is not None and bias.data is None):
        return False
    channels = operation.outputs[0].shape[-1]
    factor = np.ones(channels) if scale is None else _per_channel(value, scale, channels)
    offset = np.zeros(channels) if shift is None else _per_channel(value, shift, channels)
    if factor is None or offset is None:
        return False
    axis = _LINEAR[operation.code]
    spread = factor.reshape([-1 if place == axis else 1 for place in range(weights.data.ndim)])
    if scale is not None:
        operation.inputs[1] = _constant(emission, weights.data * spread)
    old = np.zeros(channels) if bias is None or bias.data is None else bias.data
    operation.inputs[2] = _constant(emission, old * factor + offset)
    return True


def merge_factor(emission: Emission, value: Value, number: NDArray[Any] | None) -> bool:
    """Whether the constant factor of the product that made the value has now grown by a number."""
    operation = _maker(value, through={"RESHAPE"})
    if number is None or number.size != 1 or operation is None or operation.code != "MUL":
        return False
    if operation.options.fusedActivationFunction or operation.outputs[0].dtype != np.float32:
        return False
    for place, factor in enumerate(operation.inputs):
        if factor is None or factor.data is None or number.ndim > value.rank:
            continue
        with np.errstate(over="ignore"):
            grown = (factor.data.astype(np.float64) * float(number.reshape(-1)[0])).astype(np.float32)
        # A product that leaves the normal numbers would lose what the two steps keep.
        kept = (np.abs(grown) > np.finfo(np.float32).tiny) | (factor.data == 0)
        if np.isfinite(grown).all() and kept.all():
            operation.inputs[place] = emission.graph.constant(grown)
            return True
    return False


def hard_swish_input(product: Tensor, *, scaled: bool) -> Tensor | None:
    """x, if the tensor is x * relu6(x + 3), or with `scaled` x * (relu6(x + 3) / 6); else None."""
    operation = product.producer
    if operation is None or operation.code != "MUL" or operation.options.fusedActivationFunction:
        return None
    for x, gate in (operation.inputs, operation.inputs[::-1]):
        shifted = _factor(gate, "MUL", 1 / 6) if scaled else gate
        if x is None or shifted is None or shifted.producer is None or x.shape != product.shape:
            continue
        is_relu6 = (
            getattr(shifted.producer.options, "fusedActivationFunction", 0) == schema.ActivationFunctionType.RELU6
        )
        if is_relu6 and _factor(shifted, "ADD", 3.0) is x:
            return x
    return None


def _factor(tensor: Tensor | None, code: str, number: float) -> Tensor | None:
    """The other operand, if the tensor is one operand and a constant number under the operation."""
    operation = tensor.producer if tensor is not None else None
    if operation is None or operation.code != code:
        return None
    for operand, constant in (operation.inputs, operation.inputs[::-1]):
        if constant is None or constant.data is None or constant.data.size != 1:
            continue
        if np.isclose(float(constant.data.reshape(-1)[0]), number, rtol=1e-6):
            return operand
    return None


def _constant(emission: Emission, array: NDArray[Any]) -> Tensor:
    return emission.graph.constant(narrowed(array.astype(np.float32)))


def _maker(value: Value, through: set[str]) -> Operation | None:
    """The operation whose result nothing but this value's only reader will see."""
    if value.shared or value.uses != 1 or len(value.forms) != 1:
        return None
    tensor = next(iter(value.forms.values()))
    if tensor.readers:
        return None
    operation = tensor.producer
    while operation is not None and operation.code in through:
        before = operation.inputs[0]
        if before is None or before.readers != 1 or before.uses > 1:
            return None
        operation = before.producer
    return operation


def _per_channel(value: Value, array: NDArray[Any], channels: int) -> NDArray[np.float64] | None:
    """A constant as one number per channel, which must be the last axis in memory; None if it isn't that."""
    if array.ndim > value.rank or value.rank == 0:
        return None
    padded = array.reshape((1,) * (value.rank - array.ndim) + array.shape).transpose(value.order)
    if value.shape[value.order[-1]] != channels or padded.size not in {1, padded.shape[-1]}:
        return None
    if padded.size != 1 and padded.shape[-1] != channels:
        return None
    return np.broadcast_to(padded.reshape(-1), (channels,)).astype(np.float64)
