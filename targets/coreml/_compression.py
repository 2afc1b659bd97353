"""Weights stored in fewer bits, by coremltools' own passes; which ones, and in how many, the evaluator decides."""

from __future__ import annotations

import contextlib
import io
from typing import TYPE_CHECKING, Any, NamedTuple

import numpy as np

from targets._target import TargetError
from targets.coreml._coremltools import coremltools, part
from targets.coreml.evaluator._program import Name

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator, Mapping, Sequence

    from numpy.typing import NDArray

    from targets.coreml.evaluator import Program

    Array = NDArray[Any]
    Tensors = Mapping[str, NDArray[np.generic]]

_THRESHOLD = 2048
"""Elements of a weight above which compressing it is worth the trouble."""
_TAKERS = frozenset({"conv", "conv_transpose", "einsum", "gather", "gru", "linear", "lstm", "matmul", "rnn"})
"""Operators whose constants are weights."""
_LADDER = ("palettize-4", "palettize-6", "int8", "none")
"""What `auto` tries for each weight, the smallest first."""
_TURNS = 200
"""Steps of the search for a palette, which ends before when nothing moves any more."""
_LEVELS = 127
_PERCENT = 100
CLOSER = 0.8
"""How much less is aimed at, at least, after a choice turned out to be beyond the limit."""


class Method(NamedTuple):
    """How the weights of a program, or one of them, are stored."""

    kind: str
    """``none``, ``int8``, ``palettize``, ``prune`` or ``auto``."""
    amount: int = 0
    """Bits of a palette's index; for ``prune`` the share of weights that become zero, in percent."""


def parse(text: str) -> Method:
    """The method of that name.

    Raises:
        TargetError: there is none (``coreml.compress``).
    """
    kind, _, amount = text.partition("-")
    if text in {"none", "int8", "auto"}:
        return Method(text)
    if kind == "palettize" and amount in {"4", "6", "8"}:
        return Method(kind, int(amount))
    if kind == "prune" and amount.isdecimal() and 0 < int(amount) < _PERCENT:
        return Method(kind, int(amount))
    raise TargetError(
        "coreml.compress",
        f"compress = '{text}' is not known: expected none, int8, palettize-8, palettize-6, palettize-4, "
        "prune-N with N from 1 to 99, or auto",
    )


def check(text: str, minimum: str) -> Method:
    """The method of that name, which a release can read.

    Raises:
        TargetError: it is unknown, or `minimum` is too old for it (``coreml.compress``).
    """
    method = parse(text)
    if method.kind != "none" and minimum == "ios15":
        raise TargetError(
            "coreml.compress",
            f"compress = '{text}' needs iOS 16, since iOS 15 reads no compressed weights",
            hint='set minimum = "ios16" or later in [targets.coreml]',
        )
    return method


def compress(program: Any, methods: str | Mapping[str, str]) -> None:  # noqa: ANN401 - a MIL program
    """Store the weights of a MIL program compressed: all by one method, or each by its own, by the constant's name."""
    if isinstance(methods, str):
        methods = dict.fromkeys(_weights_of(program), methods) if methods != "none" else {}
    by_method: dict[str, list[str]] = {}
    for name, method in sorted(methods.items()):
        by_method.setdefault(method, []).append(name)
    for method, names in by_method.items():
        if method != "none":
            _apply(program, parse(method), names)


def _weights_of(program: Any) -> Iterator[str]:  # noqa: ANN401 - a MIL program
    """The constants that operations take as weights: others, such as the places of a grid, must stay what they are."""
    blocks = list(program.functions.values())
    while blocks:
        for operation in blocks.pop().operations:
            blocks += operation.blocks
            readers = operation.outputs[0].child_ops if operation.op_type == "const" else ()
            if readers and all(reader.op_type in _TAKERS for reader in readers):
                yield operation.name


