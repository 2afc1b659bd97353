"""Scores after their sum: what ``post_transform`` asks for, and the label of the best class."""

from __future__ import annotations

from typing import TYPE_CHECKING

from packager.hub.ml._writer import Unsupported

if TYPE_CHECKING:
    from packager.hub.ml._writer import Array, Writer

_NEAR_ZERO = 1e-7
"""What SOFTMAX_ZERO takes for zero in onnxruntime."""


def transform(writer: Writer, scores: str, kind: str, output: str = "") -> str:
    """The scores, (rows, classes), transformed.

    Raises:
        Unsupported: PROBIT, which onnxruntime only approximates.
    """
    match kind:
        case "NONE":
            return writer.add("Identity", [scores], output)
        case "LOGISTIC":
            return writer.add("Sigmoid", [scores], output)
        case "SOFTMAX":
            return writer.add("Softmax", [scores], output, axis=1)
        case "SOFTMAX_ZERO":
            return _softmax_zero(writer, scores, output)
    raise Unsupported(f"post_transform '{kind}' has no exact equal")


def best_label(writer: Writer, scores: str, names: Array, output: str) -> None:
    """The label of the highest score of each row, the first of equals."""
    best = writer.add("ArgMax", [scores], axis=1, keepdims=0)
    writer.add("Gather", [writer.constant(names), best], output, axis=0)


def _softmax_zero(writer: Writer, scores: str, output: str) -> str:
    """Softmax over the scores that are not zero; those that are stay almost so."""
    top = writer.reduce("ReduceMax", scores, 1)
    raised = writer.add("Exp", [writer.add("Sub", [scores, top])])
    small = writer.add("Mul", [scores, writer.add("Exp", [writer.add("Neg", [top])])])
    counts = writer.add("Greater", [writer.add("Abs", [scores]), writer.constant([_NEAR_ZERO])])
    total = writer.reduce("ReduceSum", writer.add("Where", [counts, raised, writer.constant([0.0])]), 1)
    return writer.add("Div", [writer.add("Where", [counts, raised, small]), total], output)
