"""What stands between a model and targets: every node that one of them can't take, before anything is converted."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING

import msgspec

from packager.errors import ConversionError
from packager.hub.graph import all_nodes
from packager.hub.refusals import with_reasons
from packager.importers._operators import unknown_operators
from packager.preparation import prepare_for
from packager.registry import Registration, open_target
from targets._target import TargetError

if TYPE_CHECKING:
    import onnx

    from targets._target import Target


class Asked(msgspec.Struct, frozen=True, kw_only=True):
    """One target, with its options."""

    registration: Registration
    options: dict[str, object]


class Order(msgspec.Struct, frozen=True, kw_only=True):
    """Which model, and which targets."""

    model: str
    targets: tuple[Asked, ...]


class Obstacle(msgspec.Struct, frozen=True, kw_only=True):
    """One thing that keeps a model from a target."""

    code: str
    """Stable, such as ``edge-arm.unsupported``, or that of a pass that failed."""
    node: str
    """Its name in the target's normal form; empty where it is the model as a whole."""
    operator: str
    reason: str
    hint: str


class Explained(msgspec.Struct, frozen=True, kw_only=True):
    """What one target says of the model."""

    target: str
    nodes: int
    """Of the model in the target's normal form; as imported, where it can't be brought there."""
    obstacles: tuple[Obstacle, ...]


class Explanation(msgspec.Struct, frozen=True, kw_only=True):
    """What the targets say, in the order in which they were asked."""

    targets: tuple[Explained, ...]


def runs_foreign_code(order: Order) -> bool:
    """Whether the model may run code of its own: it can't, as it is ONNX by now."""
    del order
    return False


def run(order: Order, out: Path) -> Explanation:
    """What the targets say of the model; nothing is written."""
    del out
    return Explanation(targets=tuple(_explained(Path(order.model), asked) for asked in order.targets))


def _explained(path: Path, asked: Asked) -> Explained:
    import onnx

    target = open_target(asked.registration)
    options = msgspec.convert(asked.options, target.Options)
    model = onnx.load(path)
    unknown = [
        Obstacle(
            code=f"{target.name}.unsupported",
            node=entry.node,
            operator=entry.operator,
            reason=entry.reason,
            hint="export the model without custom operators",
        )
        for entry in unknown_operators(model)
    ]
    nodes = _count(model)
    if unknown:
        # The passes run parts of the model: none of them can look past an operator without a meaning.
        return Explained(target=target.name, nodes=nodes, obstacles=tuple(unknown))
    try:
        prepared, _ = prepare_for(model, target, options)
        obstacles = _findings(prepared, target, options)
    except (ConversionError, TargetError) as error:
        whole = Obstacle(code=error.code, node="", operator="", reason=str(error), hint=error.hint)
        return Explained(target=target.name, nodes=nodes, obstacles=(whole,))
    return Explained(target=target.name, nodes=_count(prepared), obstacles=obstacles)


def _findings(model: onnx.ModelProto, target: Target, options: msgspec.Struct) -> tuple[Obstacle, ...]:
    return tuple(
        Obstacle(
            code=f"{target.name}.unsupported",
            node=finding.node,
            operator=finding.operator,
            reason=finding.reason,
            hint=finding.hint,
        )
        for finding in with_reasons(target.unsupported(model, options), model)
    )


def _count(model: onnx.ModelProto) -> int:
    return sum(1 for _ in all_nodes(model.graph))
