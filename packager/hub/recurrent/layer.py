"""A recurrent layer as a Scan: what RNN, GRU and LSTM have in common."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, NamedTuple

from packager.hub.writer import INT64, Unsupported, attributes_of, floats, number, text

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping, Sequence
    from typing import TypeAlias

    import onnx

    from packager.hub.writer import Writer

    Function: TypeAlias = Callable[[Writer, str], str]

_TAKES = {
    "Affine": ("alpha", "beta"),
    "Elu": ("alpha",),
    "HardSigmoid": ("alpha", "beta"),
    "LeakyRelu": ("alpha",),
    "ScaledTanh": ("alpha", "beta"),
    "ThresholdedRelu": ("alpha",),
}
_DEFAULTS = {"Elu": (1.0,), "HardSigmoid": (0.2, 0.5), "LeakyRelu": (0.01,)}
"""Not of ThresholdedRelu, for which onnxruntime takes 0 and ONNX 1."""
_PLAIN = ("Relu", "Sigmoid", "Softplus", "Softsign", "Tanh")


class Direction(NamedTuple):
    """What one direction of a layer works with, by name; the shapes are those of ONNX without their first axis."""

    inputs: str
    """What the input gives to all gates of all steps, biases of the input among it: (steps, batch, gates x hidden)."""
    recurrence: str
    """(gates x hidden, hidden)."""
    bias: str
    """Of the recurrence, (gates x hidden); empty: none."""
    peepholes: str
    states: list[str]
    """Those before the first step, (batch, hidden)."""
    functions: list[Function]


class Cell(NamedTuple):
    """What makes a layer's kind."""

    gates: int
    states: int
    activations: tuple[str, ...]
    step: Callable[[Writer, onnx.NodeProto, Direction, str, list[str]], list[str]]
    """From what the input gives to the gates, (batch, gates x hidden), and the states, the states after the step."""


def lower_layer(writer: Writer, node: onnx.NodeProto, cell: Cell) -> None:
    """Write the layer.

    Raises:
        Unsupported: an activation that is not known, or a rank that is not.
    """
    attributes = attributes_of(node)
    source, lengths, *initial = (_input(node, place) for place in (0, 4, 5, 6))
    if number(attributes, "layout", 0):
        source = writer.add("Transpose", [source], perm=[1, 0, 2])
        initial = [writer.add("Transpose", [name], perm=[1, 0, 2]) if name else "" for name in initial]
    way = text(attributes, "direction", "forward")
    count = 2 if way == "bidirectional" else 1
    functions = _functions(attributes, cell, count)
    results = []
    for place in range(count):
        backwards = way == "reverse" or place == 1
        rows = _reversed(writer, source, lengths) if backwards and lengths else source
        direction = _direction(writer, node, cell, rows, (place, initial))
        direction = direction._replace(functions=functions[place * len(cell.activations) :][: len(cell.activations)])
        every, *last = _scan(writer, node, cell, direction, lengths, backwards=backwards and not lengths)
        results.append([_reversed(writer, every, lengths) if backwards and lengths else every, *last])
    _give(writer, node, results, batch_first=bool(number(attributes, "layout", 0)))


def activated(writer: Writer, node: onnx.NodeProto, function: Function, value: str) -> str:
    """The activation of what is clipped first, where the layer clips."""
    clip = attributes_of(node).get("clip")
    if isinstance(clip, float):
        value = writer.add("Clip", [value, writer.alike(-clip, node.input[0]), writer.alike(clip, node.input[0])])
    return function(writer, value)


def gates_of(writer: Writer, value: str, gates: int, hidden: int) -> list[str]:
    """The parts of a row of gates, (batch, hidden) each."""
    if gates == 1:
        return [value]
    if writer.version >= 13:  # noqa: PLR2004 - from 13 on sizes are an input
        return writer.add_many("Split", [value, writer.integers(*[hidden] * gates)], gates, axis=-1)
    return writer.add_many("Split", [value], gates, axis=1)


def hidden_size(writer: Writer, node: onnx.NodeProto) -> int:
    """The width of a state.

    Raises:
        Unsupported: it is not known.
    """
    size = number(attributes_of(node), "hidden_size", 0) or writer.width(node.input[2])
    if not size:
        raise Unsupported("its hidden size is not known")
    return size


def _input(node: onnx.NodeProto, place: int) -> str:
    return node.input[place] if place < len(node.input) else ""


def _direction(
    writer: Writer, node: onnx.NodeProto, cell: Cell, rows: str, given: tuple[int, Sequence[str]]
) -> Direction:
    place, initial = given
    wide = cell.gates * hidden_size(writer, node)
    weights = writer.add("Transpose", [_at(writer, node.input[1], place)], perm=[1, 0])
    inputs = writer.add("MatMul", [rows, weights])
    bias = ""
    if _input(node, 3):
        both = _at(writer, node.input[3], place)
        inputs = writer.add("Add", [inputs, _part(writer, both, 0, wide)])
        bias = _part(writer, both, wide, 2 * wide)
    zeros = _zeros(writer, inputs, hidden_size(writer, node))
    states = [_at(writer, name, place) if name else zeros for name in list(initial)[: cell.states]]
    peepholes = _at(writer, node.input[7], place) if _input(node, 7) else ""
    return Direction(inputs, _at(writer, node.input[2], place), bias, peepholes, states, [])


def _zeros(writer: Writer, inputs: str, hidden: int) -> str:
    """Zeros, (batch, hidden), of the type of the inputs, as many rows as those have."""
    import numpy as np

    # A comparison that nothing passes, and not a product with zero: that would keep what is no number.
    first = writer.add("Gather", [inputs, writer.constant(np.array(0, dtype=np.int64))], axis=0)
    columns = writer.add("Gather", [first, writer.integers(*range(hidden))], axis=1)
    same = writer.add("Equal", [columns, columns])
    return writer.add("CastLike", [writer.add("And", [same, writer.add("Not", [same])]), inputs])


