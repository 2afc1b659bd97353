"""RNN and LSTM as MIL's own operations, where these mean the same as ONNX's."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import numpy as np

if TYPE_CHECKING:
    from numpy.typing import NDArray

    from targets._source.model import Node
    from targets.coreml._emission import Emission, Value

_GATES = {"LSTM": (0, 2, 1, 3), "RNN": (0,)}
"""The gates in MIL's order, as places in ONNX's: input, forget, output, cell."""
_ACTIVATIONS = {"relu": "relu", "sigmoid": "sigmoid", "tanh": "tanh"}
_DEFAULTS = {"LSTM": ("sigmoid", "tanh", "tanh"), "RNN": ("tanh",)}


def own_layer(kind: str, g: Emission, node: Node, x: Value, given: list[Value | None]) -> list[Value] | None:
    """ONNX's outputs by one operation, x being [steps, batch, inputs]; None where MIL's means something else."""
    weights, recurrence, bias, lengths, hidden, carry, peepholes = given
    functions = _functions(kind, node)
    direction = node.text("direction", "forward")
    known = all(each is None or each.constant is not None for each in (weights, recurrence, bias, peepholes))
    special = node.number("clip", 0.0) or node.integer("input_forget", 0) or lengths is not None
    if functions is None or not known or special or x.constant is not None or recurrence is None or weights is None:
        return None
    if kind == "RNN" and direction == "bidirectional":
        return None
    steps = -1 if x.sizes[0] is None else x.shape[0]
    batch = x.shape[1] if steps != -1 or x.sizes[1] is None else int(x.sizes[1])
    size, ways = recurrence.shape[-1], recurrence.shape[0]
    backwards = direction == "reverse"
    if backwards:
        # MIL does not say in which order a layer that walks backwards gives its steps.
        x = g.op("reverse", x=x, axes=[0])
    first = bool(node.integer("layout", 0))
    inputs: dict[str, Any] = {
        "x": x,
        "initial_h": _start(g, hidden, (batch, ways * size), x, first=first),
        "direction": "bidirectional" if ways > 1 else "forward",
        "output_sequence": bool(node.outputs[0]),
    }
    inputs |= _constants(kind, g, [weights, recurrence, bias, peepholes])
    if kind == "RNN":
        inputs["activation"] = functions[0]
    else:
        inputs["initial_c"] = _start(g, carry, (batch, ways * size), x, first=first)
        inputs |= dict(zip(("recurrent_activation", "cell_activation", "activation"), functions, strict=True))
    every, *ends = g.ops(kind.lower(), x.dtype, **inputs)
    if node.outputs[0]:
        if backwards:
            every = g.op("reverse", x=every, axes=[0])
        order = (1, 0, 2, 3) if first else (0, 2, 1, 3)
        every = g.transpose(g.reshape(every, (steps, batch, ways, size)), order)
    ends = [g.reshape(end, (batch, ways, size)) for end in ends]
    return [every, *(end if first else g.transpose(end, (1, 0, 2)) for end in ends)]


def _functions(kind: str, node: Node) -> tuple[str, ...] | None:
    """MIL's names of the activations of each direction; None where it has not these, or directions differ."""
    if kind not in _DEFAULTS:
        return None
    each = len(_DEFAULTS[kind])
    names = [name.decode() if isinstance(name, bytes) else str(name) for name in node.attributes.get("activations", ())]
    chosen = [_ACTIVATIONS.get(name.lower()) for name in names] or list(_DEFAULTS[kind])
    if None in chosen or any(chosen[place] != chosen[place % each] for place in range(len(chosen))):
        return None
    return tuple(name for name in chosen[:each] if name is not None)


def _start(g: Emission, value: Value | None, shape: tuple[int, int], x: Value, *, first: bool) -> Value:
    """A starting state [batch, directions * size]."""
    if value is None:
        return g.constant(np.zeros(shape, x.dtype))
    return g.reshape(value if first else g.transpose(value, (1, 0, 2)), shape)


def _constants(kind: str, g: Emission, given: list[Value | None]) -> dict[str, Value]:
    """The weights, a set for each direction, with both biases added and the gates in MIL's order."""
    weights, recurrence, bias, peepholes = (None if each is None else each.array("a weight") for each in given)
    found: dict[str, Value] = {}
    if weights is None or recurrence is None:
        return found
    for place, suffix in zip(range(len(weights)), ("", "_back"), strict=False):
        found[f"weight_ih{suffix}"] = g.constant(_ordered(weights[place], _GATES[kind]))
        found[f"weight_hh{suffix}"] = g.constant(_ordered(recurrence[place], _GATES[kind]))
        if bias is not None:
            total = bias[place].reshape(2, -1).sum(axis=0).astype(bias.dtype)
            found[f"bias{suffix}"] = g.constant(_ordered(total, _GATES[kind]))
        if peepholes is not None:
            found[f"peephole{suffix}"] = g.constant(_ordered(peepholes[place], (0, 2, 1)))
    return found


def _ordered(array: NDArray[Any], gates: tuple[int, ...]) -> NDArray[Any]:
    """The parts of a stack of gates in another order."""
    parts = np.split(array, len(gates))
    return np.concatenate([parts[gate] for gate in gates])
