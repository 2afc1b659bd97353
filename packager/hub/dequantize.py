"""Write a quantized model in float again: weights as numbers, and activations as they are before rounding.

For targets that quantize by themselves, or not at all. Values stay in the ranges that quantization gave them: a range
that begins at 0 may stand for a Relu that a quantizer left out. What was rounded is not rounded any more, so results
are those of the quantized model but for its rounding.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from packager.hub.graph import all_nodes, domain_of, drop_unread, opset
from packager.hub.lowering import lower
from packager.hub.opsets.conversion import convert_version
from packager.hub.writer import FLOAT, Unsupported, attributes_of, copy_attributes, number

if TYPE_CHECKING:
    from collections.abc import Sequence

    import onnx

    from packager.hub.form import Form
    from packager.hub.lowering import Lowering
    from packager.hub.writer import Array, Writer

_LOWEST = 13
"""The opset from which quantization has axes."""


def requires(form: Form) -> bool:
    """Where quantized values may not remain."""
    return not form.needs.quantized


def run(model: onnx.ModelProto, form: Form) -> onnx.ModelProto:
    """The model without quantization, where scales are constants.

    Raises:
        ConversionError: the model's operators are too old for it, and can't be brought to newer ones.
    """
    if not any(node.op_type in _QUANTIZED for node in all_nodes(model.graph)):
        return model
    if opset(model) < _LOWEST <= form.needs.opset[1]:
        model = convert_version(model, _LOWEST)
    if opset(model) < _LOWEST:
        return model
    lower(model, lambda node: None if domain_of(node.domain) else _WRITTEN_OUT.get(node.op_type))
    made = {name: node for node in all_nodes(model.graph) for name in node.output}
    lower(model, lambda node: _dequantized(node, made))
    drop_unread(model.graph)
    return model


def ensures(model: onnx.ModelProto, form: Form) -> list[str]:
    """Nothing: what is quantized by computed scales remains, and so do inputs and outputs that are integers."""
    del model, form
    return []


def _dequantized(node: onnx.NodeProto, made: dict[str, onnx.NodeProto]) -> Lowering | None:
    if node.op_type != "DequantizeLinear" or domain_of(node.domain):
        return None
    return lambda writer, found: _pair(writer, found, made)


def _pair(writer: Writer, node: onnx.NodeProto, made: dict[str, onnx.NodeProto]) -> None:
    """A DequantizeLinear of a constant, or of what a QuantizeLinear made.

    Raises:
        Unsupported: it is of neither, or by computed scales.
    """
    attributes = attributes_of(node)
    if number(attributes, "block_size", 0):
        raise Unsupported("its scales are for blocks")
    scale, zero = _parameters(writer, node.input)
    value = writer.value(node.input[0])
    axis = number(attributes, "axis", 1)
    if value is not None:
        numbers = _numbers(value, scale, zero, axis)
        writer.add("Identity", [writer.constant(numbers)], node.output[0])
        return
    source = made.get(node.input[0])
    if source is None or source.op_type != "QuantizeLinear" or writer.type_of(source.input[0]) != FLOAT:
        raise Unsupported("what it reads is quantized elsewhere")
    theirs = _parameters(writer, source.input)
    same_axis = scale.ndim == 0 or number(attributes_of(source), "axis", 1) == axis
    if not (_same(scale, theirs[0]) and _same(zero, theirs[1]) and same_axis):
        raise Unsupported("it has other scales than what quantized the value")
    low, high = _range(scale, zero)
    if scale.ndim:
        shape = [1] * writer.rank(source.input[0])
        shape[axis] = scale.size
        low, high = low.reshape(shape), high.reshape(shape)
    raised = writer.add("Max", [source.input[0], writer.constant(low)])
    writer.add("Min", [raised, writer.constant(high)], node.output[0])


def _parameters(writer: Writer, names: Sequence[str]) -> tuple[Array, Array]:
    """The scale and the zero point.

    Raises:
        Unsupported: one of them is computed.
    """
    import numpy as np

    _, scale_name, zero_name = [*names, ""][:3]
    scale = writer.value(scale_name)
    zero = writer.value(zero_name) if zero_name else np.zeros((), dtype=np.uint8)
    if scale is None or zero is None:
        raise Unsupported("its scale is computed")
    if scale.dtype != np.float32 or zero.dtype.kind not in "ui":
        raise Unsupported("its scale is no float32, or its zero point no integer")
    return (scale.reshape(()), zero.reshape(())) if scale.size == 1 else (scale, zero)


def _same(one: Array, other: Array) -> bool:
    return one.dtype == other.dtype and one.shape == other.shape and bool((one == other).all())


def _numbers(value: Array, scale: Array, zero: Array, axis: int) -> Array:
    shape = [1] * value.ndim
    if scale.ndim and value.ndim:
        shape[axis] = -1
        scale, zero = scale.reshape(shape), zero.reshape(shape) if zero.ndim else zero
    found: Array = (value.astype("int32") - zero.astype("int32")).astype("float32") * scale
    return found


def _range(scale: Array, zero: Array) -> tuple[Array, Array]:
    """The lowest and the highest number that can be said, of the scale's shape."""
    import numpy as np

    kind = np.iinfo(zero.dtype.name)
    low, high = (
        ((np.float64(end) - zero.astype(np.float64)) * scale.astype(np.float64)).astype(np.float32)
        for end in (kind.min, kind.max)
    )
    return np.asarray(low), np.asarray(high)


def _convolution(writer: Writer, node: onnx.NodeProto) -> None:
    """QLinearConv: the convolution of the numbers, quantized."""
    x, x_scale, x_zero, w, w_scale, w_zero, y_scale, y_zero, *bias = node.input
    left = writer.add("DequantizeLinear", [x, x_scale, x_zero])
    inputs = [left, writer.add("DequantizeLinear", [w, w_scale, w_zero], axis=0)]
    if bias:
        scale = writer.add("Mul", [x_scale, w_scale])
        inputs.append(writer.add("Mul", [writer.add("Cast", [bias[0]], to=FLOAT), scale]))
    value = writer.add("Conv", inputs, **copy_attributes(node, drop=()))
    writer.add("QuantizeLinear", [value, y_scale, y_zero], node.output[0])


def _product(writer: Writer, node: onnx.NodeProto) -> None:
    """QLinearMatMul: the product of the numbers, quantized; scales for columns are of the last axis."""
    left = writer.add("DequantizeLinear", list(node.input[:3]))
    if writer.rank(node.input[4]):
        raise Unsupported("it has a scale for each column")
    right = writer.add("DequantizeLinear", list(node.input[3:6]))
    writer.add("QuantizeLinear", [writer.add("MatMul", [left, right]), *node.input[6:8]], node.output[0])


_QUANTIZED = ("DequantizeLinear", "QLinearConv", "QLinearMatMul")
_WRITTEN_OUT: dict[str, Lowering] = {"QLinearConv": _convolution, "QLinearMatMul": _product}
