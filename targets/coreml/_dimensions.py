"""Free dimensions of a model: a number, a range or a choice for each, as the options say it."""

from __future__ import annotations

import re
from itertools import product
from typing import TYPE_CHECKING, Any, NamedTuple

import onnx

from targets._target import TargetError

if TYPE_CHECKING:
    from collections.abc import Iterable, Mapping, Sequence

    from targets.coreml._border import Feature

EVERY = "*"
"""The name that stands for all dimensions without an entry of their own."""
_RANGE = re.compile(r"(\d+)\s*\.\.\s*(\d*)")
_USUAL = 8
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


def with_maximum(dimensions: Mapping[str, int | str], maximum: Mapping[str, int]) -> dict[str, int | str]:
    """The options' entries, no range beyond what the model declares as the largest size of a dimension.

    Raises:
        TargetError: a size, or the start of a range, is larger than that.
    """
    found = dict(dimensions)
    for name, largest in maximum.items():
        value = dimensions.get(name, dimensions.get(EVERY))
        entry = None if value is None else _entry(name, value)
        if entry is None:
            continue
        least = entry if isinstance(entry, int) else entry.least
        most = entry if isinstance(entry, int) else entry.most
        if least > largest or (isinstance(entry, Freedom) and entry.choices and most > largest):
            raise TargetError(
                "coreml.dimensions",
                f"'targets.coreml.dimensions.{name}' is larger than the model declares: expected at most {largest}, "
                f"got '{value}'",
            )
        if isinstance(entry, Freedom) and not entry.choices and (most < 0 or most > largest):
            found[name] = f"{least}..{largest}" if least < largest else largest
    return found


def usual(dimensions: Mapping[str, int | str]) -> dict[str, int]:
    """One size that each entry allows: the number, the first choice, or 8 if the range has it and else its end."""
    found = {}
    for name, entry in parsed(dimensions).items():
        if isinstance(entry, int):
            found[name] = entry
        elif entry.choices:
            found[name] = entry.default
        else:
            found[name] = max(entry.least, _USUAL if entry.most < 0 else min(_USUAL, entry.most))
    return found


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


def describe(description: Any, features: Sequence[Feature], free: Mapping[str, Freedom], minimum: str) -> None:  # noqa: ANN401 - a protobuf message
    """Write into the description of a model, or of one of its functions, what shapes its inputs may have.

    Raises:
        TargetError: there are more than Core ML takes, or more inputs whose shapes are listed.
    """
    described = {entry.name: entry for entry in description.input}
    listed = [each for each in features if _free(each) and all(free[name].choices for name in _free(each))]
    if len(listed) > 1 and minimum != "ios18":
        raise TargetError(
            "coreml.dimensions",
            f"{len(listed)} inputs have choices: expected at most 1 for {minimum}",
            hint='give ranges instead of choices, or set targets.coreml.minimum = "ios18"',
        )
    # The shapes of several inputs go together by their places in the lists.
    together = tuple(dict.fromkeys(name for each in listed for name in _free(each)))
    for feature in features:
        if not _free(feature):
            continue
        array = described[feature.name].type.multiArrayType
        del array.shape[:]
        array.ClearField("shapeRange")
        array.ClearField("enumeratedShapes")
        array.shape.extend(feature.sizes({name: entry.default for name, entry in free.items()}))
        if feature in listed:
            combinations = list(product(*(free[name].choices for name in together)))
            if len(combinations) > _MOST_SHAPES:
                raise TargetError(
                    "coreml.dimensions",
                    f"input '{feature.source}' may have {len(combinations)} shapes: expected at most {_MOST_SHAPES}",
                    hint="give ranges instead of choices",
                )
            for chosen in combinations:
                shape = feature.sizes(dict(zip(together, chosen, strict=True)))
                array.enumeratedShapes.shapes.add().shape.extend(shape)
            continue
        for size in feature.shape:
            each = array.shapeRange.sizeRanges.add()
            entry = free[size] if isinstance(size, str) else Freedom(size, size)
            each.lowerBound, each.upperBound = entry.least, entry.most


def _free(feature: Feature) -> tuple[str, ...]:
    return tuple(dict.fromkeys(size for size in feature.shape if isinstance(size, str)))
