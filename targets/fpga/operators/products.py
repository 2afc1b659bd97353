"""Products with constant weights: MatMul, Gemm, Conv, and the linear models of scikit-learn."""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np

from agent.runtimes._fixed.host import Complement, Sigmoid, Softmax
from targets._source.refusal import UnsupportedError
from targets._source.window import window
from targets.fpga._layers import RealConv, RealDense
from targets.fpga._reading import Absent
from targets.fpga._registry import operator

if TYPE_CHECKING:
    from targets._source.model import Node
    from targets.fpga._layers import Reals
    from targets.fpga._reading import Reading, Stream, Value

_MATRIX = 2
_PLANES = (3, 4)
"""Ranks of a Conv's weights over one and over two axes."""


def dense(g: Reading, node: Node, x: Value, weights: Reals, bias: Reals) -> Stream:
    """A layer with the weights [inputs, outputs] along the last axis of x."""
    stream = g.stream(x)
    shape = (*stream.shape[:-1], weights.shape[1])
    return g.add(
        RealDense(
            sources=(stream.name,), output=node.outputs[0], shape=shape, node=node.label, weights=weights, bias=bias
        )
    )


@operator("MatMul")
def _matmul(g: Reading, node: Node, a: Value, b: Value) -> Stream:
    weights = g.reals(b, "second factor")
    if weights.ndim != _MATRIX:
        raise UnsupportedError(f"its second factor is no matrix: expected rank 2, got {weights.ndim}")
    if not g.stream(a).shape:
        raise UnsupportedError("its first factor has no axis beside the batch")
    return dense(g, node, a, weights, np.zeros(weights.shape[1]))


@operator("Gemm")
def _gemm(g: Reading, node: Node, a: Value, b: Value, c: Value | None = None) -> Stream:
    if node.integer("transA", 0):
        raise UnsupportedError("its first factor is transposed, which mixes the samples")
    weights = g.reals(b, "second factor") * node.number("alpha", 1.0)
    if node.integer("transB", 0):
        weights = weights.T
    added = np.zeros(()) if c is None else g.reals(c, "third input") * node.number("beta", 1.0)
    bias = np.broadcast_to(added, (1, weights.shape[1])) if added.ndim <= _MATRIX else added
    return dense(g, node, a, weights, bias.reshape(-1).copy())


@operator("Conv")
def _conv(g: Reading, node: Node, x: Value, w: Value, b: Value | None = None) -> Stream:
    weights = g.reals(w, "kernel")
    if weights.ndim not in _PLANES:
        raise UnsupportedError(f"it slides over {weights.ndim - 2} axes: expected one or two")
    shape = g.shape_of(node)
    stream = g.stream(x)
    view = window(node, stream.shape[1:], weights.shape[2:], shape[1:])
    bias = np.zeros(len(weights)) if b is None else g.reals(b, "bias")
    return g.add(
        RealConv(
            sources=(stream.name,),
            output=node.outputs[0],
            shape=shape,
            node=node.label,
            weights=weights,
            bias=bias,
            strides=view.strides,
            pads=(*view.before, *view.after),
            dilations=view.dilations,
            groups=node.integer("group", 1),
        )
    )


def _linear(g: Reading, node: Node, x: Value, rows: int) -> Stream:
    coefficients = np.asarray(node.attributes.get("coefficients", ()), np.float64).reshape(rows, -1)
    intercepts = np.asarray(node.attributes.get("intercepts", ()), np.float64)
    return dense(g, node, x, coefficients.T.copy(), intercepts if intercepts.size else np.zeros(rows))


@operator("ai.onnx.ml.LinearRegressor")
def _linear_regressor(g: Reading, node: Node, x: Value) -> Stream:
    transform = node.text("post_transform", "NONE")
    if transform != "NONE":
        raise UnsupportedError(f"post_transform {transform} is not known: expected NONE")
    return _linear(g, node, x, node.integer("targets", 1))


@operator("ai.onnx.ml.LinearClassifier")
def _linear_classifier(g: Reading, node: Node, x: Value) -> list[Value]:
    """The scores alone; where something reads the labels, that is found when it does."""
    labels = node.attributes.get("classlabels_ints") or node.attributes.get("classlabels_strings") or ()
    rows = max(len(node.attributes.get("intercepts", ())), 1)
    transform = node.text("post_transform", "NONE")
    scores = _linear(g, node, x, rows)
    value: Value = scores
    if transform in {"SOFTMAX", "LOGISTIC"}:
        value = g.host(scores, Softmax() if transform == "SOFTMAX" else Sigmoid(), scores.shape)
    elif transform != "NONE":
        raise UnsupportedError(f"post_transform {transform} is not known: expected NONE, SOFTMAX or LOGISTIC")
    if rows == 1 and len(labels) == _MATRIX:
        if transform != "LOGISTIC":
            raise UnsupportedError("one score for two classes is known with post_transform LOGISTIC alone")
        value = g.host(value, Complement(), (2,))
    return [Absent("labels are no numbers: the output of the scores alone can be shipped"), value]
