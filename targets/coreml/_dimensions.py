"""Free dimensions of a model: a number, a range or a choice for each, as the options say it."""

from __future__ import annotations

import re
from itertools import product
from typing import TYPE_CHECKING, Any, NamedTuple

import onnx

from targets._target import TargetError

if TYPE_CHECKING:
    from collections.abc import Iterable, Mapping

    from targets.coreml._border import Feature

EVERY = "*"
"""The name that stands for all dimensions without an entry of their own."""
_RANGE = re.compile(r"(\d+)\s*\.\.\s*(\d*)")
_MOST_SHAPES = 128
"""Core ML's limit for shapes that are listed one by one."""


class Freedom(NamedTuple):
    """What a dimension may be: a range, or one of some sizes."""

    least: int
    most: int
    """-1 where there is no bound."""
    choices: tuple[int, ...] = ()

    @property
    def default(self) -> int:
        """The size in the model's description, and the one that is tried first."""
        return self.choices[0] if self.choices else self.least


def parsed(dimensions: Mapping[str, int | str]) -> dict[str, int | Freedom]:
    """The options' entries: ``8``, ``"1..8"``, ``"1.."`` or ``"1, 2, 4"``.

    Raises:
        TargetError: an entry is none of these.
    """
    return {name: _entry(name, value) for name, value in dimensions.items()}


def _entry(name: str, value: int | str) -> int | Freedom:
    text = str(value).strip()
    found = _RANGE.fullmatch(text)
    if found:
        least, most = int(found[1]), int(found[2]) if found[2] else -1
        if least >= 1 and (most == -1 or most > least):
            return Freedom(least, most)
    elif re.fullmatch(r"\d+(\s*,\s*\d+)*", text):
        sizes = tuple(dict.fromkeys(int(part) for part in text.split(",")))
        if min(sizes) >= 1:
            return sizes[0] if len(sizes) == 1 else Freedom(min(sizes), max(sizes), sizes)
    raise TargetError(
        "coreml.dimensions",
        f"'targets.coreml.dimensions.{name}' can't be read: expected a size, a range as '1..8' or choices as '1, 2', "
        f"got '{value}'",
    )


def is_flexible(dimensions: Mapping[str, int | str]) -> bool:
    """Whether some dimension stays free."""
    return any(isinstance(entry, Freedom) for entry in parsed(dimensions).values())


def bound(model: onnx.ModelProto, dimensions: Mapping[str, int | str], batch: int) -> onnx.ModelProto:
    """A copy of the model in which each free dimension of an input that the options fix is a number."""
    entries = parsed(dimensions)
    copy = onnx.ModelProto()
    copy.CopyFrom(model)
    constants = {entry.name for entry in copy.graph.initializer}
    for entry in copy.graph.input:
        if entry.name in constants:
            continue
        for axis, size in enumerate(entry.type.tensor_type.shape.dim):
            if size.HasField("dim_value") and size.dim_value >= 0:
                continue
            name = size.dim_param or f"{entry.name}_{axis}"
            wanted = entries.get(name, entries.get(EVERY, batch))
            if isinstance(wanted, int):
                size.dim_value = wanted
            else:
                size.dim_param = name
    del copy.graph.value_info[:]
    for entry in copy.graph.output:
        for size in entry.type.tensor_type.shape.dim:
            if not size.HasField("dim_value") or size.dim_value < 0:
                size.Clear()
    return copy


def freedoms(features: Iterable[Feature], dimensions: Mapping[str, int | str]) -> dict[str, Freedom]:
    """What each named dimension of the inputs may be."""
    entries = parsed(dimensions)
    found: dict[str, Freedom] = {}
    for feature in features:
        for size in feature.shape:
            entry = entries.get(str(size), entries.get(EVERY))
            if isinstance(size, str) and isinstance(entry, Freedom):
                found[size] = entry
    return found


def describe(model: Any, features: Iterable[Feature], free: Mapping[str, Freedom]) -> None:  # noqa: ANN401 - a protobuf message
    """Write into the model's description what shapes its inputs may have.

    Raises:
        TargetError: there are more than Core ML takes.
    """
    described = {entry.name: entry for entry in model.description.input}
    for feature in features:
        names = [size for size in dict.fromkeys(feature.shape) if isinstance(size, str)]
        if not names:
            continue
        array = described[feature.name].type.multiArrayType
        del array.shape[:]
        array.ClearField("shapeRange")
        array.ClearField("enumeratedShapes")
        array.shape.extend(feature.sizes({name: entry.default for name, entry in free.items()}))
        if all(free[name].choices for name in names):
            combinations = list(product(*(free[name].choices for name in names)))
            if len(combinations) > _MOST_SHAPES:
                raise TargetError(
                    "coreml.dimensions",
                    f"input '{feature.source}' may have {len(combinations)} shapes: expected at most {_MOST_SHAPES}",
                    hint="give ranges instead of choices",
                )
            for chosen in combinations:
                shape = feature.sizes(dict(zip(names, chosen, strict=True)))
                array.enumeratedShapes.shapes.add().shape.extend(shape)
            continue
        for size in feature.shape:
            each = array.shapeRange.sizeRanges.add()
            entry = free[size] if isinstance(size, str) else Freedom(size, size)
            each.lowerBound, each.upperBound = entry.least, entry.most
