"""Control flow that is known before the model runs, put in place: the branch that is taken, the turns of a loop."""

from __future__ import annotations

from typing import TYPE_CHECKING, NamedTuple

import numpy as np
import onnx
from onnx import helper, numpy_helper

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable

    from numpy.typing import NDArray

    from targets._source.shape import Shape

UNROLL_LIMIT = 1024
"""Most nodes that the turns of one loop may become; a longer loop stays one."""
_AXES_ARE_INPUTS = 13
"""The opset from which Unsqueeze takes its axes as an input."""
_SCAN_WITHOUT_BATCH = 9


class Known(NamedTuple):
    """What is known of the values around a node."""

    constants: dict[str, NDArray[np.generic]]
    shapes: dict[str, Shape]
    opset: int


def unrolled(model: onnx.ModelProto, shapes: dict[str, Shape], opset: int) -> bool:
    """Replace each If, Loop and Scan of the main graph that is decided by constants; says whether there were any."""
    kinds = {"If": _if, "Loop": _loop, "Scan": _scan}
    if not any(node.op_type in kinds and not node.domain for node in model.graph.node):
        return False
    constants = {tensor.name: numpy_helper.to_array(tensor) for tensor in model.graph.initializer}
    known = Known(constants, shapes, opset)
    nodes: list[onnx.NodeProto] = []
    tensors: list[onnx.TensorProto] = []
    changed = False
    for node in model.graph.node:
        expand: Callable[..., _Block | None] | None = None if node.domain else kinds.get(node.op_type)
        block = expand(node, known) if expand else None
        changed = changed or block is not None
        nodes.extend([node] if block is None else block.nodes)
        tensors.extend([] if block is None else block.tensors)
    if not changed:
        return False
    data = [node.SerializeToString() for node in nodes]
    del model.graph.node[:]
    model.graph.node.extend(onnx.NodeProto.FromString(each) for each in data)
    model.graph.initializer.extend(tensors)
    return True


class _Block:
    """Nodes and constants that take the place of one node; their names start with its own."""

    def __init__(self, node: onnx.NodeProto, opset: int) -> None:
        self.nodes: list[onnx.NodeProto] = []
        self.tensors: list[onnx.TensorProto] = []
        self._prefix = next(filter(None, node.output), node.name)
        self._opset = opset
        self._count = 0

    def fresh(self, name: str) -> str:
        self._count += 1
        return f"{self._prefix}/{self._count}/{name}"

    def constant(self, array: NDArray[np.generic]) -> str:
        name = self.fresh("constant")
        self.tensors.append(numpy_helper.from_array(np.asarray(array), name))
        return name

    def add(self, operator: str, inputs: list[str], output: str = "", axis: int | None = None) -> str:
        output = output or self.fresh(operator)
        attributes = {} if axis is None else {"axis": axis}
        self.nodes.append(helper.make_node(operator, inputs, [output], output, None, None, None, **attributes))
        return output

    def body(self, graph: onnx.GraphProto, actual: list[str]) -> list[str]:
        """Put a copy of a subgraph here; its inputs are the actual names; gives the names of its outputs."""
        names = dict(zip((entry.name for entry in graph.input), actual, strict=True))
        turn = self.fresh("")
        for tensor in graph.initializer:
            names[tensor.name] = turn + tensor.name
            copy = onnx.TensorProto()
            copy.CopyFrom(tensor)
            copy.name = names[tensor.name]
            self.tensors.append(copy)
        for node in graph.node:
            names.update({name: turn + name for name in node.output if name})
            self.nodes.append(_renamed(node, names, turn))
        return [names.get(entry.name, entry.name) for entry in graph.output]

    def part(self, name: str, place: int, axis: int) -> str:
        """One entry along an axis, which goes away."""
        return self.add("Gather", [name, self.constant(np.array(place, np.int64))], axis=axis)

    def stack(self, names: list[str], axis: int, output: str) -> None:
        """The values beside each other along a new axis."""
        rows = []
        for name in names:
            if self._opset >= _AXES_ARE_INPUTS:
                rows.append(self.add("Unsqueeze", [name, self.constant(np.array([axis], np.int64))]))
            else:
                rows.append(self.fresh("row"))
                self.nodes.append(helper.make_node("Unsqueeze", [name], [rows[-1]], axes=[axis]))
        self.add("Concat", rows, output, axis=axis)


