"""Which function emits which ONNX operator, for which versions of it."""

from __future__ import annotations

import importlib
import pkgutil
from functools import cache
from typing import TYPE_CHECKING, Any, NamedTuple, TypeAlias, TypeVar

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence

    from targets.edge_arm._emission import Value

    Emitter: TypeAlias = Callable[..., Value | Sequence[Value]]
    """Called with the emission, the node, and one argument for each of the node's inputs, None where it is left out."""
    E = TypeVar("E", bound=Emitter)

NEWEST = 28
"""The newest opset whose operators were read; a later version of an operator may mean something else."""


_REFUSED = {
    **dict.fromkeys(
        ("NonMaxSuppression", "NonZero", "Unique"),
        "how many entries it gives depends on the data",
    ),
    **dict.fromkeys(
        ("RegexFullMatch", "StringConcat", "StringNormalizer", "StringSplit", "TfIdfVectorizer"), "it works on text"
    ),
}
"""Operators that no file of fixed shapes and numbers can express, and why."""


class UnsupportedError(Exception):
    """A node can't be expressed in TFLite's builtin operators; the message is the reason."""

    def __init__(self, reason: str, hint: str = "") -> None:
        super().__init__(reason)
        self.hint = hint


class Entry(NamedTuple):
    """One function and the versions that it serves."""

    emit: Emitter
    since: int
    until: int


_ENTRIES: dict[str, list[Entry]] = {}


def operator(name: str, *, since: int = 1, until: int = NEWEST) -> Callable[[E], E]:
    """Register the decorated function for the operator's versions from `since` to `until`, both included."""

    def register(emit: E) -> E:
        _ENTRIES.setdefault(name, []).append(Entry(emit, since, until))
        return emit

    return register


def emitter(name: str, version: int) -> Emitter:
    """The function for that version of an operator.

    Raises:
        UnsupportedError: there is none.
    """
    _load()
    entries = _ENTRIES.get(name, [])
    for entry in entries:
        if entry.since <= version <= entry.until:
            return entry.emit
    if entries:
        served = ", ".join(f"{entry.since} to {entry.until}" for entry in entries)
        raise UnsupportedError(f"version {version} of the operator is not served: expected {served}")
    if name in _REFUSED:
        raise UnsupportedError(_REFUSED[name])
    raise UnsupportedError("no TFLite operator, or composition of them, is known for it")


def served() -> dict[str, tuple[Entry, ...]]:
    """Every operator with its functions, sorted by name."""
    _load()
    return {name: tuple(_ENTRIES[name]) for name in sorted(_ENTRIES)}


@cache
def _load() -> None:
    package: Any = importlib.import_module("targets.edge_arm.operators")
    for module in pkgutil.iter_modules(package.__path__):
        importlib.import_module(f"{package.__name__}.{module.name}")
