"""The walk over the source model: each node to its function, all that can't be taken gathered."""

from __future__ import annotations

from typing import TYPE_CHECKING, NamedTuple

from ai_edge_litert import schema_py_generated as schema

from targets._source.folding import evaluated, is_computable
from targets._source.refusal import UnsupportedError
from targets._target import Finding
from targets.edge_arm._emission import Emission, Value, stored
from targets.edge_arm._graph import Tensor
from targets.edge_arm._interface import Interface, assign_variable, has_map, read_variables
from targets.edge_arm._layout import channels_last, identity, permuted
from targets.edge_arm._registry import REGISTRY

if TYPE_CHECKING:
    from targets._source.model import Node, Source, Type
    from targets.edge_arm._graph import Graph
    from targets.edge_arm._layout import Order


class Lowered(NamedTuple):
    """What the walk made, and what it could not make; the graph is whole only if there are no findings."""

    graph: Graph
    macs: int
    findings: list[Finding]
    notes: tuple[str, ...]
    channels_last: frozenset[str] = frozenset()
    """Inputs and outputs that lie so in the file, and otherwise in the source."""


def lower(source: Source, interface: Interface | None = None) -> Lowered:
    """The TFLite graph of a model, with every node that can't be expressed, all at once."""
    interface = interface or Interface()
    emission = Emission()
    state = dict(interface.state)
    given = _variables(emission, source, state)
    for name in source.inputs:
        if name in source.types and name not in state:
            given[name] = _input(emission, name, source.types[name], last=name in interface.moved)
    values, findings = walk(emission, source, given)
    last = set(interface.moved)
    if not findings:
        for name, made in state.items():
            assign_variable(emission.graph, name, emission.tensor(values[made]))
        for name in source.outputs:
            if name in state.values():
                continue
            order = identity(values[name].rank)
            if interface.outputs_stay and has_map(values[name].shape):
                order = values[name].order
            if order == channels_last(len(order)) != identity(len(order)):
                last.add(name)
            else:
                order = identity(len(order))
            emission.graph.outputs[name] = _output(emission, values[name], order)
    return Lowered(emission.graph, emission.macs, findings, tuple(_notes(source, interface)), frozenset(last))


def walk(emission: Emission, source: Source, given: dict[str, Value]) -> tuple[dict[str, Value], list[Finding]]:
    """Every value of the source by its name, made of the inputs that are given; and what could not be made."""
    uses = _uses(source)
    values = given | {name: emission.constant(array) for name, array in source.constants.items()}
    for name, value in values.items():
        value.uses = uses.get(name, 0)
    findings: list[Finding] = []
    unknown: set[str] = set()
    for node in source.nodes:
        made: dict[str, Value] = {}
        try:
            if unknown.intersection(node.inputs):
                REGISTRY.emitter(node.qualified, node.version)
            else:
                made = _emit(emission, node, values, source)
        except UnsupportedError as error:
            findings.append(Finding(node=node.label, operator=node.qualified, reason=str(error), hint=error.hint))
            made = {name: _opaque(source.types[name]) for name in node.outputs if name in source.types}
        unknown.update(name for name in node.outputs if name and name not in made)
        for name, value in made.items():
            values[name] = _bound(emission, value, uses.get(name, 0))
    return values, findings


