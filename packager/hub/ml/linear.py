"""Linear models."""

from __future__ import annotations

from typing import TYPE_CHECKING

from packager.hub.ml._writer import Unsupported, attributes_of, floats, labels, number, text
from packager.hub.ml.transforms import best_label, transform

if TYPE_CHECKING:
    from collections.abc import Mapping

    import onnx

    from packager.hub.ml._writer import Writer


def regressor(writer: Writer, node: onnx.NodeProto) -> None:
    """LinearRegressor: X times coefficients plus intercepts."""
    attributes = attributes_of(node)
    targets = number(attributes, "targets", 1)
    kind = text(attributes, "post_transform", "NONE")
    if targets == 1 and kind != "NONE":
        raise Unsupported(f"post_transform '{kind}' of a single score")
    if kind == "NONE":
        _linear(writer, node.input[0], attributes, targets, node.output[0])
    else:
        transform(writer, _linear(writer, node.input[0], attributes, targets, ""), kind, node.output[0])


def classifier(writer: Writer, node: onnx.NodeProto) -> None:
    """LinearClassifier with coefficients for each class; the label is that of the highest score."""
    attributes = attributes_of(node)
    names = labels(attributes)
    if len(floats(attributes, "intercepts")) != len(names):
        raise Unsupported(f"it has {len(floats(attributes, 'intercepts'))} scores for {len(names)} labels")
    raw = _linear(writer, node.input[0], attributes, len(names), "")
    if writer.reads(node, 0):
        best_label(writer, raw, names, node.output[0])
    if writer.reads(node, 1):
        transform(writer, raw, text(attributes, "post_transform", "NONE"), node.output[1])


def _linear(writer: Writer, source: str, attributes: Mapping[str, object], outputs: int, output: str) -> str:
    import numpy as np

    weights = np.array(floats(attributes, "coefficients"), dtype=np.float32).reshape(outputs, -1).T
    intercepts = floats(attributes, "intercepts")
    product = writer.add(
        "MatMul", [writer.floats(source), writer.constant(np.ascontiguousarray(weights))], "" if intercepts else output
    )
    return writer.add("Add", [product, writer.constant(intercepts)], output) if intercepts else product
