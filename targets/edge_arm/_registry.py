"""Which function emits which ONNX operator in TFLite."""

from __future__ import annotations

from typing import TYPE_CHECKING, TypeAlias, TypeVar

from targets._source.refusal import INEXPRESSIBLE
from targets._source.registry import NEWEST, Registry

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence

    from targets.edge_arm._emission import Value

    Emitter: TypeAlias = Callable[..., Value | Sequence[Value]]
    """Called with the emission, the node, and one argument for each of the node's inputs, None where it is left out."""

REGISTRY: Registry[Emitter] = Registry(
    "targets.edge_arm.operators", INEXPRESSIBLE, "no TFLite operator, or composition of them, is known for it"
)
E = TypeVar("E", bound="Emitter")


def operator(name: str, *, since: int = 1, until: int = NEWEST) -> Callable[[E], E]:
    """Register the decorated function for the operator's versions from `since` to `until`, both included."""

    def register(emit: E) -> E:
        REGISTRY.operator(name, since=since, until=until)(emit)
        return emit

    return register