def _emit(emission: Emission, node: Node, values: dict[str, Value], source: Source) -> dict[str, Value]:
    inputs = [values[name] if name else None for name in node.inputs]
    constants = {name: values[name].constant for name in node.inputs if name}
    if constants and is_computable(node.proto) and all(array is not None for array in constants.values()):
        known = {name: array for name, array in constants.items() if array is not None}
        results = evaluated([node.proto], source.opsets, known, [name for name in node.outputs if name])
        return {name: emission.constant(array) for name, array in results.items()}
    emit = REGISTRY.emitter(node.qualified, node.version)
    before = len(emission.graph.operations)
    try:
        result = emit(emission, node, *inputs)
    except (IndexError, KeyError, ValueError) as error:
        # Shapes, ranks or attributes that the operator's specification does not allow.
        raise UnsupportedError(f"its inputs or attributes do not fit together: {error}") from error
    for operation in emission.graph.operations[before:]:
        operation.source = operation.source or node.label
    outputs = (result,) if isinstance(result, Value) else tuple(result)
    made = {name: value for name, value in zip(node.outputs, outputs, strict=False) if name}
    missing = [name for name in node.outputs if name and name not in made]
    if missing:
        raise UnsupportedError(f"its output '{missing[0]}' can't be computed")
    for name, value in made.items():
        expected = source.types.get(name, value)
        if (value.shape, value.dtype) != (expected.shape, expected.dtype):
            raise UnsupportedError(
                f"'{name}' came out as {value.dtype}{list(value.shape)}: "
                f"expected {expected.dtype}{list(expected.shape)}"
            )
    return made


def _uses(source: Source) -> dict[str, int]:
    uses: dict[str, int] = {}
    for name in (*(name for node in source.nodes for name in node.inputs), *source.outputs):
        uses[name] = uses.get(name, 0) + 1
    return uses


def _bound(emission: Emission, value: Value, uses: int) -> Value:
    """The value under the name of a node's output; one that already has a name becomes a view of it."""
    if value.constant is not None:
        bound = emission.constant(value.constant)
    else:
        bound = Value(value.shape, value.dtype, dict(value.forms), shared=value.shared or value.uses > 1)
    bound.uses = uses
    for tensor in bound.forms.values():
        tensor.uses += uses
    return bound


def _input(emission: Emission, name: str, kind: Type, *, last: bool) -> Value:
    order = channels_last(len(kind.shape)) if last else identity(len(kind.shape))
    shape = permuted(kind.shape, order)
    tensor = Tensor(shape, kind.dtype)
    emission.graph.inputs[name] = tensor
    inner = stored(kind.dtype)
    if inner != kind.dtype:
        tensor = emission.graph.add("CAST", [tensor], shape, inner, schema.CastOptionsT())
    return emission.made(tensor, kind.dtype, order)


def _variables(emission: Emission, source: Source, state: dict[str, str]) -> dict[str, Value]:
    """The values of the inputs that the file keeps itself."""
    if not state:
        return {}
    like = {name: Tensor(source.types[name].shape, stored(source.types[name].dtype)) for name in state}
    read = read_variables(emission.graph, like)
    return {name: emission.made(tensor, source.types[name].dtype) for name, tensor in read.items()}


def _output(emission: Emission, value: Value, order: Order) -> Tensor:
    """A tensor that is nothing but this output, in its own element type."""
    graph = emission.graph
    tensor = emission.tensor(value, order)
    if tensor.dtype != value.dtype:
        return graph.add("CAST", [tensor], tensor.shape, value.dtype, schema.CastOptionsT())
    taken = {id(other) for other in (*graph.inputs.values(), *graph.outputs.values())}
    if tensor.data is not None or id(tensor) in taken:
        options = schema.ReshapeOptionsT(newShape=list(tensor.shape))
        return graph.add("RESHAPE", [tensor, graph.integers(tensor.shape)], tensor.shape, tensor.dtype, options)
    return tensor


def _opaque(kind: Type) -> Value:
    """What stands for a result that could not be made, so that the walk can go on."""
    return Value(kind.shape, kind.dtype, {identity(len(kind.shape)): Tensor(kind.shape, stored(kind.dtype))})


def _notes(source: Source, interface: Interface) -> list[str]:
    inner = {kind.dtype.name for kind in source.types.values()}
    notes = [f"'{name}' is kept by the file from call to call, as '{made}'" for name, made in interface.state]
    if interface.outputs_stay and not interface.moved:
        notes.append("no input is a picture: none lies channels-last")
    if "int64" in inner:
        notes.append("int64 is computed as int32; constants were checked to fit, and inputs must")
    if "float64" in inner:
        notes.append("float64 is computed as float32")
    if "float16" in inner:
        notes.append("float16 is computed as float32")
    return notes