def _apply(program: Any, method: Method, names: list[str]) -> None:  # noqa: ANN401 - a MIL program
    optimize = part("optimize.coreml")
    registry = part("converters.mil.mil.passes.pass_registry").PASS_REGISTRY
    match method.kind:
        case "int8":
            step = registry["compression::linear_quantize_weights"]
            own = optimize.OpLinearQuantizerConfig(mode="linear_symmetric", weight_threshold=_THRESHOLD)
        case "palettize":
            step = registry["compression::palettize_weights"]
            own = optimize.OpPalettizerConfig(
                mode="custom", lut_function=_palette_function(method.amount), weight_threshold=_THRESHOLD
            )
        case _:
            step = registry["compression::prune_weights"]
            own = optimize.OpMagnitudePrunerConfig(
                target_sparsity=method.amount / _PERCENT, weight_threshold=_THRESHOLD
            )
    config = optimize.OptimizationConfig(op_name_configs=dict.fromkeys(names, own))
    coremltools()
    with contextlib.redirect_stderr(io.StringIO()):  # its progress bar
        type(step)(config).apply(program)


def _palette_function(bits: int) -> Callable[[Array], tuple[Array, Array]]:
    def palette_of(weight: Array) -> tuple[Array, Array]:
        entries, places = palette(weight, bits)
        return entries, places.reshape(-1).astype(np.uint8)

    return palette_of


def palette(weight: Array, bits: int) -> tuple[Array, Array]:
    """The entries, and for each weight the place of its own, such that the squared differences are small.

    Lloyd's algorithm in one dimension: the same result for the same weights, always. It starts with entries as dense as
    the cube root of the weights, which is the best density for many of them (Panter and Dite, 1951).
    """
    values, places, counts = np.unique(weight.astype(np.float64), return_inverse=True, return_counts=True)
    size = 1 << bits
    if len(values) <= size:
        entries = np.concatenate([values, np.full(size - len(values), values[-1])])
        return entries.astype(weight.dtype), places.reshape(weight.shape)
    mass = np.concatenate([[0.0], np.cumsum(counts)])
    moment = np.concatenate([[0.0], np.cumsum(values * counts)])
    held, bounds = np.histogram(values, bins=size, weights=counts)
    dense = np.concatenate([[0.0], np.cumsum(np.cbrt(held))])
    edges = np.searchsorted(values, np.interp(np.arange(1, size) * dense[-1] / size, dense, bounds))
    for _ in range(_TURNS):
        borders = np.concatenate([[0], edges, [len(values)]])
        held = mass[borders[1:]] - mass[borders[:-1]]
        sums = moment[borders[1:]] - moment[borders[:-1]]
        # A group that lost all its members keeps the place where it stands.
        here = values[np.minimum(borders[:-1], len(values) - 1)]
        entries = np.where(held > 0, sums / np.maximum(held, 1), here)
        moved = np.searchsorted(values, (entries[1:] + entries[:-1]) / 2)
        if np.array_equal(moved, edges):
            break
        edges = moved
    groups = np.searchsorted(edges, np.arange(len(values)), side="right")
    return entries.astype(weight.dtype), groups[places].reshape(weight.shape)


def approximated(weight: Array, method: str) -> Array:
    """What a weight is after it was stored by that method and read back."""
    if method == "none":
        return weight
    if method == "int8":
        axes = tuple(range(1, weight.ndim))
        scale = np.abs(weight.astype(np.float32)).max(axis=axes, keepdims=True) / _LEVELS
        scale = np.where(scale > 0, scale, 1)
        return (np.round(weight / scale) * scale).astype(weight.dtype)
    entries, places = palette(weight, parse(method).amount)
    return entries[places]


def _stored_bytes(weight: Array, method: str) -> float:
    """How much of the file a weight takes."""
    match parse(method):
        case Method("none"):
            return float(weight.nbytes)
        case Method("int8"):
            return float(weight.size + weight.shape[0] * (weight.itemsize + 1))
        case Method("palettize", bits):
            return weight.size * bits / 8 + (1 << bits) * weight.itemsize
    raise ValueError(f"the size of '{method}' is not foreseen")


class _Step(NamedTuple):
    method: str
    size: float
    squared_error: float


