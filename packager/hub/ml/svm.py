"""Support vector machines: regression, its one-class cousin, and classification by pairs of classes."""

from __future__ import annotations

from typing import TYPE_CHECKING

from packager.hub.ml.coupling import coupled
from packager.hub.ml.transforms import best_label, complement, transform
from packager.hub.writer import (
    DOUBLE,
    FLOAT,
    Unsupported,
    attributes_of,
    floats,
    integers,
    labels,
    number,
    text,
)

if TYPE_CHECKING:
    from collections.abc import Mapping

    import onnx

    from packager.hub.writer import Array, Writer

_TWO = 2


def regressor(writer: Writer, node: onnx.NodeProto) -> None:
    """SVMRegressor: the kernel's value with each support vector, weighted, plus rho; never transformed."""
    import numpy as np

    attributes = attributes_of(node)
    vectors = number(attributes, "n_supports", 0)
    coefficients = np.array(floats(attributes, "coefficients"), dtype=np.float32)
    rows = writer.floats(node.input[0])
    if vectors:
        support = np.array(floats(attributes, "support_vectors"), dtype=np.float32).reshape(vectors, -1)
        rows = kernel(writer, rows, support, attributes)
    weighted = writer.add("MatMul", [rows, writer.constant(coefficients.reshape(-1, 1))])
    rho = writer.constant(floats(attributes, "rho")[:1] or [0.0])
    if not number(attributes, "one_class", 0):
        writer.add("Add", [weighted, rho], node.output[0])
        return
    inside = writer.add("Greater", [writer.add("Add", [weighted, rho]), writer.constant([0.0])])
    writer.add("Where", [inside, writer.constant([1.0]), writer.constant([-1.0])], node.output[0])


def classifier(writer: Writer, node: onnx.NodeProto) -> None:
    """SVMClassifier: libsvm's, which asks each pair of classes, or liblinear's, which has a score for each class."""
    attributes = attributes_of(node)
    names = labels(attributes)
    if len(names) < _TWO:
        raise Unsupported("it knows but one class")
    if writer.rank(node.input[0]) != _TWO:
        raise Unsupported("its input is no matrix")
    if sum(integers(attributes, "vectors_per_class")):
        _by_pairs(writer, node, attributes, names)
    else:
        _by_class(writer, node, attributes, names)


def _by_class(writer: Writer, node: onnx.NodeProto, attributes: Mapping[str, object], names: Array) -> None:
    import numpy as np

    weights = np.array(floats(attributes, "coefficients"), dtype=np.float32).reshape(len(names), -1)
    product = writer.add("MatMul", [writer.floats(node.input[0]), writer.constant(np.ascontiguousarray(weights.T))])
    scores = writer.add("Add", [product, writer.constant(floats(attributes, "rho")[:1])])
    if writer.reads(node, 0):
        if len(names) == _TWO and not floats(attributes, "prob_a"):
            _best_of_two(writer, scores, names, node.output[0], positive=bool((weights >= 0).all()))
        else:
            best_label(writer, scores, names, node.output[0])
    if writer.reads(node, 1):
        transform(writer, scores, text(attributes, "post_transform", "NONE"), node.output[1])


def _best_of_two(writer: Writer, scores: str, names: Array, output: str, *, positive: bool) -> None:
    """As onnxruntime has it: the second label as soon as any score is high, whichever it is."""
    import numpy as np

    top = writer.reduce("ReduceMax", scores, 1, keepdims=False)
    operator, limit = ("GreaterOrEqual", 0.5) if positive else ("Greater", 0.0)
    high = writer.add(operator, [top, writer.constant([limit])])
    best = writer.add("ArgMax", [scores], axis=1, keepdims=0)
    chosen = writer.add("Where", [high, writer.constant(np.array([1], dtype=np.int64)), best])
    writer.add("Gather", [writer.constant(names), chosen], output, axis=0)


def _by_pairs(writer: Writer, node: onnx.NodeProto, attributes: Mapping[str, object], names: Array) -> None:
    import numpy as np

    classes = len(names)
    kind = text(attributes, "post_transform", "NONE")
    slopes = np.array(floats(attributes, "prob_a"), dtype=np.float32)
    decisions = _decisions(writer, node.input[0], attributes, classes)
    if writer.reads(node, 0):
        above = writer.add("Greater", [decisions, writer.constant(np.array(0.0))])
        first, second = np.triu_indices(classes, 1)
        gains, lost = np.zeros((len(first), classes), dtype=np.float32), np.zeros(classes, dtype=np.float32)
        gains[np.arange(len(first)), first] = 1
        gains[np.arange(len(first)), second] = -1
        np.add.at(lost, second, 1)
        won = writer.add("MatMul", [writer.add("Cast", [above], to=FLOAT), writer.constant(gains)])
        best_label(writer, writer.add("Add", [won, writer.constant(lost)]), names, node.output[0])
    if not writer.reads(node, 1):
        return
    scores = writer.add("Cast", [decisions], to=FLOAT)
    if len(slopes):
        offsets = np.array(floats(attributes, "prob_b"), dtype=np.float32)
        transform(writer, coupled(writer, scores, classes, slopes, offsets), kind, node.output[1])
    elif classes > _TWO:
        transform(writer, scores, kind, node.output[1])
    elif kind == "NONE":
        writer.add("Concat", [writer.add("Neg", [scores]), scores], node.output[1], axis=1)
    else:
        complement(writer, scores, kind, node.output[1])


