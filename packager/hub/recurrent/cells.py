"""One step of each recurrent layer, as ONNX's specification writes it."""

from __future__ import annotations

from typing import TYPE_CHECKING

from packager.hub.recurrent.layer import Cell, activated, gates_of, hidden_size, lower_layer
from packager.hub.writer import attributes_of, number

if TYPE_CHECKING:
    import onnx

    from packager.hub.recurrent.layer import Direction
    from packager.hub.writer import Writer


def rnn(writer: Writer, node: onnx.NodeProto) -> None:
    """RNN."""
    lower_layer(writer, node, Cell(1, 1, ("Tanh",), _rnn))


def gru(writer: Writer, node: onnx.NodeProto) -> None:
    """GRU."""
    lower_layer(writer, node, Cell(3, 1, ("Sigmoid", "Tanh"), _gru))


def lstm(writer: Writer, node: onnx.NodeProto) -> None:
    """LSTM."""
    lower_layer(writer, node, Cell(4, 2, ("Sigmoid", "Tanh", "Tanh"), _lstm))


def _recurrent(writer: Writer, direction: Direction, state: str) -> str:
    turned = writer.add("Transpose", [direction.recurrence], perm=[1, 0])
    product = writer.add("MatMul", [state, turned])
    return writer.add("Add", [product, direction.bias]) if direction.bias else product


def _rnn(writer: Writer, node: onnx.NodeProto, direction: Direction, now: str, states: list[str]) -> list[str]:
    total = writer.add("Add", [now, _recurrent(writer, direction, states[0])])
    return [activated(writer, node, direction.functions[0], total)]


def _gru(writer: Writer, node: onnx.NodeProto, direction: Direction, now: str, states: list[str]) -> list[str]:
    size = hidden_size(writer, node)
    outer, inner = direction.functions
    (state,) = states
    update, reset, fresh = gates_of(writer, now, 3, size)
    of_state = gates_of(writer, _recurrent(writer, direction, state), 3, size)
    update = activated(writer, node, outer, writer.add("Add", [update, of_state[0]]))
    reset = activated(writer, node, outer, writer.add("Add", [reset, of_state[1]]))
    if number(attributes_of(node), "linear_before_reset", 0):
        recalled = writer.add("Mul", [reset, of_state[2]])
    else:
        rows = gates_of(writer, writer.add("Transpose", [direction.recurrence], perm=[1, 0]), 3, size)
        recalled = writer.add("MatMul", [writer.add("Mul", [reset, state]), rows[2]])
        if direction.bias:
            last = [writer.integers(bound) for bound in (2 * size, 3 * size, 0)]
            recalled = writer.add("Add", [recalled, writer.add("Slice", [direction.bias, *last])])
    fresh = activated(writer, node, inner, writer.add("Add", [fresh, recalled]))
    kept = writer.add("Mul", [update, state])
    rest = writer.add("Sub", [writer.alike(1, node.input[0]), update])
    return [writer.add("Add", [writer.add("Mul", [rest, fresh]), kept])]


def _lstm(writer: Writer, node: onnx.NodeProto, direction: Direction, now: str, states: list[str]) -> list[str]:
    size = hidden_size(writer, node)
    gate, fresh, shown = direction.functions
    state, memory = states
    total = writer.add("Add", [now, _recurrent(writer, direction, state)])
    entry, output, forget, new = gates_of(writer, total, 4, size)
    peeps = ["", "", ""]
    if direction.peepholes:
        peeps = [
            writer.add("Slice", [direction.peepholes, *(writer.integers(bound) for bound in (place, place + size, 0))])
            for place in (0, size, 2 * size)
        ]
    entry = activated(writer, node, gate, _peeping(writer, entry, peeps[0], memory))
    if number(attributes_of(node), "input_forget", 0):
        forget = writer.add("Sub", [writer.alike(1, node.input[0]), entry])
    else:
        forget = activated(writer, node, gate, _peeping(writer, forget, peeps[2], memory))
    new = activated(writer, node, fresh, new)
    memory = writer.add("Add", [writer.add("Mul", [forget, memory]), writer.add("Mul", [entry, new])])
    output = activated(writer, node, gate, _peeping(writer, output, peeps[1], memory))
    return [writer.add("Mul", [output, shown(writer, memory)]), memory]


def _peeping(writer: Writer, value: str, weights: str, memory: str) -> str:
    return writer.add("Add", [value, writer.add("Mul", [weights, memory])]) if weights else value
