"""Quantized operators: what they compute in numbers, between DequantizeLinear and QuantizeLinear."""

from __future__ import annotations

from typing import TYPE_CHECKING

from packager.hub.writer import FLOAT, Unsupported, attributes_of, copy_attributes, number

if TYPE_CHECKING:
    from collections.abc import Sequence

    import onnx

    from packager.hub.writer import Writer


def pair(writer: Writer, node: onnx.NodeProto) -> None:
    """QLinearAdd, QLinearMul: of two quantized values."""
    inputs = [*node.input, ""]
    left, right = _number(writer, inputs[0:3]), _number(writer, inputs[3:6])
    value = writer.add({"QLinearAdd": "Add", "QLinearMul": "Mul"}[node.op_type], [left, right])
    _quantize(writer, value, inputs[6:8], node.output[0])


def single(writer: Writer, node: onnx.NodeProto) -> None:
    """QLinearSigmoid, QLinearLeakyRelu, and such: of one quantized value."""
    inputs = [*node.input, ""]
    operator = node.op_type.removeprefix("QLinear")
    value = writer.add(operator, [_number(writer, inputs[0:3])], **copy_attributes(node, drop=()))
    _quantize(writer, value, inputs[3:5], node.output[0])


def pool(writer: Writer, node: onnx.NodeProto) -> None:
    """QLinearGlobalAveragePool, QLinearAveragePool, channels first."""
    if number(attributes_of(node), "channels_last", 0):
        raise Unsupported("its channels are last")
    inputs = [*node.input, ""]
    operator = node.op_type.removeprefix("QLinear")
    value = writer.add(operator, [_number(writer, inputs[0:3])], **copy_attributes(node, drop={"channels_last"}))
    _quantize(writer, value, inputs[3:5], node.output[0])


def concatenation(writer: Writer, node: onnx.NodeProto) -> None:
    """QLinearConcat: the scale and zero point of the result come first."""
    parts = [_number(writer, node.input[place : place + 3]) for place in range(2, len(node.input), 3)]
    value = writer.add("Concat", parts, **copy_attributes(node, drop=()))
    _quantize(writer, value, node.input[0:2], node.output[0])


def integer_product(writer: Writer, node: onnx.NodeProto) -> None:
    """MatMulIntegerToFloat: the product of integers, scaled, and a bias."""
    left, right, left_scale, right_scale, left_zero, right_zero, bias = [*node.input, "", "", ""][:7]
    zeros = [left_zero, right_zero] if right_zero else [left_zero] if left_zero else []
    product = writer.add("Cast", [writer.add("MatMulInteger", [left, right, *zeros])], to=FLOAT)
    _scaled(writer, product, writer.add("Mul", [left_scale, right_scale]), bias, node.output[0])


def dynamic_product(writer: Writer, node: onnx.NodeProto) -> None:
    """DynamicQuantizeMatMul: the left side is quantized by what it holds."""
    left, right, right_scale, right_zero, bias = [*node.input, "", ""][:5]
    quantized, scale, zero = writer.add_many("DynamicQuantizeLinear", [left], 3)
    zeros = [zero, right_zero] if right_zero else [zero]
    product = writer.add("Cast", [writer.add("MatMulInteger", [quantized, right, *zeros])], to=FLOAT)
    _scaled(writer, product, writer.add("Mul", [scale, right_scale]), bias, node.output[0])


def _scaled(writer: Writer, product: str, scale: str, bias: str, output: str) -> None:
    value = writer.add("Mul", [product, scale], "" if bias else output)
    if bias:
        writer.add("Add", [value, bias], output)


def _number(writer: Writer, names: Sequence[str]) -> str:
    return writer.add("DequantizeLinear", _given(names))


def _quantize(writer: Writer, value: str, names: Sequence[str], output: str) -> None:
    writer.add("QuantizeLinear", [value, *_given(names)], output)


def _given(names: Sequence[str]) -> list[str]:
    """Names of inputs without those that are left out at the end."""
    found = list(names)
    while found and not found[-1]:
        found.pop()
    return found
