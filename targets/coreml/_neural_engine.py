"""What Apple's Neural Engine is known not to take, each rule with the place where it is said.

Core ML decides on the device what runs where, and Apple publishes no list. A layer that no rule names may still run
elsewhere; Xcode's performance report, or `MLComputePlan` on a device, has the last word.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, NamedTuple

from targets._composition import Remark

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Sequence

UNIT = "Neural Engine"
_TYPES = "https://apple.github.io/coremltools/docs-guides/source/typed-execution.html"
_SURFACE = "https://ane-guide.readthedocs.io/en/latest/part-1-machine/04-capability-surface.html"
_LAYERS = "https://github.com/hollance/neural-engine/blob/master/docs/unsupported-layers.md"
_RANGES = "https://developer.apple.com/forums/thread/724930"
_VOLUME = 5
"""Axes of what a convolution over three dimensions of space reads."""


class Seen(NamedTuple):
    """What the rules look at in an operation."""

    name: str
    operator: str
    precision: str
    rank: int
    """Of its first output."""


class _Rule(NamedTuple):
    reason: str
    source: str
    holds: Callable[[Seen], bool]


def _is_one_of(*operators: str) -> Callable[[Seen], bool]:
    return lambda seen: seen.operator in operators


_RULES = (
    _Rule(
        "computed in float32: it takes float16 alone",
        _TYPES,
        lambda seen: seen.precision == "float32" and seen.operator != "cast",
    ),
    _Rule("recurrent cells have no hardware for them", _SURFACE, _is_one_of("gru", "lstm", "rnn")),
    _Rule("scattering has no hardware for it", _SURFACE, _is_one_of("scatter", "scatter_along_axis", "scatter_nd")),
    _Rule("products of all elements have no hardware for them", _SURFACE, _is_one_of("reduce_prod")),
    _Rule("gathering runs on the CPU", _LAYERS, _is_one_of("gather", "gather_along_axis", "gather_nd")),
    _Rule(
        "a convolution over three dimensions is refused by every device's compiler",
        _SURFACE,
        lambda seen: seen.operator in {"conv", "conv_transpose"} and seen.rank == _VOLUME,
    ),
    _Rule("sampling at computed places takes an A14 or newer", _SURFACE, _is_one_of("resample")),
    _Rule("sines and cosines take an A15 or newer", _SURFACE, _is_one_of("cos", "sin")),
)


def remarks(operations: Sequence[Seen], ranged: Iterable[str]) -> tuple[Remark, ...]:
    """What the rules find; `ranged` are the inputs that have ranges of shapes."""
    found = []
    for rule in _RULES:
        layers = tuple(seen.name for seen in operations if rule.holds(seen))
        if layers:
            found.append(Remark(unit=UNIT, reason=rule.reason, layers=layers, source=rule.source))
    inputs = tuple(ranged)
    if inputs:
        reason = "of an input with ranges it takes the default shape alone; choices of shapes all run"
        found.append(Remark(unit=UNIT, reason=reason, layers=inputs, source=_RANGES))
    return tuple(found)
