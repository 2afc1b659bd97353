"""The walk over the source model: each node to its function, all that can't be taken gathered."""

from __future__ import annotations

import re
from typing import TYPE_CHECKING, Any, NamedTuple

import numpy as np

from targets._source.folding import evaluated, is_computable
from targets._source.model import Type
from targets._target import Finding
from targets.coreml._coremltools import coremltools, part
from targets.coreml._emission import MIL_TYPES, RANK_LIMIT, Emission, Value
from targets.coreml._registry import REGISTRY, UnsupportedError

if TYPE_CHECKING:
    from collections.abc import Iterable, Mapping

    from targets._source.model import FreeType, Node, Source
    from targets._source.shape import Shape
    from targets.coreml._pictures import Labels, Picture

CLASS = "classLabel"
SCORES = "classLabel_probs"
"""The outputs of a classifier: the label of the largest score, and the scores by label."""


class Feature(NamedTuple):
    """One input or output of the program, under the name and in the type that Core ML takes."""

    source: str
    """Its name in the source model."""
    name: str
    dtype: np.dtype[Any]
    shape: tuple[int | str, ...]
    """A name for a dimension that is free."""
    picture: Picture | None = None
    stands_for: tuple[np.dtype[Any], tuple[int | str, ...]] | None = None
    """Of a picture: the source's element type and shape."""

    def sizes(self, free: Mapping[str, int]) -> Shape:
        """The shape, with a number for each free dimension."""
        return tuple(free[size] if isinstance(size, str) else size for size in self.shape)


class Lowered(NamedTuple):
    """What the walk made, and what it could not make; the program is whole only if there are no findings."""

    program: Any
    inputs: tuple[Feature, ...]
    outputs: tuple[Feature, ...]
    findings: list[Finding]
    notes: tuple[str, ...]
    labels: Labels | None
    """Of the output that is to be a classifier's, called as in the program."""
    origins: dict[str, str]
    """The node of the source model that each operation was made for, by the operation's name."""


def lower(source: Source, minimum: str, pictures: Mapping[str, Picture], labels: Labels | None) -> Lowered:
    """The MIL program of a model, with every node that can't be expressed, all at once."""
    mil = part("converters.mil.mil")
    mil.Builder.name_count.clear()  # names that the builder makes up start afresh, so that bytes are the same twice
    g = Emission(minimum)
    inputs = tuple(_features(g, source, pictures))
    symbols = {size: mil.get_new_symbol() for each in inputs for size in each.shape if isinstance(size, str)}
    if labels is not None:
        g.name(CLASS), g.name(SCORES)  # taken
    names = {name: g.name(name) for name in source.outputs}
    placeholders = {
        feature.name: mil.Builder.placeholder(
            shape=[symbols[size] if isinstance(size, str) else size for size in feature.shape],
            dtype=mil.types.string_to_builtin(MIL_TYPES[feature.dtype.name]),
        )
        for feature in inputs
    }
    program = mil.Program()
    with mil.Function(placeholders, opset_version=getattr(coremltools().target, f"iOS{minimum[3:]}")) as function:
        kinds = source.types | source.free
        given = {each.source: _input(g, function.inputs[each.name], kinds[each.source]) for each in inputs}
        for name, picture in pictures.items():
            given[name] = _pixels(g, source, name, given[name].var, channels_last=picture.channels_last)
        values, findings = walk(g, source, given)
        outputs: list[Feature] = []
        if not findings:
            variables: list[Any] = []
            for name in source.outputs:
                var = _output(g, values[name], names[name], variables)
                outputs.append(Feature(name, var.name, g.kind(var), _named(var.shape, symbols)))
                variables.append(var)
            function.set_outputs(variables)
    program.add_function("main", function)
    plain = tuple(feature for feature in inputs if feature.source not in pictures)
    notes = tuple(_notes(source, plain, tuple(outputs)))
    if labels is not None and not findings:
        place = next(at for at, feature in enumerate(outputs) if feature.source == labels.output)
        _check_labels(outputs[place], labels)
        labels = labels._replace(output=outputs[place].name)
        outputs[place] = outputs[place]._replace(name=SCORES)
    return Lowered(program, inputs, tuple(outputs), findings, notes, labels, g.origins)


def _check_labels(feature: Feature, labels: Labels) -> None:
    if feature.shape != (1, len(labels.names)) and feature.shape != (len(labels.names),):
        raise UnsupportedError(
            f"output '{feature.source}' of the shape {list(feature.shape)} can't be a classifier's: "
            f"expected one sample with a score for each of {len(labels.names)} labels",
            "leave targets.coreml.classifier out",
        )


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


