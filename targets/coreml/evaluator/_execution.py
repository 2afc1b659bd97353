"""Runs a block's operations one after the other, each value rounded to the type that the program declares for it."""

from __future__ import annotations

from collections import ChainMap
from typing import TYPE_CHECKING, Any, NamedTuple, TypeAlias, cast

import numpy as np

from targets.coreml.evaluator import _registry
from targets.coreml.evaluator._errors import EvaluationError
from targets.coreml.evaluator._program import Name
from targets.coreml.evaluator._types import OtherType, TensorType

if TYPE_CHECKING:
    from collections.abc import Callable, MutableMapping, Sequence

    from targets.coreml.evaluator._program import Argument, Block, Operation
    from targets.coreml.evaluator._types import Array, ValueType

    Value: TypeAlias = Any
    """An array; a str; a `TensorList`; a dictionary of a classifier; the name of a state."""
    Scope: TypeAlias = ChainMap[str, Value]
    Observer: TypeAlias = Callable[[str, str, Value], None]
    """Called with the name, the operator and the value of each result."""

_MOST_STEPS = 1_000_000
_CONSTANT = "const"
_COPY = " as float32"
"""Follows the name of a float16 constant whose widened copy is kept; names of values have no spaces."""


class Setting(NamedTuple):
    """What every operation of a run shares."""

    opset: str
    states: MutableMapping[str, Array]
    constants: MutableMapping[str, Value]
    """Values that are the same in every run, and for float16 ones their widened copies."""
    observe: Observer | None


def run_block(block: Block, inputs: Sequence[Value], outer: Scope, setting: Setting) -> list[Value]:
    """The block's outputs.

    Raises:
        EvaluationError: an operation is unknown or fails; the message names it.
    """
    scope = outer.new_child(dict(zip((each.name for each in block.inputs), inputs, strict=True)))
    for operation, freed in zip(block.operations, block.last_use, strict=True):
        _run(operation, scope, setting)
        for name in freed:
            scope.maps[0].pop(name, None)
    return [scope[name] for name in block.outputs]


def is_copy(name: str) -> bool:
    """Whether a constant is another one's widened copy."""
    return name.endswith(_COPY)


def fold(block: Block, opset: str, constants: MutableMapping[str, Value]) -> None:
    """Evaluate all constants of a block and of those within it, among them the compressed ones, into `constants`."""
    ambiguous: set[str] = set()
    _fold(block, Setting(opset, {}, {}, None), constants, ambiguous)
    for name in ambiguous:
        del constants[name]


def _fold(block: Block, setting: Setting, constants: MutableMapping[str, Value], ambiguous: set[str]) -> None:
    scope = ChainMap(constants)
    for operation in block.operations:
        if _is_constant(operation):
            # Sibling blocks may use one name for different constants: these are evaluated where they stand.
            ambiguous.update(each.name for each in operation.outputs if each.name in constants)
            _run(operation, scope, setting)
        for inner in operation.blocks:
            _fold(inner, setting, constants, ambiguous)


def _is_constant(operation: Operation) -> bool:
    return operation.operator == _CONSTANT or operation.operator.startswith("constexpr_")


def _run(operation: Operation, scope: Scope, setting: Setting) -> None:
    names = [each.name for each in operation.outputs]
    if _is_constant(operation) and names and names[0] in setting.constants:
        return
    try:
        values = _values(operation, scope, setting)
    except _FAILURES as error:
        raise EvaluationError(f"{_where(operation)} failed: {error}") from error
    if len(values) != len(names):
        raise EvaluationError(f"{_where(operation)} gave {len(values)} results: expected {len(names)}")
    for declaration, value in zip(operation.outputs, values, strict=True):
        rounded = _rounded(value, declaration.type, operation)
        scope[declaration.name] = rounded
        if setting.observe and operation.operator != _CONSTANT:
            setting.observe(declaration.name, operation.operator, rounded)


