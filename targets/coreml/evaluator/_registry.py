"""Which function evaluates which MIL operator, from which version of the operator set on."""

from __future__ import annotations

import importlib
import inspect
import pkgutil
from functools import cache
from typing import TYPE_CHECKING, Any, NamedTuple, TypeAlias, TypeVar

from targets.coreml.evaluator._errors import EvaluationError

if TYPE_CHECKING:
    from collections.abc import Callable

    Kernel: TypeAlias = Callable[..., Any]
    """Called with the operator's inputs by their names in MIL; an operator of several outputs returns a tuple."""
    K = TypeVar("K", bound=Kernel)

OPSETS = {"CoreML5": "ios15", "CoreML6": "ios16", "CoreML7": "ios17", "CoreML8": "ios18", "CoreML9": "ios26"}
"""What a program calls its operator set, and the first system that has it."""
_NEWEST = "ios26"


class Entry(NamedTuple):
    """One function and the operator sets that it serves, both ends included."""

    kernel: Kernel
    since: str
    until: str
    moves: bool
    """It only moves values, so that float16 need not be widened for it."""
    parameters: frozenset[str]
    source: str
    """The module that holds it, without its package."""


_ENTRIES: dict[str, list[Entry]] = {}


def operator(*names: str, since: str = "ios15", until: str = _NEWEST, moves: bool = False) -> Callable[[K], K]:
    """Register the decorated function for operators of those names.

    Floating-point inputs arrive as float32 where they are float16, unless `moves` holds; what the function returns is
    rounded to the declared type by whoever calls it.
    """

    def register(kernel: K) -> K:
        parameters = frozenset(inspect.signature(kernel).parameters)
        entry = Entry(kernel, since, until, moves, parameters, kernel.__module__.rpartition(".")[2])
        for name in names:
            _ENTRIES.setdefault(name, []).append(entry)
        return kernel

    return register


@cache
def _load() -> None:
    operators = importlib.import_module("targets.coreml.evaluator.operators")
    for module in pkgutil.iter_modules(operators.__path__):
        importlib.import_module(f"{operators.__name__}.{module.name}")


def entry(name: str, opset: str) -> Entry:
    """The entry for an operator of a program's operator set, such as ``ios16``.

    Raises:
        EvaluationError: there is none.
    """
    _load()
    entries = _ENTRIES.get(name, [])
    order = list(OPSETS.values())
    for each in entries:
        if order.index(each.since) <= order.index(opset) <= order.index(each.until):
            return each
    if entries:
        served = ", ".join(f"{each.since} to {each.until}" for each in entries)
        raise EvaluationError(f"operator '{name}' of {opset} can't be evaluated: expected {served}")
    raise EvaluationError(f"operator '{name}' is not known to the evaluator")


def operators() -> dict[str, tuple[Entry, ...]]:
    """All entries by operator, sorted."""
    _load()
    return {name: tuple(_ENTRIES[name]) for name in sorted(_ENTRIES)}
