"""Normalizations along the last axis, with what is added before them."""

from __future__ import annotations

from typing import TYPE_CHECKING

from packager.hub.writer import FLOAT, Unsupported, attributes_of, number

if TYPE_CHECKING:
    import onnx

    from packager.hub.writer import Writer

NARROW = 1e-12
"""The default of the operators that add something; 1e-5 of those that do not."""


def skip(writer: Writer, node: onnx.NodeProto) -> None:
    """SkipLayerNormalization, SkipSimplifiedLayerNormalization: of the sum of two values and a bias."""
    simple = node.op_type == "SkipSimplifiedLayerNormalization"
    names = [*node.input, "", "", ""]
    source, other, scale = names[:3]
    shift, bias = ("", names[3]) if simple else (names[3], names[4])
    total = writer.add("Add", [source, other])
    total = writer.add("Add", [total, bias]) if bias else total
    epsilon = float(str(attributes_of(node).get("epsilon", NARROW)))
    for place in (1, 2):
        if writer.reads(node, place):
            raise Unsupported(f"something reads its output '{node.output[place]}', which inference does not write")
    _normalize_for(writer, node, total, (scale, shift), epsilon, simple=simple)
    if writer.reads(node, 3):
        writer.add("Identity", [total], node.output[3])


def simplified(writer: Writer, node: onnx.NodeProto) -> None:
    """SimplifiedLayerNormalization: by the root of the mean of the squares."""
    attributes = attributes_of(node)
    axis = number(attributes, "axis", -1)
    if axis not in {-1, writer.rank(node.input[0]) - 1}:
        raise Unsupported("it is not along the last axis")
    if writer.reads(node, 1):
        raise Unsupported(f"something reads its output '{node.output[1]}', which inference does not write")
    epsilon = float(str(attributes.get("epsilon", 1e-5)))
    _normalize_for(writer, node, node.input[0], (node.input[1], ""), epsilon, simple=True)


def _normalize_for(
    writer: Writer, node: onnx.NodeProto, source: str, factors: tuple[str, str], epsilon: float, *, simple: bool
) -> None:
    kind, last = writer.type_of(node.input[0]), writer.rank(node.input[0]) - 1
    normalize(writer, source, factors, epsilon, node.output[0], kind=kind, last=last, simple=simple)


def normalize(  # noqa: PLR0913 - what a normalization is
    writer: Writer,
    source: str,
    factors: tuple[str, str],
    epsilon: float,
    output: str,
    *,
    kind: int,
    last: int,
    simple: bool = False,
) -> None:
    """Along the axis `last`, in float32, as onnxruntime does whatever the type `kind` is; `simple` keeps the mean."""
    wide = source if kind == FLOAT else writer.add("Cast", [source], to=FLOAT)
    centred = wide if simple else writer.add("Sub", [wide, writer.reduce("ReduceMean", wide, last)])
    variance = writer.reduce("ReduceMean", writer.add("Mul", [centred, centred]), last)
    deviation = writer.add("Sqrt", [writer.add("Add", [variance, writer.constant([epsilon])])])
    normal = writer.add("Div", [centred, deviation])
    normal = normal if kind == FLOAT else writer.add("Cast", [normal], to=kind)
    scale, shift = factors
    scaled = writer.add("Mul", [normal, scale], "" if shift else output)
    if shift:
        writer.add("Add", [scaled, shift], output)
