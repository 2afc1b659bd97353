"""Lay out loops whose number of rounds is known: their body once for each round, and no loop."""

from __future__ import annotations

from typing import TYPE_CHECKING

from packager.hub.graph import copied, domain_of, rename_values, subgraphs, value_names
from packager.hub.lowering import lower
from packager.hub.writer import Unsupported, attributes_of, integers

if TYPE_CHECKING:
    from collections.abc import Sequence

    import onnx

    from packager.hub.form import Form
    from packager.hub.lowering import Lowering
    from packager.hub.writer import Writer


def requires(form: Form) -> bool:
    """Where the target says how many rounds it would rather have laid out."""
    return form.needs.unrolled > 0


def run(model: onnx.ModelProto, form: Form) -> onnx.ModelProto:
    """The model without the loops of few enough rounds."""
    most = form.needs.unrolled
    lower(model, lambda node: _choose(node, most))
    return model


def ensures(model: onnx.ModelProto, form: Form) -> list[str]:
    """Nothing: a loop whose rounds are not known, or too many, remains."""
    del model, form
    return []


def _choose(node: onnx.NodeProto, most: int) -> Lowering | None:
    if domain_of(node.domain):
        return None
    if node.op_type == "Loop":
        return lambda writer, loop: _loop(writer, loop, most)
    if node.op_type == "Scan":
        return lambda writer, scan: _scan(writer, scan, most)
    return None


def _loop(writer: Writer, node: onnx.NodeProto, most: int) -> None:
    """A Loop that ends by its count alone.

    Raises:
        Unsupported: it may end before, or its count is not known, or high.
    """
    import numpy as np

    body = _body(node)
    count, start = (writer.value(name) for name in [*node.input, ""][:2])
    if count is None:
        raise Unsupported("its number of rounds is not known")
    if len(node.input) > 1 and node.input[1] and (start is None or not start.all()):
        raise Unsupported("whether it starts is computed")
    _demand_no_end(body)
    rounds = int(count.reshape(-1)[0])
    _demand_few(rounds, most)
    states = list(node.input[2:])
    taken: list[list[str]] = []
    for place in range(rounds):
        given = [writer.constant(np.array(place, dtype=np.int64)), writer.constant(np.array(1, dtype=bool)), *states]
        _, *results = _round(writer, body, given, place)
        states = results[: len(states)]
        taken.append(results[len(states) :])
    _give(writer, node.output[: len(states)], states)
    for place, output in enumerate(node.output[len(states) :]):
        if output:
            _stack(writer, [row[place] for row in taken], 0, output)


def _scan(writer: Writer, node: onnx.NodeProto, most: int) -> None:
    """A Scan over sequences of known length.

    Raises:
        Unsupported: the length is not known, or high.
    """
    attributes = attributes_of(node)
    body = _body(node)
    if len(body.input) != len(node.input):
        raise Unsupported("it is of opset 8, which has lengths for each of a batch")
    count = int(str(attributes["num_scan_inputs"]))
    states, sequences = list(node.input[: len(node.input) - count]), list(node.input[len(node.input) - count :])
    ways = integers(attributes, "scan_input_directions") or [0] * count
    axes = integers(attributes, "scan_input_axes") or [0] * count
    rounds = writer.shape(sequences[0])[axes[0]]
    if rounds is None:
        raise Unsupported("the length of what it goes over is not known")
    _demand_few(rounds, most)
    taken: list[list[str]] = []
    for place in range(rounds):
        parts = [
            _element(writer, name, rounds - 1 - place if way else place, axis)
            for name, way, axis in zip(sequences, ways, axes, strict=True)
        ]
        results = _round(writer, body, [*states, *parts], place)
        states = results[: len(states)]
        taken.append(results[len(states) :])
    _give(writer, node.output[: len(states)], states)
    outputs = node.output[len(states) :]
    ways = integers(attributes, "scan_output_directions") or [0] * len(outputs)
    axes = integers(attributes, "scan_output_axes") or [0] * len(outputs)
    for place, (output, way, axis) in enumerate(zip(outputs, ways, axes, strict=True)):
        if output:
            rows = [row[place] for row in taken]
            _stack(writer, rows[::-1] if way else rows, axis, output)


def _body(node: onnx.NodeProto) -> onnx.GraphProto:
    return next(subgraphs(node))


def _demand_few(rounds: int, most: int) -> None:
    if not 0 < rounds <= most:
        raise Unsupported(f"it has {rounds} rounds: expected 1 to {most}")


def _demand_no_end(body: onnx.GraphProto) -> None:
    """Whether the condition that the body gives is the one that it got, or always true."""
    import onnx.numpy_helper

    made = {name: node for node in body.node for name in node.output}
    constants = {entry.name: entry for entry in body.initializer}
    name = body.output[0].name
    while name in made and made[name].op_type == "Identity":
        name = made[name].input[0]
    if name == body.input[1].name:
        return
    if name in made and made[name].op_type == "Constant":
        constants[name] = next(entry.t for entry in made[name].attribute)
    if name not in constants or not onnx.numpy_helper.to_array(constants[name]).all():
        raise Unsupported("it may end before its number of rounds")


def _round(writer: Writer, body: onnx.GraphProto, given: Sequence[str], place: int) -> list[str]:
    """The body once, with values of its own; the names of its results are returned."""
    import onnx

    copy = onnx.GraphProto()
    copy.CopyFrom(body)
    names = {name: f"{writer.prefix}/{place}/{name}" for name in value_names(copy)}
    names |= dict(zip((entry.name for entry in copy.input), given, strict=True))
    rename_values(copy, names)
    for tensor in copy.initializer:
        writer.constants.append(tensor)
    for node in copy.node:
        node.name = f"{writer.prefix}/{place}/{node.name or node.output[0]}"
        writer.nodes.append(copied(node))
    return [entry.name for entry in copy.output]


def _element(writer: Writer, source: str, place: int, axis: int) -> str:
    import numpy as np

    return writer.add("Gather", [source, writer.constant(np.array(place, dtype=np.int64))], axis=axis)


def _give(writer: Writer, outputs: Sequence[str], values: Sequence[str]) -> None:
    for output, value in zip(outputs, values, strict=True):
        if output:
            writer.add("Identity", [value], output)


def _stack(writer: Writer, rows: Sequence[str], axis: int, output: str) -> None:
    writer.add("Concat", [writer.unsqueeze(row, axis) for row in rows], output, axis=axis)