def _pixels(g: Emission, source: Source, name: str, var: Any, *, channels_last: bool) -> Value:  # noqa: ANN401 - a MIL variable
    """The source's value of a picture, whose pixels are float32 with channels first in the program."""
    value = Value(np.dtype(np.float32), var)
    if channels_last:
        value = g.transpose(value, (0, 2, 3, 1))
    dtype = source.types[name].dtype
    readers = [node for node in source.nodes if name in node.inputs]
    if dtype.kind != "f" and all(node.operator == "Cast" for node in readers):
        return Value(dtype, value.var)  # the cast finds its float32 made already
    return Value(dtype, g.cast(value, dtype if dtype.kind != "f" else np.float32).var)


def _features(g: Emission, source: Source, pictures: Mapping[str, Picture]) -> Iterable[Feature]:
    """The inputs as Core ML takes them: float32, float16 or int32, of one axis at least; none without elements."""
    for name in source.inputs:
        kind = source.types.get(name)
        dtype, shape = (kind.dtype, kind.shape) if kind else (source.free[name].dtype, source.free[name].sizes)
        if 0 in shape:
            continue
        if len(shape) > RANK_LIMIT:
            raise UnsupportedError(f"input '{name}' has rank {len(shape)}: Core ML takes at most {RANK_LIMIT}")
        if name in pictures:
            plane = (shape[0], shape[3], shape[1], shape[2]) if pictures[name].channels_last else shape
            yield Feature(name, g.name(name), np.dtype(np.float32), plane, pictures[name], (dtype, shape))
        else:
            yield Feature(name, g.name(name), _border(g, dtype), shape or (1,))


def _named(sizes: Iterable[Any], symbols: Mapping[str, Any]) -> tuple[int | str, ...]:
    """A shape of MIL with the source's names for its symbols."""
    names = {str(symbol): name for name, symbol in symbols.items()}
    return tuple(
        int(size)
        if isinstance(size, int | np.integer)
        else re.sub(r"is\d+", lambda m: names.get(m[0], m[0]), str(size))
        for size in sizes
    )


def _border(g: Emission, dtype: np.dtype[Any]) -> np.dtype[Any]:
    """The element type at the model's border for one of the source."""
    if dtype == np.float16 and g.has("ios16"):
        return dtype
    if dtype.kind == "f":
        return np.dtype(np.float32)
    if dtype.kind not in "iub":
        raise UnsupportedError(f"Core ML has no tensors of {dtype.name}")
    return np.dtype(np.int32)


def _input(g: Emission, var: Any, kind: Type | FreeType) -> Value:  # noqa: ANN401 - a MIL variable
    """The source's value that an input holds."""
    value = g.made(var)
    if isinstance(kind, Type) and not kind.shape:
        value = g.op("squeeze", x=value)
    if kind.dtype == np.bool_:
        return g.cast(value, np.bool_)
    return Value(
        kind.dtype,
        g.cast(Value(np.dtype(np.float64), value.var), np.float32).var if kind.dtype == np.float16 else value.var,
    )


def _output(g: Emission, value: Value, name: str, taken: list[Any]) -> Any:  # noqa: ANN401 - likewise
    """A variable that is nothing but this output, in an element type that Core ML gives out."""
    g.begin(name, name)
    builder = part("converters.mil.mil").Builder
    var = g.variable(value)
    wanted = _border(g, value.dtype)
    if g.kind(var) != wanted:
        var = builder.cast(x=var, dtype=MIL_TYPES[wanted.name], name=g.name(f"{name}_cast"))
    if var.op is None or var.op.op_type == "const" or any(var is other for other in taken):
        var = builder.identity(x=var, name=g.name(f"{name}_identity"))
    var.name = name
    return var


def _notes(source: Source, inputs: tuple[Feature, ...], outputs: tuple[Feature, ...]) -> list[str]:
    notes = []
    for feature in (*inputs, *outputs):
        kind = source.types.get(feature.source)
        if feature.name != feature.source:
            notes.append(f"'{feature.source}' is called '{feature.name}' in the package: Core ML takes identifiers")
        if kind is not None and kind.dtype != feature.dtype:
            notes.append(f"'{feature.source}' is {feature.dtype.name} instead of {kind.dtype.name}")
        if kind is not None and kind.shape != feature.shape:
            notes.append(f"'{feature.source}' has the shape {list(feature.shape)} instead of {list(kind.shape)}")
    inner = {kind.dtype.name for kind in source.types.values()}
    if "int64" in inner:
        notes.append("int64 is computed as int32; constants were checked to fit, and inputs must")
    if "float64" in inner:
        notes.append("float64 is computed as float32")
    return notes