def compressed(
    program: Program,
    build: Callable[[str | Mapping[str, str]], Program],
    method: str | Mapping[str, str],
    calls: Sequence[Tensors],
    limit: float,
) -> tuple[Program, float]:
    """The program built again with its weights compressed, and how far that moves an output.

    `method` is one of `Options.compress`, or says how each weight is stored, by its name. `build` writes and loads the
    package of what it is given: one method for all weights, or one for each by name.

    Raises:
        TargetError: an output moves by more than `limit` with a single method (``coreml.compress``).
    """
    expected = [program.predict(call) for call in calls]
    if method != "auto":
        smaller = build(method)
        error = output_error(smaller, calls, expected)
        if isinstance(method, str) and not error <= limit:
            raise TargetError(
                "coreml.compress",
                f"compress = '{method}' moves an output by {error:.2%}: expected at most {limit:.2%}",
                hint='store weights in more bits, or let compress = "auto" choose for each of them',
            )
        return smaller, error
    aimed = limit
    while True:
        methods = chosen(program, calls, aimed)
        smaller = build(methods)
        error = output_error(smaller, calls, expected)
        if error <= limit or set(methods.values()) <= {"none"}:
            return smaller, error
        # Errors of several layers did not add up as foreseen.
        aimed *= min(CLOSER, limit / error)


def chosen(program: Program, calls: Sequence[Tensors], limit: float) -> dict[str, str]:
    """A method for each weight, by the constant's name, such that the file is small and the error within `limit`.

    The error is the root mean square of the difference in an output, over that of the output, the worst of all outputs.
    Each weight's share of it is measured with the evaluator at the fewest bits; at more bits it shrinks as the weight's
    own error does, and the shares of several weights add up as squares. Who builds the package measures it again.
    """
    taken = _taken_as_weights(program)
    weights = {
        name: value
        for name, value in program.constants().items()
        if name in taken and value.dtype.kind == "f" and value.ndim > 1 and value.size > _THRESHOLD
    }
    expected = [program.predict(call) for call in calls]
    ladders: dict[str, list[_Step]] = {}
    for name, weight in weights.items():
        approximations = {method: approximated(weight, method) for method in _LADDER}
        apart = {method: _rms(each, weight) for method, each in approximations.items()}
        lowest = _LADDER[0]
        felt = output_error(program.with_constants({name: approximations[lowest]}), calls, expected)
        ladders[name] = [
            _Step(
                method,
                _stored_bytes(weight, method),
                (felt * apart[method] / apart[lowest]) ** 2 if apart[lowest] else 0.0,
            )
            for method in _LADDER
        ]
    return _within(ladders, limit**2)


def closest(choices: Sequence[Mapping[str, str]]) -> dict[str, str]:
    """For each weight, of what several functions chose for it, the method that stores it in the most bits."""
    names = sorted({name for each in choices for name in each})
    return {name: max((each[name] for each in choices if name in each), key=_LADDER.index) for name in names}


def _taken_as_weights(program: Program) -> set[str]:
    """The values that nothing but operations with weights read."""
    taken: set[str] = set()
    otherwise: set[str] = set()
    for operation in program.operations():
        read = {each.value for values in operation.arguments.values() for each in values if isinstance(each, Name)}
        (taken if operation.operator in _TAKERS else otherwise).update(read)
    return taken - otherwise


def _within(ladders: Mapping[str, Sequence[_Step]], squared_limit: float) -> dict[str, str]:
    """Climb where a byte buys the most, until the sum of the squares is within the limit."""
    at = dict.fromkeys(ladders, 0)
    while sum(ladders[name][place].squared_error for name, place in at.items()) > squared_limit:
        gains: list[tuple[float, str, int]] = []
        for name, place in at.items():
            here = ladders[name][place]
            for higher in range(place + 1, len(ladders[name])):
                there = ladders[name][higher]
                gain = (here.squared_error - there.squared_error) / max(1.0, there.size - here.size)
                gains.append((gain, name, higher))
        _, name, place = max(gains)
        at[name] = place
    return {name: ladders[name][place].method for name, place in at.items()}


def output_error(program: Program, calls: Sequence[Tensors], expected: Sequence[Tensors]) -> float:
    """The root mean square of the difference in an output, over that of the output; the worst of all float outputs."""
    got = [program.predict(call) for call in calls]
    worst = 0.0
    for name, first in expected[0].items():
        if first.dtype.kind != "f":
            continue
        have = np.stack([call[name].astype(np.float64) for call in got])
        want = np.stack([call[name].astype(np.float64) for call in expected])
        size = float(np.sqrt(np.mean(np.square(want))))
        apart = float(np.sqrt(np.mean(np.square(have - want))))
        worst = max(worst, apart / size if size else apart)
    return worst


def _rms(one: Array, other: Array) -> float:
    return float(np.sqrt(np.mean(np.square(one.astype(np.float64) - other.astype(np.float64)))))
