"""The last steps of a model, which the host does: they bend and cost it next to nothing."""

from __future__ import annotations

from typing import TYPE_CHECKING

from agent.runtimes._fixed.host import ArgMax, Complement, LogSoftmax, Normalize, Sigmoid, Softmax, Tanh
from targets._source.refusal import UnsupportedError
from targets.fpga._reading import Absent, Constant, Hosted, Raw, from_end
from targets.fpga._registry import operator

if TYPE_CHECKING:
    from targets._source.model import Node
    from targets.fpga._reading import Reading, Value

_PAIR = 2


def _shape(g: Reading, x: Value) -> tuple[int, ...]:
    return x.shape if isinstance(x, Hosted) else g.stream(x).shape


@operator("Softmax", since=13)
def _softmax(g: Reading, node: Node, x: Value) -> Hosted:
    shape = _shape(g, x)
    return g.host(x, Softmax(axis=from_end(node.integer("axis", -1), len(shape) + 1)), shape)


@operator("LogSoftmax", since=13)
def _log_softmax(g: Reading, node: Node, x: Value) -> Hosted:
    shape = _shape(g, x)
    return g.host(x, LogSoftmax(axis=from_end(node.integer("axis", -1), len(shape) + 1)), shape)


@operator("Sigmoid")
def _sigmoid(g: Reading, node: Node, x: Value) -> Hosted:
    del node
    return g.host(x, Sigmoid(), _shape(g, x))


@operator("Tanh")
def _tanh(g: Reading, node: Node, x: Value) -> Hosted:
    del node
    return g.host(x, Tanh(), _shape(g, x))


@operator("ArgMax")
def _argmax(g: Reading, node: Node, x: Value) -> Hosted:
    if node.integer("select_last_index", 0):
        raise UnsupportedError("it picks the last one of several: expected the first")
    axis = from_end(node.integer("axis", 0), len(_shape(g, x)) + 1)
    return g.host(x, ArgMax(axis=axis, keeps_axis=bool(node.integer("keepdims", 1))), g.shape_of(node))


@operator("ai.onnx.ml.Normalizer")
def _normalizer(g: Reading, node: Node, x: Value) -> Hosted:
    if not isinstance(x, Hosted):
        raise UnsupportedError("it divides by a norm of the values, which no layer does")
    norm = node.text("norm", "MAX")
    if norm != "L1":
        raise UnsupportedError(f"norm {norm} is not known: expected L1")
    return g.host(x, Normalize(), x.shape)


@operator("Concat")
def _concat(g: Reading, node: Node, *values: Value) -> Hosted:
    """Only the pair of both classes' probabilities."""
    if len(values) == _PAIR:
        first, second = values
        if isinstance(first, Hosted) and isinstance(second, Hosted) and first.complement and not second.complement:
            return g.host(second, Complement(), g.shape_of(node))
    if any(isinstance(value, Constant | Raw | Absent) for value in values):
        raise UnsupportedError("it joins tensors, one of which is not computed in the FPGA")
    raise UnsupportedError("it joins tensors, which no layer here does")