def _at(writer: Writer, source: str, place: int) -> str:
    import numpy as np

    return writer.add("Gather", [source, writer.constant(np.array(place, dtype=np.int64))], axis=0)


def _part(writer: Writer, source: str, start: int, end: int) -> str:
    return writer.add("Slice", [source, writer.integers(start), writer.integers(end), writer.integers(0)])


def _reversed(writer: Writer, source: str, lengths: str) -> str:
    """Each sequence backwards, as far as it is long."""
    wide = lengths if writer.type_of(lengths) == INT64 else writer.add("Cast", [lengths], to=INT64)
    return writer.add("ReverseSequence", [source, wide], batch_axis=1, time_axis=0)


def _scan(
    writer: Writer, node: onnx.NodeProto, cell: Cell, direction: Direction, lengths: str, *, backwards: bool
) -> list[str]:
    """All states of the first kind, (steps, batch, hidden), and the last of each kind."""
    import numpy as np
    import onnx

    body = writer.inner("step")
    kind = writer.type_of(node.input[0])
    hidden = hidden_size(writer, node)
    stem = direction.inputs
    before = [f"{stem}/state.{place}" for place in range(cell.states)]
    now = f"{stem}/now"
    after = cell.step(body, node, direction, now, before)
    shown = after[0]
    typed = onnx.helper.make_tensor_value_info
    state_types = [(name, kind, [None, hidden]) for name in before]
    after_types = [(kind, [None, hidden])] * cell.states
    starts = list(direction.states)
    if lengths:
        step = f"{stem}/step"
        going = body.unsqueeze(body.add("Less", [step, lengths]), 1)
        after = [body.add("Where", [going, new, old]) for new, old in zip(after, before, strict=True)]
        shown = body.add("Where", [going, shown, body.alike(0, node.input[0])])
        after.append(body.add("Add", [step, body.alike(1, lengths)]))
        state_types.append((step, writer.type_of(lengths), [1]))
        after_types.append((writer.type_of(lengths), [1]))
        starts.append(writer.constant(np.zeros(1, dtype=writer.dtype(lengths))))
    after = [body.add("Identity", [name]) for name in after]
    shown = body.add("Identity", [shown])
    outputs = [typed(name, *rest) for name, rest in zip(after, after_types, strict=True)]
    graph = onnx.helper.make_graph(
        body.nodes,
        "step",
        [*(typed(*entry) for entry in state_types), typed(now, kind, [None, cell.gates * hidden])],
        [*outputs, typed(shown, kind, [None, hidden])],
    )
    writer.constants.extend(body.constants)
    found = writer.add_many(
        "Scan",
        [*starts, direction.inputs],
        len(starts) + 1,
        body=graph,
        num_scan_inputs=1,
        scan_input_directions=[int(backwards)],
        scan_output_directions=[int(backwards)],
    )
    last = found[: cell.states]
    if lengths:
        # Where a sequence has no step at all, onnxruntime gives zeros, whatever the state before it was.
        some = writer.unsqueeze(writer.add("Greater", [lengths, writer.alike(0, lengths)]), 1)
        last = [writer.add("Where", [some, name, writer.alike(0, node.input[0])]) for name in last]
    return [found[-1], *last]


def _give(writer: Writer, node: onnx.NodeProto, results: list[list[str]], *, batch_first: bool) -> None:
    """The outputs of the layer from those of its directions."""
    kinds = zip(*results, strict=True)
    for place, parts in enumerate(kinds):
        if not (place < len(node.output) and node.output[place]):
            continue
        axis = 1 if place == 0 else 0
        stacked = [writer.unsqueeze(part, axis) for part in parts]
        order = ([2, 0, 1, 3] if place == 0 else [1, 0, 2]) if batch_first else None
        joined = writer.add("Concat", stacked, "" if order else node.output[place], axis=axis)
        if order:
            writer.add("Transpose", [joined], node.output[place], perm=order)


def _functions(attributes: Mapping[str, object], cell: Cell, directions: int) -> list[Function]:
    words = attributes.get("activations")
    names = [word.decode() for word in words] if isinstance(words, list) else list(cell.activations) * directions
    values = {key: floats(attributes, f"activation_{key}") for key in ("alpha", "beta")}
    found = []
    for name in names:
        spelled = next((known for known in (*_PLAIN, *_TAKES) if known.lower() == name.lower()), None)
        if spelled is None:
            raise Unsupported(f"its activation '{name}' is not known")
        defaults = dict(zip(_TAKES.get(spelled, ()), _DEFAULTS.get(spelled, ()), strict=False))
        given = {key: values[key].pop(0) for key in _TAKES.get(spelled, ()) if values[key]}
        if set(_TAKES.get(spelled, ())) - set(defaults | given):
            raise Unsupported(f"its activation '{name}' lacks a number")
        found.append(_function(spelled, defaults | given))
    return found


def _function(name: str, numbers: dict[str, Any]) -> Function:
    def apply(writer: Writer, value: str) -> str:
        if name not in {"Affine", "ScaledTanh"}:
            return writer.add(name, [value], **numbers)
        alpha, beta = (writer.add("CastLike", [writer.constant([numbers[key]]), value]) for key in ("alpha", "beta"))
        if name == "Affine":
            return writer.add("Add", [writer.add("Mul", [alpha, value]), beta])
        return writer.add("Mul", [alpha, writer.add("Tanh", [writer.add("Mul", [beta, value])])])

    return apply
