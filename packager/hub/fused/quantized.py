"""Quantized operators: what they compute in numbers, between DequantizeLinear and QuantizeLinear."""

from __future__ import annotations

from typing import TYPE_CHECKING

from packager.hub.writer import FLOAT, Unsupported, attributes_of, copy_attributes, number

if TYPE_CHECKING:
    from collections.abc import Sequence

    import onnx

    from packager.hub.writer import Array, Writer


_SOFTMAX_OF_ONE_AXIS = 13
_SIXTEEN_BITS = 21


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


def softmax(writer: Writer, node: onnx.NodeProto) -> None:
    """QLinearSoftmax: along one axis; before opset 13, along all from it on."""
    attributes = attributes_of(node)
    inputs = [*node.input, ""]
    old = number(attributes, "opset", 13) < _SOFTMAX_OF_ONE_AXIS
    axis = number(attributes, "axis", 1 if old else -1)
    if old and axis not in {-1, writer.rank(node.input[0]) - 1}:
        raise Unsupported("it is along several axes")
    value = writer.add("Softmax", [_number(writer, inputs[0:3])], axis=axis)
    _quantize(writer, value, inputs[3:5], node.output[0])


def where(writer: Writer, node: onnx.NodeProto) -> None:
    """QLinearWhere: of two quantized values."""
    left, right = _number(writer, node.input[1:4]), _number(writer, node.input[4:7])
    _quantize(writer, writer.add("Where", [node.input[0], left, right]), node.input[7:9], node.output[0])


def gemm(writer: Writer, node: onnx.NodeProto) -> None:
    """QGemm: what is added has the scale of the product; the result is quantized where it has a scale."""
    left, left_scale, left_zero, right, right_scale, right_zero, shift, scale, zero = [*node.input, *[""] * 3][:9]
    attributes = copy_attributes(node, drop=())
    if writer.rank(right_scale) and writer.shape(right_scale) != (1,):
        raise Unsupported("each of its columns has its own scale")
    sides = [_number(writer, [left, left_scale, left_zero]), _number(writer, [right, right_scale, right_zero])]
    if shift:
        step = writer.add("Mul", [left_scale, right_scale])
        if attributes.get("alpha", 1.0) != 1.0:
            step = writer.add("Mul", [step, writer.constant([float(attributes["alpha"])])])
        sides.append(writer.add("Mul", [writer.add("Cast", [shift], to=FLOAT), step]))
    value = writer.add("Gemm", sides, "" if scale else node.output[0], **attributes)
    if scale:
        _quantize(writer, value, [scale, zero], node.output[0])


def max_pool(writer: Writer, node: onnx.NodeProto) -> None:
    """NhwcMaxPool: channels last."""
    rank = writer.rank(node.input[0])
    first, last = [0, rank - 1, *range(1, rank - 1)], [0, *range(2, rank), 1]
    value = writer.add("Transpose", [node.input[0]], perm=first)
    pooled = writer.add("MaxPool", [value], **copy_attributes(node, drop=()))
    writer.add("Transpose", [pooled], node.output[0], perm=last)


def linear(writer: Writer, node: onnx.NodeProto) -> None:
    """QuantizeLinear, DequantizeLinear: as ONNX has them, which took 16 bits up later."""
    wide = {4, 5}  # uint16, int16
    small = node.input[0] if node.op_type == "DequantizeLinear" else (node.input[2] if len(node.input) > 2 else "")  # noqa: PLR2004 - the zero point's type is the result's
    if small and writer.type_of(small) in wide and writer.version < _SIXTEEN_BITS:
        raise Unsupported(f"16 bits need opset {_SIXTEEN_BITS}")
    writer.add(node.op_type, _given(node.input), node.output[0], **copy_attributes(node, drop=()))


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


def block_product(writer: Writer, node: onnx.NodeProto) -> None:
    """MatMulNBits: by weights in blocks of 4 or 8 bits, which become numbers, and so as large as they were."""
    import numpy as np

    attributes = attributes_of(node)
    left, packed, scales, zeros, order, bias = [*node.input, "", "", ""][:6]
    bits, block = number(attributes, "bits", 4), number(attributes, "block_size", 0)
    columns, rows = number(attributes, "N", 0), number(attributes, "K", 0)
    values, steps = writer.value(packed), writer.value(scales)
    points = writer.value(zeros) if zeros else None
    if values is None or steps is None or (zeros and points is None):
        raise Unsupported("its weights are computed")
    if bits not in {4, 8} or order or (points is not None and points.dtype != np.uint8):
        raise Unsupported("its weights have another form than blocks of 4 or 8 bits, in order, around whole numbers")
    blocks = -(-rows // block)
    wide = unpacked(values.reshape(columns, blocks, -1), bits)[:, :, :block].astype(np.float32)
    middle = np.full((1, 1, 1), 2 ** (bits - 1), dtype=np.float32)
    if points is not None:
        middle = unpacked(points.reshape(columns, -1), bits)[:, :blocks, np.newaxis].astype(np.float32)
    numbers = (wide - middle) * steps.reshape(columns, blocks, 1).astype(np.float32)
    weights = numbers.reshape(columns, -1)[:, :rows].T.astype(writer.dtype(left))
    product = writer.add(
        "MatMul", [left, writer.constant(np.ascontiguousarray(weights))], "" if bias else node.output[0]
    )
    if bias:
        writer.add("Add", [product, bias], node.output[0])


def unpacked(values: Array, bits: int) -> Array:
    """The numbers of the last axis, of which a byte holds two of 4 bits, the lower first."""
    import numpy as np

    if bits == 8:  # noqa: PLR2004 - a byte
        return values
    bytes_ = values.astype(np.uint8)
    halves = np.stack([bytes_ & 15, bytes_ >> 4], axis=-1)
    return halves.reshape(*values.shape[:-1], -1)


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
