"""Scores after their sum: what ``post_transform`` asks for, and the label of the best class."""

from __future__ import annotations

from typing import TYPE_CHECKING

from packager.hub.writer import DOUBLE, FLOAT, Unsupported

if TYPE_CHECKING:
    from packager.hub.writer import Array, Writer

_NEAR_ZERO = 1e-7
"""What SOFTMAX_ZERO takes for zero in onnxruntime."""


def transform(writer: Writer, scores: str, kind: str, output: str = "") -> str:
    """The scores, (rows, classes), transformed.

    Raises:
        Unsupported: it is none of ONNX's.
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
        case "PROBIT":
            return _probit(writer, scores, output)
    raise Unsupported(f"its post_transform '{kind}' is not known")


def best_label(writer: Writer, scores: str, names: Array, output: str) -> None:
    """The label of the highest score of each row, the first of equals."""
    best = writer.add("ArgMax", [scores], axis=1, keepdims=0)
    writer.add("Gather", [writer.constant(names), best], output, axis=0)


def complement(writer: Writer, score: str, kind: str, output: str) -> None:
    """Of a single score, (rows, 1), the score and what is missing to one before it; only LOGISTIC transforms it.

    Raises:
        Unsupported: PROBIT, of which onnxruntime writes but one.
    """
    if kind == "PROBIT":
        raise Unsupported("onnxruntime leaves the second score undefined (PROBIT of one score)")
    if kind == "LOGISTIC":
        score = writer.add("Sigmoid", [score])
    writer.add("Concat", [writer.add("Sub", [writer.constant([1.0]), score]), score], output, axis=1)


def _probit(writer: Writer, scores: str, output: str) -> str:
    """The inverse of the normal distribution as onnxruntime approximates it.

    By Winitzki's inverse of the error function, which loses digits near 0.5: each step is taken in float32 and in its
    order. Only the logarithm is wider, since libraries differ in its last bit, and the difference would grow.
    """
    import numpy as np

    bent, circle = np.float32(0.147), np.float32(np.pi)
    one, half = writer.constant([1.0]), writer.constant([0.5])
    place = writer.add("Sub", [writer.add("Mul", [writer.constant([2.0]), scores]), one])
    sign = writer.add(
        "Where",
        [writer.add("Less", [place, writer.constant([0.0])]), writer.constant([-1.0]), one],
    )
    inside = writer.add("Mul", [writer.add("Sub", [one, place]), writer.add("Add", [one, place])])
    wide = writer.add("Log", [writer.add("Cast", [inside], to=DOUBLE)])
    logarithm = writer.add("Cast", [wide], to=FLOAT)
    constant = writer.constant([float(np.float32(2) / (circle * bent))])
    first = writer.add("Add", [constant, writer.add("Mul", [half, logarithm])])
    second = writer.add("Mul", [writer.constant([float(np.float32(1) / bent)]), logarithm])
    root = writer.add("Sqrt", [writer.add("Sub", [writer.add("Mul", [first, first]), second])])
    error = writer.add("Sqrt", [writer.add("Add", [writer.add("Neg", [first]), root])])
    inverse = writer.add("Mul", [sign, error])
    return writer.add("Mul", [writer.constant([2**0.5]), inverse], output)


def _softmax_zero(writer: Writer, scores: str, output: str) -> str:
    """Softmax over the scores that are not zero; those that are stay almost so."""
    top = writer.reduce("ReduceMax", scores, 1)
    raised = writer.add("Exp", [writer.add("Sub", [scores, top])])
    small = writer.add("Mul", [scores, writer.add("Exp", [writer.add("Neg", [top])])])
    counts = writer.add("Greater", [writer.add("Abs", [scores]), writer.constant([_NEAR_ZERO])])
    total = writer.reduce("ReduceSum", writer.add("Where", [counts, raised, writer.constant([0.0])]), 1)
    return writer.add("Div", [writer.add("Where", [counts, raised, small]), total], output)