def _renamed(node: onnx.NodeProto, names: dict[str, str], turn: str) -> onnx.NodeProto:
    copy = onnx.NodeProto()
    copy.CopyFrom(node)
    copy.name = turn + (node.name or node.op_type)
    copy.input[:] = [names.get(name, name) for name in node.input]
    copy.output[:] = [names.get(name, name) for name in node.output]
    for attribute in copy.attribute:
        for graph in _graphs(attribute):
            _rename_reads(graph, names)
    return copy


def _graphs(attribute: onnx.AttributeProto) -> Iterable[onnx.GraphProto]:
    if attribute.HasField("g"):
        yield attribute.g
    yield from attribute.graphs


def _rename_reads(graph: onnx.GraphProto, names: dict[str, str]) -> None:
    """Rename what a subgraph reads of the graphs around it, unless it defines the name itself."""
    own = {entry.name for entry in (*graph.input, *graph.initializer)}
    own.update(name for node in graph.node for name in node.output)
    outer = {name: to for name, to in names.items() if name not in own}
    for node in graph.node:
        node.input[:] = [outer.get(name, name) for name in node.input]
        for attribute in node.attribute:
            for inner in _graphs(attribute):
                _rename_reads(inner, outer)
    for entry in graph.output:
        entry.name = outer.get(entry.name, entry.name)


def _attributes(node: onnx.NodeProto) -> dict[str, object]:
    return {entry.name: helper.get_attribute_value(entry) for entry in node.attribute}


def _graph(node: onnx.NodeProto, name: str) -> onnx.GraphProto:
    found: onnx.GraphProto = next(entry.g for entry in node.attribute if entry.name == name)
    return found


def _size(graph: onnx.GraphProto) -> int:
    """Nodes of a graph, those of its subgraphs included."""
    inner = (_size(each) for node in graph.node for entry in node.attribute for each in _graphs(entry))
    return len(graph.node) + sum(inner)


def _numbers(attributes: dict[str, object], name: str, length: int) -> list[int]:
    value = attributes.get(name)
    return [int(number) for number in value] if isinstance(value, list) else [0] * length


def _if(node: onnx.NodeProto, known: Known) -> _Block | None:
    condition = known.constants.get(node.input[0])
    if condition is None:
        return None
    block = _Block(node, known.opset)
    results = block.body(_graph(node, "then_branch" if bool(np.ravel(condition)[0]) else "else_branch"), [])
    for result, output in zip(results, node.output, strict=True):
        block.add("Identity", [result], output)
    return block


def _loop(node: onnx.NodeProto, known: Known) -> _Block | None:
    """A Loop whose turns are counted by a constant and that no condition ends early."""
    graph = _graph(node, "body")
    turns = known.constants.get(node.input[0]) if node.input[0] else None
    started = known.constants.get(node.input[1]) if len(node.input) > 1 and node.input[1] else np.array(1, bool)
    if turns is None or started is None or not _always_goes_on(graph):
        return None
    count = int(np.ravel(turns)[0]) if np.ravel(started)[0] else 0
    if count * _size(graph) > UNROLL_LIMIT:
        return None
    block = _Block(node, known.opset)
    state = list(node.input[2:])
    rows: list[list[str]] = [[] for _ in range(len(graph.output) - 1 - len(state))]
    if not count and rows:
        return None
    goes_on = block.constant(np.array(1, bool))
    for turn in range(count):
        place = block.constant(np.array(turn, np.int64))
        results = block.body(graph, [place, goes_on, *state])
        state = results[1 : 1 + len(state)]
        for row, result in zip(rows, results[1 + len(state) :], strict=True):
            row.append(result)
    for result, output in zip(state, node.output, strict=False):
        if output:
            block.add("Identity", [result], output)
    for row, output in zip(rows, node.output[len(state) :], strict=True):
        if output:
            block.stack(row, 0, output)
    return block