_FAILURES = (ValueError, TypeError, LookupError, ArithmeticError, AttributeError, MemoryError)
"""What numpy raises for values that do not fit an operator; and Python, where an argument is not there."""


def _values(operation: Operation, scope: Scope, setting: Setting) -> Sequence[Value]:
    match operation.operator:
        case "const":
            return operation.arguments["val"]
        case "cond":
            return _cond(operation, scope, setting)
        case "while_loop":
            return _while_loop(operation, scope, setting)
        case "read_state":
            return (setting.states[_state(operation, scope)],)
        case "write_state":
            setting.states[_state(operation, scope)] = _argument(operation.arguments["data"][0], scope)
            return ()
    return _apply(operation, scope, setting)


def _apply(operation: Operation, scope: Scope, setting: Setting) -> Sequence[Value]:
    entry = _registry.entry(operation.operator, setting.opset)
    unknown = operation.arguments.keys() - entry.parameters
    if unknown:
        raise EvaluationError(f"{_where(operation)} has the unknown input '{min(unknown)}'")
    arguments = {}
    for key, values in operation.arguments.items():
        found = tuple(_argument(each, scope) for each in values)
        if not entry.moves:
            found = tuple(_wide(each, value, setting.constants) for each, value in zip(values, found, strict=True))
        arguments[key] = found if key in _VARIADIC else found[0]
    result = entry.kernel(**arguments)
    return cast("Sequence[Value]", result) if type(result) is tuple else (result,)


_VARIADIC = frozenset({"begins", "elem_shape", "end_masks", "ends", "ref_tensors", "values"})
"""Inputs that take any number of values."""


def _argument(argument: Argument, scope: Scope) -> Value:
    if not isinstance(argument, Name):
        return argument
    if argument.value not in scope:
        raise EvaluationError(f"value '{argument.value}' is used before it is made")
    return scope[argument.value]


def _wide(argument: Argument, value: Value, constants: MutableMapping[str, Value]) -> Value:
    if not isinstance(value, np.ndarray) or value.dtype != np.float16:
        return value
    if not isinstance(argument, Name) or argument.value not in constants:
        return value.astype(np.float32)
    key = argument.value + _COPY
    if key not in constants:
        constants[key] = value.astype(np.float32)
    return constants[key]


def _rounded(value: Value, declared: ValueType, operation: Operation) -> Value:
    if isinstance(declared, OtherType) or isinstance(value, str):
        return value
    array = np.asarray(value)
    if not isinstance(declared, TensorType) or not declared.admits(array.shape):
        raise EvaluationError(f"{_where(operation)} gave the shape {list(array.shape)}: expected {declared}")
    if array.dtype == declared.element.numpy or array.dtype.kind == "U":
        return array
    return array.astype(declared.element.numpy)


def _where(operation: Operation) -> str:
    return f"'{operation.name}' ({operation.operator})"


def _state(operation: Operation, scope: Scope) -> str:
    name = _argument(operation.arguments["input"][0], scope)
    if not isinstance(name, str):
        raise EvaluationError(f"{_where(operation)} needs a state")
    return name


def _cond(operation: Operation, scope: Scope, setting: Setting) -> Sequence[Value]:
    holds = bool(np.asarray(_argument(operation.arguments["pred"][0], scope)).reshape(()))
    return run_block(operation.blocks[0 if holds else 1], (), scope, setting)


def _while_loop(operation: Operation, scope: Scope, setting: Setting) -> Sequence[Value]:
    values = [_argument(each, scope) for each in operation.arguments["loop_vars"]]
    condition, body = operation.blocks
    for _ in range(_MOST_STEPS):
        if not bool(np.asarray(run_block(condition, values, scope, setting)[0]).reshape(())):
            return values
        values = run_block(body, values, scope, setting)
    raise EvaluationError(f"{_where(operation)} did not end within {_MOST_STEPS} steps")
