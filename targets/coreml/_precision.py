"""Which operations can't be computed in float16, found by evaluating the program in both precisions."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, NamedTuple

import numpy as np

from targets.coreml.evaluator._program import Name

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Mapping, Sequence

    from numpy.typing import NDArray

    from targets.coreml._border import Feature
    from targets.coreml._pictures import Picture
    from targets.coreml.evaluator import Program

    Tensors = Mapping[str, NDArray[np.generic]]

LARGEST = float(np.finfo(np.float16).max) / 2
"""What a value may reach: other inputs than those tried may be twice as large."""
_SAMPLES = 4
_GROWTH, _NOTICEABLE = 4.0, 5e-3
"""An operation is to blame for an error that is so many times that of what it read, and so large itself."""
_GRAINS = 32
"""How finely an end of the program that stays in float32 is searched for."""
_SUFFIX = "_cast_fp16"
"""What coremltools appends to the name of a value that it computes in float16."""


class Exact(NamedTuple):
    """What the program in float32 gave for some samples."""

    samples: list[dict[str, NDArray[np.generic]]]
    values: dict[str, NDArray[np.floating[Any]]]
    """Every float on the way, for the first sample; of a value in a loop the last."""
    outputs: list[dict[str, NDArray[np.generic]]]
    large: dict[str, float]
    """The largest finite size of each value, in all samples."""


def samples(
    inputs: Sequence[Feature], defaults: Mapping[str, int], calibration: Tensors | None
) -> list[dict[str, NDArray[np.generic]]]:
    """Calls of the program: calibration data, or where there is none, noise and small integers, the same each time.

    Free dimensions have their `defaults`.
    """
    shapes = {feature.name: feature.sizes(defaults) for feature in inputs}
    if calibration is not None and all(feature.source in calibration for feature in inputs):
        return _of_data(inputs, shapes, calibration)
    calls: list[dict[str, NDArray[np.generic]]] = []
    for seed in range(_SAMPLES):
        random = np.random.default_rng(seed)
        call: dict[str, NDArray[np.generic]] = {}
        for feature in inputs:
            shape = shapes[feature.name]
            if feature.picture is not None:
                call[feature.name] = random.integers(0, 256, shape).astype(feature.dtype)
            elif feature.dtype.kind == "f":
                noise = random.standard_normal(shape) if seed % 2 else random.random(shape)
                call[feature.name] = noise.astype(feature.dtype)
            else:
                call[feature.name] = random.integers(0, 2, shape).astype(feature.dtype)
        calls.append(call)
    return calls


def _of_data(
    inputs: Sequence[Feature], shapes: Mapping[str, tuple[int, ...]], data: Tensors
) -> list[dict[str, NDArray[np.generic]]]:
    data = {feature.source: channels_first(data[feature.source], feature.picture) for feature in inputs}
    rows = {name: shape[0] for name, shape in shapes.items()}
    count = min(len(data[feature.source]) // rows[feature.name] for feature in inputs)
    return [
        {
            feature.name: data[feature.source][place * rows[feature.name] : (place + 1) * rows[feature.name]]
            .astype(feature.dtype)
            .reshape(shapes[feature.name])
            for feature in inputs
        }
        for place in range(min(count, _SAMPLES))
    ]


def channels_first(array: NDArray[np.generic], picture: Picture | None) -> NDArray[np.generic]:
    """Pictures as the program takes them, other arrays as they are."""
    return array.transpose(0, 3, 1, 2) if picture is not None and picture.channels_last else array


def exact(program: Program, calls: list[dict[str, NDArray[np.generic]]]) -> Exact:
    """What the program, which is in float32, computes of the samples."""
    found = Exact(calls, {}, [], {})
    for place, call in enumerate(calls):

        def observe(name: str, operator: str, value: object, *, first: bool = not place) -> None:
            del operator
            if not isinstance(value, np.ndarray) or value.dtype.kind != "f":
                return
            if first:
                found.values[name] = value
            finite = value[np.isfinite(value)]
            if finite.size:
                found.large[name] = max(found.large.get(name, 0.0), float(np.abs(finite).max()))

        found.outputs.append(program.predict(call, observe=observe))
    return found


def too_large(program: Program, found: Exact) -> set[str]:
    """The operations that read or make a value which float16 can't hold, by name."""
    beyond = {name for name, size in found.large.items() if size > LARGEST}
    blamed = set()
    for operation in program.operations():
        made = {each.name for each in operation.outputs}
        read = {each.value for values in operation.arguments.values() for each in values if isinstance(each, Name)}
        if operation.operator != "const" and (beyond & (made | read)):
            blamed.add(operation.name)
    return blamed


