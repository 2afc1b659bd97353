"""One step of each recurrent layer; the equations are those of ONNX's RNN, GRU and LSTM."""

from __future__ import annotations

from typing import TYPE_CHECKING, NamedTuple

from ai_edge_litert import schema_py_generated as schema

from targets._source.refusal import UnsupportedError
from targets.edge_arm._arithmetic import clamped, maximum
from targets.edge_arm.operators.activations import elu_of, softplus_of, thresholded
from targets.edge_arm.operators.matmul import fully_connected
from targets.edge_arm.operators.slicing import span

if TYPE_CHECKING:
    from collections.abc import Callable

    from targets._source.model import Node
    from targets.edge_arm._emission import Emission, Value

    Activation = Callable[[Emission, Value], Value]
    Step = Callable[[Emission, "Weights", Value, list[Value]], list[Value]]


class Weights(NamedTuple):
    """What a step computes with, apart from its input and its state."""

    recurrence: Value
    """[gates * size, size]"""
    bias: Value | None
    """[gates * size], where it can't be added to the input beforehand."""
    peepholes: Value | None
    """[3 * size]: of the input, output and forget gates."""
    activations: tuple[Activation, ...]
    size: int
    clip: float
    reset_after: bool
    """Of a GRU: the reset gate is applied after the product, not before."""
    coupled: bool
    """Of an LSTM: the forget gate is 1 - the input gate."""


class Cell(NamedTuple):
    """One kind of layer."""

    step: Step
    """(emission, weights, input's part [batch, gates * size], state) -> the next state, the hidden one first."""
    states: int
    activations: tuple[str, ...]
    """By default."""


def _gate(g: Emission, x: Value, weights: Weights, place: int) -> Value:
    return span(g, x, 1, place * weights.size, (place + 1) * weights.size)


def _part(g: Emission, weights: Weights, first: int, last: int) -> Value:
    return span(g, weights.recurrence, 0, first * weights.size, last * weights.size)


def _applied(g: Emission, weights: Weights, place: int, x: Value) -> Value:
    if weights.clip:
        x = clamped(g, x, -weights.clip, weights.clip)
    return weights.activations[place](g, x)


def _rnn(g: Emission, weights: Weights, x: Value, state: list[Value]) -> list[Value]:
    total = g.add(x, fully_connected(g, state[0], weights.recurrence, None))
    return [_applied(g, weights, 0, total)]


def _gru(g: Emission, weights: Weights, x: Value, state: list[Value]) -> list[Value]:
    (hidden,) = state
    size = weights.size
    if weights.reset_after:
        products = fully_connected(g, hidden, weights.recurrence, weights.bias)
        gates = g.add(span(g, x, 1, 0, 2 * size), span(g, products, 1, 0, 2 * size))
    else:
        gates = g.add(span(g, x, 1, 0, 2 * size), fully_connected(g, hidden, _part(g, weights, 0, 2), None))
    gates = _applied(g, weights, 0, gates)
    update, reset = _gate(g, gates, weights, 0), _gate(g, gates, weights, 1)
    if weights.reset_after:
        inner = g.mul(reset, _gate(g, products, weights, 2))
    else:
        inner = fully_connected(g, g.mul(reset, hidden), _part(g, weights, 2, 3), None)
    candidate = _applied(g, weights, 1, g.add(_gate(g, x, weights, 2), inner))
    return [g.add(candidate, g.mul(update, g.sub(hidden, candidate)))]


def _lstm(g: Emission, weights: Weights, x: Value, state: list[Value]) -> list[Value]:
    hidden, carry = state
    gates = g.add(x, fully_connected(g, hidden, weights.recurrence, None))
    if weights.peepholes is None:
        open_ = _applied(g, weights, 0, span(g, gates, 1, 0, 3 * weights.size))
        enter, leave, forget = (_gate(g, open_, weights, place) for place in range(3))
    else:
        enter, forget = (_peeping(g, weights, gates, carry, place) for place in (0, 2))
    if weights.coupled:
        forget = g.sub(g.scalar(1, enter), enter)
    candidate = _applied(g, weights, 1, _gate(g, gates, weights, 3))
    carry = g.add(g.mul(forget, carry), g.mul(enter, candidate))
    if weights.peepholes is not None:
        leave = _peeping(g, weights, gates, carry, 1)
    return [g.mul(leave, weights.activations[2](g, carry)), carry]


