"""Linear models."""

from __future__ import annotations

from typing import TYPE_CHECKING

from packager.hub.ml.transforms import best_label, complement, transform
from packager.hub.writer import Unsupported, attributes_of, floats, labels, number, text

if TYPE_CHECKING:
    from collections.abc import Mapping

    import onnx

    from packager.hub.writer import Array, Writer

_TWO = 2


def regressor(writer: Writer, node: onnx.NodeProto) -> None:
    """LinearRegressor: X times coefficients plus intercepts."""
    attributes = attributes_of(node)
    targets = number(attributes, "targets", 1)
    kind = text(attributes, "post_transform", "NONE")
    if targets == 1 and kind != "PROBIT":
        kind = "NONE"  # onnxruntime transforms a single score by PROBIT alone
    if kind == "NONE":
        _linear(writer, node.input[0], attributes, targets, node.output[0])
    else:
        transform(writer, _linear(writer, node.input[0], attributes, targets, ""), kind, node.output[0])


def classifier(writer: Writer, node: onnx.NodeProto) -> None:
    """LinearClassifier with coefficients for each class; the label is that of the highest score."""
    attributes = attributes_of(node)
    names = labels(attributes)
    if len(floats(attributes, "intercepts")) == 1 and len(names) == _TWO:
        _one_score(writer, node, attributes, names)
        return
    if len(floats(attributes, "intercepts")) != len(names):
        raise Unsupported(f"it has {len(floats(attributes, 'intercepts'))} scores for {len(names)} labels")
    raw = _linear(writer, node.input[0], attributes, len(names), "")
    if writer.reads(node, 0):
        best_label(writer, raw, names, node.output[0])
    if writer.reads(node, 1):
        transform(writer, raw, text(attributes, "post_transform", "NONE"), node.output[1])


def _one_score(writer: Writer, node: onnx.NodeProto, attributes: Mapping[str, object], names: Array) -> None:
    """Two labels, and one score: above zero it is the second."""
    score = _linear(writer, node.input[0], attributes, 1, "")
    if writer.reads(node, 0):
        above = writer.add("Greater", [score, writer.constant([0.0])])
        chosen = writer.add("Where", [above, writer.constant(names[[1]]), writer.constant(names[[0]])])
        writer.add("Reshape", [chosen, writer.integers(-1)], node.output[0])
    if writer.reads(node, 1):
        complement(writer, score, text(attributes, "post_transform", "NONE"), node.output[1])


def _linear(writer: Writer, source: str, attributes: Mapping[str, object], outputs: int, output: str) -> str:
    import numpy as np

    weights = np.array(floats(attributes, "coefficients"), dtype=np.float32).reshape(outputs, -1).T
    intercepts = floats(attributes, "intercepts")
    product = writer.add(
        "MatMul", [writer.floats(source), writer.constant(np.ascontiguousarray(weights))], "" if intercepts else output
    )
    return writer.add("Add", [product, writer.constant(intercepts)], output) if intercepts else product
