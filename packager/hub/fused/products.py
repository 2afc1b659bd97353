"""Convolutions and products of matrices that something was fused to."""

from __future__ import annotations

from typing import TYPE_CHECKING

from packager.hub.writer import Unsupported, attributes_of, copy_attributes, floats, number, text

if TYPE_CHECKING:
    from collections.abc import Mapping

    import onnx

    from packager.hub.writer import Writer

_PARAMETERS = {"LeakyRelu": ("alpha",), "HardSigmoid": ("alpha", "beta"), "Elu": ("alpha",)}
_PLAIN = {"Relu", "Tanh", "Sigmoid", "Softplus", "HardSwish"}


def convolution(writer: Writer, node: onnx.NodeProto) -> None:
    """FusedConv: a convolution, a sum, an activation."""
    attributes = attributes_of(node)
    inputs = [name for name in node.input[:3] if name] if len(node.input) > 2 else list(node.input)  # noqa: PLR2004 - x, w, bias
    kept = copy_attributes(node, drop={"activation", "activation_params"})
    summed = len(node.input) > 3 and node.input[3]  # noqa: PLR2004 - the fourth is added
    kind = text(attributes, "activation", "")
    value = writer.add("Conv", inputs, "" if summed or kind else node.output[0], **kept)
    if summed:
        value = writer.add("Add", [value, node.input[3]], "" if kind else node.output[0])
    if kind:
        _activation(writer, value, kind, floats(attributes, "activation_params"), node)


def gemm(writer: Writer, node: onnx.NodeProto) -> None:
    """FusedGemm: Gemm, an activation."""
    attributes = attributes_of(node)
    kind = text(attributes, "activation", "")
    names = ("activation_alpha", "activation_beta", "activation_gamma")
    kept = copy_attributes(node, drop={"activation", *names})
    value = writer.add("Gemm", list(node.input), "" if kind else node.output[0], **kept)
    if kind:
        given = [found for name in names if isinstance(found := attributes.get(name), float)]
        _activation(writer, value, kind, given, node)


def matmul(writer: Writer, node: onnx.NodeProto) -> None:
    """FusedMatMul: alpha times the product of matrices, either of which may be transposed."""
    attributes = attributes_of(node)
    sides = []
    for name, side in zip(node.input, "AB", strict=True):
        if number(attributes, f"transBatch{side}", 0):
            raise Unsupported("a batch is transposed with its rows")
        sides.append(_transposed(writer, name, attributes, f"trans{side}"))
    alpha = attributes.get("alpha", 1.0)
    plain = alpha == 1.0
    product = writer.add("MatMul", sides, node.output[0] if plain else "")
    if not plain:
        writer.add("Mul", [product, writer.alike(float(str(alpha)), node.input[0])], node.output[0])


def _transposed(writer: Writer, name: str, attributes: Mapping[str, object], key: str) -> str:
    if not number(attributes, key, 0) or writer.rank(name) == 1:
        return name
    order = list(range(writer.rank(name)))
    order[-2:] = order[-1], order[-2]
    return writer.add("Transpose", [name], perm=order)


def _activation(writer: Writer, value: str, kind: str, given: list[float], node: onnx.NodeProto) -> None:
    output = node.output[0]
    if kind == "Clip":
        low, high = given
        bounds = [writer.alike(low, node.input[0]), writer.alike(high, node.input[0])]
        writer.add("Clip", [value, *bounds], output)
    elif kind in _PLAIN or kind in _PARAMETERS:
        writer.add(kind, [value], output, **dict(zip(_PARAMETERS.get(kind, ()), given, strict=False)))
    else:
        raise Unsupported(f"its activation '{kind}' is not known")