def _peeping(g: Emission, weights: Weights, gates: Value, carry: Value, place: int) -> Value:
    """A gate that looks at the cell state; gates and peepholes both come in the order input, output, forget."""
    if weights.peepholes is None:
        raise UnsupportedError("it has no peepholes")
    size = weights.size
    look = g.mul(carry, span(g, weights.peepholes, 0, place * size, (place + 1) * size))
    return _applied(g, weights, 0, g.add(_gate(g, gates, weights, place), look))


CELLS = {
    "RNN": Cell(_rnn, 1, ("Tanh",)),
    "GRU": Cell(_gru, 1, ("Sigmoid", "Tanh")),
    "LSTM": Cell(_lstm, 2, ("Sigmoid", "Tanh", "Tanh")),
}


def activations(node: Node, cell: Cell, place: int, directions: int) -> tuple[Activation, ...]:
    """The functions of one direction, with their parameters.

    Parameters are consumed, in the order of the functions, by those that have some.
    """
    names = [name.decode() if isinstance(name, bytes) else str(name) for name in node.attributes.get("activations", ())]
    names = names or list(cell.activations) * directions
    alphas, betas = (list(node.attributes.get(f"activation_{name}", ())) for name in ("alpha", "beta"))
    found = []
    for name in names:
        lowered = name.lower()
        if lowered not in _DEFAULTS:
            raise UnsupportedError(f"activation '{name}' is not served: expected one of {', '.join(sorted(_DEFAULTS))}")
        alpha, beta = _DEFAULTS[lowered]
        alpha = alphas.pop(0) if alpha is not None and alphas else alpha
        beta = betas.pop(0) if beta is not None and betas else beta
        found.append(_activation(lowered, alpha or 0.0, beta or 0.0))
    each = len(cell.activations)
    return tuple(found[place * each : (place + 1) * each])


_DEFAULTS: dict[str, tuple[float | None, float | None]] = {
    "affine": (1.0, 0.0),
    "elu": (1.0, None),
    "hardsigmoid": (0.2, 0.5),
    "leakyrelu": (0.01, None),
    "relu": (None, None),
    "scaledtanh": (1.0, 1.0),
    "sigmoid": (None, None),
    "softplus": (None, None),
    "softsign": (None, None),
    "tanh": (None, None),
    "thresholdedrelu": (1.0, None),
}
"""alpha and beta of each function, None where it has none."""


def _activation(name: str, alpha: float, beta: float) -> Activation:
    functions: dict[str, Activation] = {
        "affine": lambda g, x: _line(g, x, alpha, beta),
        "elu": lambda g, x: elu_of(g, x, alpha),
        "hardsigmoid": lambda g, x: clamped(g, _line(g, x, alpha, beta), 0.0, 1.0),
        "leakyrelu": lambda g, x: g.elementwise("LEAKY_RELU", x, options=schema.LeakyReluOptionsT(alpha=alpha)),
        "relu": lambda g, x: maximum(g, x, 0.0),
        "scaledtanh": lambda g, x: g.mul(g.elementwise("TANH", g.mul(x, g.scalar(beta, x))), g.scalar(alpha, x)),
        "sigmoid": lambda g, x: g.elementwise("LOGISTIC", x),
        "softplus": softplus_of,
        "softsign": lambda g, x: g.div(x, g.add(g.elementwise("ABS", x), g.scalar(1, x))),
        "tanh": lambda g, x: g.elementwise("TANH", x),
        "thresholdedrelu": lambda g, x: thresholded(g, x, alpha),
    }
    return functions[name]


def _line(g: Emission, x: Value, slope: float, shift: float) -> Value:
    return g.add(g.mul(x, g.scalar(slope, x)), g.scalar(shift, x))