def _decisions(writer: Writer, source: str, attributes: Mapping[str, object], classes: int) -> str:
    """What each pair of classes says: float64, (rows, pairs); above 0 it is the first of them."""
    import numpy as np

    counts = integers(attributes, "vectors_per_class")
    vectors = sum(counts)
    if len(counts) != classes:
        raise Unsupported(f"it has vectors for {len(counts)} classes and {classes} labels")
    support = np.array(floats(attributes, "support_vectors"), dtype=np.float32).reshape(vectors, -1)
    coefficients = np.array(floats(attributes, "coefficients"), dtype=np.float32).reshape(-1, vectors)
    values = kernel(writer, writer.floats(source), support, attributes)
    # Products are rounded to float32 and then added in float64, as onnxruntime does: sums may nearly cancel.
    products = writer.add("Mul", [writer.unsqueeze(values, 1), writer.constant(coefficients[: classes - 1])])
    wide = writer.add("Cast", [products], to=DOUBLE)
    ends = np.cumsum(counts)
    sums = [
        writer.reduce("ReduceSum", writer.add("Gather", [wide, writer.integers(*range(end - count, end))], axis=2), 2)
        for count, end in zip(counts, ends.tolist(), strict=True)
    ]
    # By class of the vectors, and then by its opponent: each class has itself left out.
    table = writer.add("Reshape", [writer.add("Concat", sums, axis=2), writer.integers(-1, (classes - 1) * classes)])
    first, second = np.triu_indices(classes, 1)
    own = writer.add("Gather", [table, writer.constant((second - 1) * classes + first)], axis=1)
    other = writer.add("Gather", [table, writer.constant(first * classes + second)], axis=1)
    both = writer.add("Add", [own, other])
    return writer.add("Add", [both, writer.constant(np.array(floats(attributes, "rho"))[: len(first)])])


def kernel(writer: Writer, rows: str, support: Array, attributes: Mapping[str, object]) -> str:
    """The kernel of each row with each support vector: float32, (rows, vectors).

    Raises:
        Unsupported: the kernel is not known.
    """
    import numpy as np

    gamma, coefficient, degree = (*floats(attributes, "kernel_params"), 0.0, 0.0, 3.0)[:3]
    kind = text(attributes, "kernel_type", "LINEAR")
    if kind == "RBF":
        # Of differences, not of products: what is near a support vector would be lost in rounding.
        differences = writer.add("Sub", [writer.unsqueeze(rows, 1), writer.constant(support[np.newaxis])])
        squares = writer.reduce("ReduceSumSquare", differences, 2, keepdims=False)
        return writer.add("Exp", [writer.add("Mul", [squares, writer.constant([-gamma])])])
    # The same operator that onnxruntime uses inside, so that the same bits come out: decisions are sums of many
    # products that nearly cancel.
    if kind == "LINEAR":
        return writer.add("Gemm", [rows, writer.constant(support)], transB=1)
    shifted = writer.add(
        "Gemm", [rows, writer.constant(support), writer.constant([coefficient])], transB=1, alpha=gamma
    )
    if kind == "POLY":
        return _power(writer, shifted, degree)
    if kind == "SIGMOID":
        return writer.add("Tanh", [shifted])
    raise Unsupported(f"its kernel '{kind}' is not known")


def _power(writer: Writer, base: str, degree: float) -> str:
    """A power as onnxruntime takes it: a whole one by squaring and multiplying, others by exponent and logarithm."""
    import numpy as np

    if not degree.is_integer() or degree < 1:
        wide = writer.add("Cast", [base], to=DOUBLE)
        return writer.add("Cast", [writer.add("Pow", [wide, writer.constant(np.array(degree))])], to=FLOAT)
    left = int(degree)
    result = ""
    while True:
        if left % 2:
            result = writer.add("Mul", [result, base]) if result else base
        left //= 2
        if not left:
            return result
        base = writer.add("Mul", [base, base])
