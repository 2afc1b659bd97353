"""A MIL function as read from a package: blocks of operations, their arguments and declared types."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, NamedTuple, TypeAlias

from targets.coreml.evaluator._errors import PackageError
from targets.coreml.evaluator._registry import OPSETS
from targets.coreml.evaluator._types import TensorType, value_type
from targets.coreml.evaluator._values import constant

if TYPE_CHECKING:
    from targets.coreml.evaluator._blobs import Blobs
    from targets.coreml.evaluator._types import Array, ValueType
    from targets.coreml.evaluator._values import Constant

_MOST_BLOCKS_DEEP = 32
_MOST_OPERATIONS = 1_000_000


class Name(NamedTuple):
    """An argument that refers to a value."""

    value: str


Argument: TypeAlias = "Name | Constant"


class Declaration(NamedTuple):
    """A named value and its type."""

    name: str
    type: ValueType


class Operation(NamedTuple):
    """One application of an operator."""

    operator: str
    name: str
    arguments: dict[str, tuple[Argument, ...]]
    outputs: tuple[Declaration, ...]
    blocks: tuple[Block, ...]


class Block(NamedTuple):
    """Operations in order, each of which sees the values before it and those of the blocks around it."""

    inputs: tuple[Declaration, ...]
    operations: tuple[Operation, ...]
    outputs: tuple[str, ...]
    last_use: tuple[tuple[str, ...], ...]
    """For each operation the values of this block that nothing needs after it."""


class Function(NamedTuple):
    """An entry point of a program."""

    opset: str
    """Such as ``ios16``."""
    inputs: tuple[Declaration, ...]
    block: Block


class _Budget:
    """Counts operations, so that a damaged or hostile file can't ask for more than there is."""

    def __init__(self) -> None:
        self.left = _MOST_OPERATIONS

    def spend(self) -> None:
        self.left -= 1
        if self.left < 0:
            raise PackageError(f"the program is too large: expected at most {_MOST_OPERATIONS} operations")


def function(message: Any, blobs: Blobs) -> Function:  # noqa: ANN401 - generated messages have no types
    """The function of a ``Function`` message.

    Raises:
        PackageError: it is not what ``MIL.proto`` allows, or beyond the bounds.
    """
    opset = OPSETS.get(message.opset)
    if opset is None:
        raise PackageError(f"unknown operator set '{message.opset}': expected one of {sorted(OPSETS)}")
    if message.opset not in message.block_specializations:
        raise PackageError(f"the function has no block for its operator set '{message.opset}'")
    inputs = tuple(Declaration(each.name, value_type(each.type)) for each in message.inputs)
    block = _block(message.block_specializations[message.opset], blobs, _Budget(), 0)
    return Function(opset, inputs, block)


def _block(message: Any, blobs: Blobs, budget: _Budget, depth: int) -> Block:  # noqa: ANN401 - generated messages
    if depth > _MOST_BLOCKS_DEEP:
        raise PackageError(f"blocks are nested too deeply: expected at most {_MOST_BLOCKS_DEEP} levels")
    operations = []
    for each in message.operations:
        budget.spend()
        operations.append(_operation(each, blobs, budget, depth))
    outputs = tuple(message.outputs)
    return Block(
        tuple(Declaration(each.name, value_type(each.type)) for each in message.inputs),
        tuple(operations),
        outputs,
        _last_uses(operations, set(outputs)),
    )


def _operation(message: Any, blobs: Blobs, budget: _Budget, depth: int) -> Operation:  # noqa: ANN401 - generated
    outputs = tuple(Declaration(each.name, value_type(each.type)) for each in message.outputs)
    arguments: dict[str, tuple[Argument, ...]] = {
        key: tuple(
            Name(each.name) if each.WhichOneof("binding") == "name" else constant(each.value, blobs)
            for each in argument.arguments
        )
        for key, argument in message.inputs.items()
    }
    name = outputs[0].name if outputs else message.type
    for key, value in message.attributes.items():
        if key == "name":
            continue
        # Up to iOS 17 the inputs of constexpr operators stand among the attributes.
        arguments[key] = (constant(value, blobs),)
    blocks = tuple(_block(each, blobs, budget, depth + 1) for each in message.blocks)
    return Operation(message.type, name, arguments, outputs, blocks)


def used(operation: Operation) -> set[str]:
    """The names that an operation, or a block of it, refers to."""
    names = {each.value for values in operation.arguments.values() for each in values if isinstance(each, Name)}
    for block in operation.blocks:
        names.update(block.outputs)
        for inner in block.operations:
            names |= used(inner)
    return names


def _last_uses(operations: list[Operation], kept: set[str]) -> tuple[tuple[str, ...], ...]:
    made = {declaration.name for operation in operations for declaration in operation.outputs}
    seen = set(kept)
    freed: list[tuple[str, ...]] = []
    for operation in reversed(operations):
        touched = used(operation) | {declaration.name for declaration in operation.outputs}
        freed.append(tuple(sorted((touched & made) - seen)))
        seen |= touched
    return tuple(reversed(freed))


def fits(value: Array, declared: ValueType) -> bool:
    """Whether an array has the shape that a type asks for."""
    return isinstance(declared, TensorType) and declared.admits(value.shape)
