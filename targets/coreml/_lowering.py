"""The walk over the source model: each node to its function, all that can't be taken gathered."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, NamedTuple

from targets._source.folding import evaluated, is_computable
from targets._target import Finding
from targets.coreml._border import (
    CLASS,
    SCORES,
    Feature,
    check_labels,
    features,
    given_out,
    held,
    named,
    notes_on,
    placeholders,
    remember,
)
from targets.coreml._coremltools import coremltools, part
from targets.coreml._emission import Emission, Value
from targets.coreml._registry import REGISTRY, UnsupportedError

if TYPE_CHECKING:
    from targets._source.model import Node, Source, Type
    from targets.coreml._border import Wishes
    from targets.coreml._pictures import Labels


class Lowered(NamedTuple):
    """What the walk made, and what it could not make; the program is whole only if there are no findings."""

    program: Any
    inputs: tuple[Feature, ...]
    outputs: tuple[Feature, ...]
    """In the source's order, like the inputs; of both some may be states."""
    findings: list[Finding]
    notes: tuple[str, ...]
    labels: Labels | None
    """Of the output that is to be a classifier's, called as in the program."""
    origins: dict[str, str]
    """The node of the source model that each operation was made for, by the operation's name."""


def lower(source: Source, minimum: str, wishes: Wishes) -> Lowered:
    """The MIL program of a model, with every node that can't be expressed, all at once."""
    mil = part("converters.mil.mil")
    mil.Builder.name_count.clear()  # names that the builder makes up start afresh, so that bytes are the same twice
    g = Emission(minimum)
    if wishes.labels is not None:
        g.reserve(CLASS, SCORES)
    inputs = tuple(features(g, source, wishes))
    symbols = {size: mil.get_new_symbol() for each in inputs for size in each.shape if isinstance(size, str)}
    program = mil.Program()
    release = getattr(coremltools().target, f"iOS{minimum[3:]}")
    with mil.Function(placeholders(inputs, symbols), opset_version=release) as function:
        given = {each.source: held(g, function.inputs[each.name], each, source, wishes) for each in inputs}
        names = {name: g.name(name) for name in source.outputs}
        values, findings = walk(g, source, given)
        outputs: tuple[Feature, ...] = ()
        if not findings:
            outputs = _finished(g, function, source, values, _Ends(inputs, names, symbols, wishes))
    program.add_function("main", function)
    labels = wishes.labels
    if labels is not None and not findings:
        labels = labels._replace(output=names[labels.output])
    return Lowered(program, inputs, outputs, findings, tuple(notes_on(source, inputs, outputs)), labels, g.origins)


class _Ends(NamedTuple):
    """What is known of the borders when the walk has come to its end."""

    inputs: tuple[Feature, ...]
    names: dict[str, str]
    symbols: dict[str, Any]
    wishes: Wishes


def _finished(
    g: Emission,
    function: Any,  # noqa: ANN401 - MIL's
    source: Source,
    values: dict[str, Value],
    ends: _Ends,
) -> tuple[Feature, ...]:
    """The outputs, set in the function; what states are next is written."""
    states = {ends.wishes.states[each.source]: each for each in ends.inputs if each.is_state}
    labels = ends.wishes.labels
    found: list[Feature] = []
    variables: list[Any] = []
    for name in source.outputs:
        if name in states:
            state = states[name]
            if values[name].shape != state.shape:
                raise UnsupportedError(f"output '{name}' has not the shape of the state '{state.source}'")
            remember(g, function.inputs[state.name], values[name], state)
            found.append(state._replace(source=name))
            continue
        var = given_out(g, values[name], ends.names[name], variables)
        feature = Feature(name, var.name, g.kind(var), named(var.shape, ends.symbols, name))
        if labels is not None and name == labels.output:
            check_labels(feature, labels)
            feature = feature._replace(name=SCORES)
        found.append(feature)
        variables.append(var)
    if not variables:
        raise UnsupportedError("every output is a state: expected one that is given out")
    function.set_outputs(variables)
    return tuple(found)


def walk(g: Emission, source: Source, given: dict[str, Value]) -> tuple[dict[str, Value], list[Finding]]:
    """Every value of the source by its name, made of the inputs that are given; and what could not be made."""
    values = given | {name: g.constant(array) for name, array in source.constants.items()}
    findings: list[Finding] = []
    unknown: set[str] = set()
    for node in source.nodes:
        made: dict[str, Value] = {}
        try:
            if unknown.intersection(node.inputs):
                REGISTRY.emitter(node.qualified, node.version)
            else:
                made = _emit(g, node, values, source)
        except UnsupportedError as error:
            findings.append(Finding(node=node.label, operator=node.qualified, reason=str(error), hint=error.hint))
        unknown.update(name for name in node.outputs if name and name not in made)
        values.update(made)
    return values, findings


def _emit(g: Emission, node: Node, values: dict[str, Value], source: Source) -> dict[str, Value]:
    inputs = [values[name] if name else None for name in node.inputs]
    constants = {name: values[name].constant for name in node.inputs if name}
    if constants and is_computable(node.proto) and all(array is not None for array in constants.values()):
        known = {name: array for name, array in constants.items() if array is not None}
        results = evaluated([node.proto], source.opsets, known, [name for name in node.outputs if name])
        return {name: g.constant(array) for name, array in results.items()}
    emit = REGISTRY.emitter(node.qualified, node.version)
    g.begin(node.label, next(filter(None, node.outputs), node.label))
    try:
        result = emit(g, node, *inputs)
    except (IndexError, KeyError, ValueError) as error:
        # Shapes, ranks or attributes that the operator's specification does not allow.
        raise UnsupportedError(f"its inputs or attributes do not fit together: {error}") from error
    outputs = (result,) if isinstance(result, Value) else tuple(result)
    made = {name: value for name, value in zip(node.outputs, outputs, strict=False) if name}
    missing = [name for name in node.outputs if name and name not in made]
    if missing:
        raise UnsupportedError(f"its output '{missing[0]}' can't be computed")
    for name, value in made.items():
        _check(name, value, source.types.get(name))
    return made


def _check(name: str, value: Value, expected: Type | None) -> None:
    if expected is None:
        return
    same = len(value.sizes) == len(expected.shape) and all(
        have in {None, want} for have, want in zip(value.sizes, expected.shape, strict=True)
    )
    if not same or value.dtype != expected.dtype:
        raise UnsupportedError(
            f"'{name}' came out as {value.dtype}{list(value.sizes)}: expected {expected.dtype}{list(expected.shape)}"
        )
