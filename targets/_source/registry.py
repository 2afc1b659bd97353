"""Which function emits which ONNX operator, for which versions of it."""

from __future__ import annotations

import importlib
import pkgutil
from typing import TYPE_CHECKING, Any, Generic, NamedTuple, TypeVar

from targets._source.refusal import UnsupportedError

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping

NEWEST = 28
"""The newest opset whose operators were read; a later version of an operator may mean something else."""

F = TypeVar("F")


class Entry(NamedTuple, Generic[F]):
    """One function and the versions that it serves."""

    emit: F
    since: int
    until: int


class Registry(Generic[F]):
    """The functions of one target; those of a package are found when the first is asked for."""

    def __init__(self, package: str, refused: Mapping[str, str], unknown: str) -> None:
        """`refused` says why some operators can't be served, `unknown` why all others are not."""
        self._package = package
        self._refused = refused
        self._unknown = unknown
        self._entries: dict[str, list[Entry[F]]] = {}
        self._loaded = False

    def operator(self, name: str, *, since: int = 1, until: int = NEWEST) -> Callable[[F], F]:
        """Register the decorated function for the operator's versions from `since` to `until`, both included."""

        def register(emit: F) -> F:
            self._entries.setdefault(name, []).append(Entry(emit, since, until))
            return emit

        return register

    def emitter(self, name: str, version: int) -> F:
        """The function for that version of an operator.

        Raises:
            UnsupportedError: there is none.
        """
        self._load()
        entries = self._entries.get(name, [])
        for entry in entries:
            if entry.since <= version <= entry.until:
                return entry.emit
        if entries:
            served = ", ".join(f"{entry.since} to {entry.until}" for entry in entries)
            raise UnsupportedError(f"version {version} of the operator is not served: expected {served}")
        raise UnsupportedError(self._refused.get(name, self._unknown))

    def served(self) -> dict[str, tuple[Entry[F], ...]]:
        """Every operator with its functions, sorted by name."""
        self._load()
        return {name: tuple(self._entries[name]) for name in sorted(self._entries)}

    def _load(self) -> None:
        if self._loaded:
            return
        self._loaded = True
        package: Any = importlib.import_module(self._package)
        for module in pkgutil.iter_modules(package.__path__):
            importlib.import_module(f"{package.__name__}.{module.name}")
