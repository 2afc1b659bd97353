"""Support vector regression, and its one-class cousin."""

from __future__ import annotations

from typing import TYPE_CHECKING

from packager.hub.ml._writer import Unsupported, attributes_of, floats, number, text

if TYPE_CHECKING:
    from collections.abc import Mapping

    import onnx

    from packager.hub.ml._writer import Array, Writer


def regressor(writer: Writer, node: onnx.NodeProto) -> None:
    """SVMRegressor: the kernel's value with each support vector, weighted, plus rho."""
    import numpy as np

    attributes = attributes_of(node)
    if text(attributes, "post_transform", "NONE") != "NONE":
        raise Unsupported("its value is transformed")
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
    products = writer.add("MatMul", [rows, writer.constant(np.ascontiguousarray(support.T))])
    if kind == "LINEAR":
        return products
    scaled = writer.add("Mul", [products, writer.constant([gamma])])
    shifted = writer.add("Add", [scaled, writer.constant([coefficient])])
    if kind == "POLY":
        return writer.add("Pow", [shifted, writer.constant([degree])])
    if kind == "SIGMOID":
        return writer.add("Tanh", [shifted])
    raise Unsupported(f"its kernel '{kind}' is not known")