def _always_goes_on(graph: onnx.GraphProto) -> bool:
    """Whether the body gives its condition on as it came, or a constant that is true."""
    made = {node.output[0]: node for node in graph.node}
    name = graph.output[0].name
    while name in made and made[name].op_type in {"Identity", "Cast"}:
        name = made[name].input[0]
    if name == graph.input[1].name:
        return True
    constants = {tensor.name: numpy_helper.to_array(tensor) for tensor in graph.initializer}
    if name in made and made[name].op_type == "Constant":
        value = _attributes(made[name]).get("value")
        return isinstance(value, onnx.TensorProto) and bool(np.ravel(numpy_helper.to_array(value))[0])
    return name in constants and bool(np.ravel(constants[name])[0])


class _Scanning(NamedTuple):
    """The attributes of a Scan, an entry for each scan input or output."""

    graph: onnx.GraphProto
    inputs: list[str]
    axes: list[int]
    backwards: list[bool]
    output_axes: list[int]
    output_backwards: list[bool]


def _scan(node: onnx.NodeProto, known: Known) -> _Block | None:
    attributes = _attributes(node)
    graph = _graph(node, "body")
    count = int(attributes["num_scan_inputs"])  # type: ignore[call-overload]  # an integer by its specification
    batched = known.opset < _SCAN_WITHOUT_BATCH
    names = list(node.input[1:] if batched else node.input)
    state, inputs = names[:-count], names[-count:]
    if (batched and node.input[0]) or any(name not in known.shapes for name in inputs):
        return None
    outputs = len(graph.output) - len(state)

    axes = _numbers(attributes, "scan_input_axes", count)
    scanning = _Scanning(
        graph,
        inputs,
        [axis % len(known.shapes[name]) for axis, name in zip(axes, inputs, strict=True)],
        [bool(way) for way in _numbers(attributes, "directions" if batched else "scan_input_directions", count)],
        _numbers(attributes, "scan_output_axes", outputs),
        [bool(way) for way in _numbers(attributes, "scan_output_directions", outputs)],
    )
    sizes = known.shapes[inputs[0]]
    turns = sizes[1] if batched else sizes[scanning.axes[0]]
    batches = sizes[0] if batched else 1
    if not turns or turns * batches * _size(graph) > UNROLL_LIMIT:
        return None
    block = _Block(node, known.opset)
    targets = [output or block.fresh("unused") for output in node.output]
    if batched:
        _batches(block, scanning, state, targets, sizes)
        return block
    ends, rows = _turns(block, scanning, state, turns)
    for result, output in zip(ends, targets, strict=False):
        block.add("Identity", [result], output)
    for place, (row, axis) in enumerate(zip(rows, scanning.output_axes, strict=True), start=len(state)):
        rank = len(graph.output[place].type.tensor_type.shape.dim) + 1
        block.stack(row, axis % rank, targets[place])
    return block


def _batches(block: _Block, scanning: _Scanning, state: list[str], targets: list[str], sizes: Shape) -> None:
    """Scan of version 8: for each sample of a batch alone."""
    columns: list[list[str]] = [[] for _ in targets]
    for batch in range(sizes[0]):
        own = scanning._replace(inputs=[block.part(name, batch, 0) for name in scanning.inputs])
        ends, rows = _turns(block, own, [block.part(name, batch, 0) for name in state], sizes[1])
        for row in rows:
            ends.append(block.fresh("rows"))
            block.stack(row, 0, ends[-1])
        for column, end in zip(columns, ends, strict=True):
            column.append(end)
    for column, target in zip(columns, targets, strict=True):
        block.stack(column, 0, target)


def _turns(block: _Block, scanning: _Scanning, state: list[str], turns: int) -> tuple[list[str], list[list[str]]]:
    """The state after the last turn, and what each turn gave for each scan output, in the order of the result."""
    rows: list[list[str]] = [[] for _ in scanning.output_axes]
    for turn in range(turns):
        parts = [
            block.part(name, turns - 1 - turn if backwards else turn, axis)
            for name, axis, backwards in zip(scanning.inputs, scanning.axes, scanning.backwards, strict=True)
        ]
        results = block.body(scanning.graph, [*state, *parts])
        state = results[: len(state)]
        for row, result in zip(rows, results[len(state) :], strict=True):
            row.append(result)
    for row, backwards in zip(rows, scanning.output_backwards, strict=True):
        if backwards:
            row.reverse()
    return state, rows
