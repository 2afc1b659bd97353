"""The borders of the program: the source's inputs and outputs as Core ML takes and gives them."""

from __future__ import annotations

import re
from typing import TYPE_CHECKING, Any, NamedTuple

import numpy as np

from targets._source.model import Type
from targets.coreml._coremltools import part
from targets.coreml._emission import MIL_TYPES, RANK_LIMIT, Value
from targets.coreml._registry import UnsupportedError

if TYPE_CHECKING:
    from collections.abc import Iterable, Mapping

    from targets._source.model import FreeType, Source
    from targets._source.shape import Shape
    from targets.coreml._emission import Emission
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
    is_state: bool = False
    stands_for: tuple[np.dtype[Any], tuple[int | str, ...]] | None = None
    """Of a picture: the source's element type and shape."""

    def sizes(self, free: Mapping[str, int]) -> Shape:
        """The shape, with a number for each free dimension."""
        return tuple(free[size] if isinstance(size, str) else size for size in self.shape)


class Wishes(NamedTuple):
    """What the options make of some inputs and outputs."""

    pictures: Mapping[str, Picture]
    labels: Labels | None
    states: Mapping[str, str]
    """Inputs that the program remembers, each with the output that it is next."""


def check_labels(feature: Feature, labels: Labels) -> None:
    if feature.shape != (1, len(labels.names)) and feature.shape != (len(labels.names),):
        raise UnsupportedError(
            f"output '{feature.source}' of the shape {list(feature.shape)} can't be a classifier's: "
            f"expected one sample with a score for each of {len(labels.names)} labels",
            "leave targets.coreml.classifier out",
        )


def pixels(g: Emission, source: Source, name: str, var: Any, *, channels_last: bool) -> Value:  # noqa: ANN401 - a MIL variable
    """The source's value of a picture, whose pixels are float32 with channels first in the program."""
    value = Value(np.dtype(np.float32), var)
    if channels_last:
        value = g.transpose(value, (0, 2, 3, 1))
    dtype = source.types[name].dtype
    readers = [node for node in source.nodes if name in node.inputs]
    if dtype.kind != "f" and all(node.operator == "Cast" for node in readers):
        return Value(dtype, value.var)  # the cast finds its float32 made already
    return Value(dtype, g.cast(value, dtype if dtype.kind != "f" else np.float32).var)


def features(g: Emission, source: Source, wishes: Wishes) -> Iterable[Feature]:
    """The inputs as Core ML takes them: float32, float16 or int32, of one axis at least; none without elements."""
    for name in source.inputs:
        kind = source.types.get(name)
        dtype, shape = (kind.dtype, kind.shape) if kind else (source.free[name].dtype, source.free[name].sizes)
        if 0 in shape:
            continue
        if len(shape) > RANK_LIMIT:
            raise UnsupportedError(f"input '{name}' has rank {len(shape)}: Core ML takes at most {RANK_LIMIT}")
        picture = wishes.pictures.get(name)
        if picture is not None:
            plane = (shape[0], shape[3], shape[1], shape[2]) if picture.channels_last else shape
            yield Feature(name, g.name(name), np.dtype(np.float32), plane, picture, stands_for=(dtype, shape))
        elif name in wishes.states:
            if dtype.kind != "f" or kind is None or not shape:
                raise UnsupportedError(f"input '{name}' can't be a state: expected a float tensor of a fixed shape")
            yield Feature(name, g.name(name), np.dtype(np.float16), shape, is_state=True)
        else:
            yield Feature(name, g.name(name), _border(g, dtype), shape or (1,))


def named(sizes: Iterable[Any], symbols: Mapping[str, Any], output: str) -> tuple[int | str, ...]:
    """A shape of MIL with the source's names for its symbols; others are named after the output and its axis."""
    names = {str(symbol): name for name, symbol in symbols.items()}
    found: list[int | str] = []
    for axis, size in enumerate(sizes):
        if isinstance(size, int | np.integer):
            found.append(int(size))
            continue
        parts = re.split(r"(is\d+)", str(size))
        own = f"{output}_{axis}"
        found.append("".join(names.get(part, own if re.fullmatch(r"is\d+", part) else part) for part in parts))
    return tuple(found)


def _border(g: Emission, dtype: np.dtype[Any]) -> np.dtype[Any]:
    """The element type at the model's border for one of the source."""
    if dtype == np.float16 and g.has("ios16"):
        return dtype
    if dtype.kind == "f":
        return np.dtype(np.float32)
    if dtype.kind not in "iub":
        raise UnsupportedError(f"Core ML has no tensors of {dtype.name}")
    return np.dtype(np.int32)


def placeholders(inputs: Iterable[Feature], symbols: Mapping[str, Any]) -> dict[str, Any]:
    """MIL's declarations of the inputs."""
    mil = part("converters.mil.mil")
    found = {}
    for feature in inputs:
        shape = [symbols[size] if isinstance(size, str) else size for size in feature.shape]
        dtype = mil.types.string_to_builtin(MIL_TYPES[feature.dtype.name])
        make = mil.Builder.state_tensor_placeholder if feature.is_state else mil.Builder.placeholder
        found[feature.name] = make(shape, dtype)
    return found


def held(g: Emission, var: Any, feature: Feature, source: Source, wishes: Wishes) -> Value:  # noqa: ANN401 - a MIL variable
    """The source's value that an input holds."""
    kind: Type | FreeType = source.types.get(feature.source) or source.free[feature.source]
    if feature.is_state:
        var = part("converters.mil.mil").Builder.read_state(input=var, name=g.name(f"{feature.name}_read"))
    picture = wishes.pictures.get(feature.source)
    if picture is not None:
        return pixels(g, source, feature.source, var, channels_last=picture.channels_last)
    value = g.made(var)
    if isinstance(kind, Type) and not kind.shape:
        value = g.op("squeeze", x=value)
    if kind.dtype == np.bool_:
        return g.cast(value, np.bool_)
    if g.kind(value.var) == np.float16:
        return Value(kind.dtype, g.cast(Value(np.dtype(np.float64), value.var), np.float32).var)
    return Value(kind.dtype, value.var)


def remember(g: Emission, state: Any, value: Value, feature: Feature) -> None:  # noqa: ANN401 - a MIL variable
    """Write what a state is next."""
    g.begin(feature.name, feature.name)
    builder = part("converters.mil.mil").Builder
    var = builder.cast(x=g.variable(value), dtype="fp16", name=g.name(f"{feature.name}_next"))
    builder.coreml_update_state(state=state, value=var, name=g.name(f"{feature.name}_update"))


def given_out(g: Emission, value: Value, name: str, taken: list[Any]) -> Any:  # noqa: ANN401 - likewise
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


def notes_on(source: Source, inputs: tuple[Feature, ...], outputs: tuple[Feature, ...]) -> list[str]:
    notes = []
    for feature in (*inputs, *outputs):
        if feature.picture is not None:
            continue
        kind = source.types.get(feature.source)
        if feature.is_state:
            notes.append(
                f"'{feature.source}' is the state '{feature.name}': the package remembers it from call to call"
            )
        elif feature.name != feature.source:
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