def error(found: Exact, half: Program) -> float:
    """The root mean square of an output's difference in float16, over that of the output; of the worst output."""
    got = [half.predict(call) for call in found.samples]
    return max(
        (
            _relative(np.stack([call[name] for call in got]), np.stack([call[name] for call in found.outputs]))
            for name in found.outputs[0]
            if found.outputs[0][name].dtype.kind == "f"
        ),
        default=0.0,
    )


def diverging(found: Exact, half: Program) -> set[str]:
    """The operations in float16 that made an error grow, by the names that they have in float32."""
    values: dict[str, NDArray[np.generic]] = {}

    def observe(name: str, operator: str, value: object) -> None:
        del operator
        if isinstance(value, np.ndarray):
            values[name] = value

    half.predict(found.samples[0], observe=observe)
    errors = {name: _relative(value, found.values.get(name.removesuffix(_SUFFIX))) for name, value in values.items()}
    blamed = set()
    for operation in half.operations():
        made = _worst(errors, (each.name for each in operation.outputs))
        read = _worst(
            errors, (each.value for group in operation.arguments.values() for each in group if isinstance(each, Name))
        )
        if made > max(_NOTICEABLE, _GROWTH * read) and operation.operator not in {"const", "cast"}:
            blamed.add(operation.name.removesuffix(_SUFFIX))
    return blamed


def upstream(program: Program, names: set[str]) -> set[str]:
    """The operations that those of these names depend on, themselves included."""
    operations = [each for each in program.operations() if each.operator != "const"]
    maker = {output.name: each for each in operations for output in each.outputs}
    found: set[str] = set()
    left = [each for each in operations if each.name in names]
    while left:
        operation = left.pop()
        if operation.name in found:
            continue
        found.add(operation.name)
        read = {each.value for group in operation.arguments.values() for each in group if isinstance(each, Name)}
        left += [maker[name] for name in read if name in maker]
    return found


def computed(program: Program) -> list[str]:
    """The operations of a program by name, in order, but for constants."""
    return [each.name for each in program.operations() if each.operator != "const"]


def least_end(names: Sequence[str], suffices: Callable[[set[str]], bool]) -> set[str] | None:
    """The fewer of the first names and the last ones, of which just so many suffice; None: less than all do not.

    What float16 loses bit by bit has no single culprit, but mostly matters more at one end: where small differences
    of the inputs count, or where the outputs come together.
    """
    grain = max(1, len(names) // _GRAINS)
    found: list[set[str]] = []
    for order in (names, names[::-1]):
        enough, few = len(order), 0
        while enough - few > grain:
            middle = (few + enough) // 2
            if suffices(set(order[:middle])):
                enough = middle
            else:
                few = middle
        if enough < len(order):
            found.append(set(order[:enough]))
    return min(found, key=len, default=None)


def _worst(errors: Mapping[str, float], names: Iterable[str]) -> float:
    return max((errors.get(name, 0.0) for name in names), default=0.0)


def _relative(got: NDArray[np.generic], expected: NDArray[np.generic] | None) -> float:
    """The root mean square of the difference, over that of what is expected."""
    if expected is None or got.dtype.kind != "f" or got.shape != expected.shape:
        return 0.0
    wanted = expected.astype(np.float64)
    with np.errstate(all="ignore"):
        difference = np.where(got == expected, 0.0, got.astype(np.float64) - wanted)
        size = float(np.sqrt(np.mean(np.square(wanted[np.isfinite(wanted)])))) if np.isfinite(wanted).any() else 0.0
        apart = float(np.sqrt(np.mean(np.square(difference))))
    if not np.isfinite(apart):
        return np.inf
    return apart / size if size else apart
