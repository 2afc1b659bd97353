"""A program that can be called: loaded from a package, its constants decompressed."""

from __future__ import annotations

import copy
from collections import ChainMap
from typing import TYPE_CHECKING, Any

import numpy as np

from targets.coreml.evaluator import _execution
from targets.coreml.evaluator._errors import InputError, PackageError
from targets.coreml.evaluator._features import feature, result
from targets.coreml.evaluator._package import specification
from targets.coreml.evaluator._program import function
from targets.coreml.evaluator._types import OtherType

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping, MutableMapping
    from pathlib import Path

    from numpy.typing import NDArray

    from targets.coreml.evaluator._execution import Observer
    from targets.coreml.evaluator._features import Feature
    from targets.coreml.evaluator._program import Block, Function, Operation
    from targets.coreml.evaluator._types import Array, ValueType


class Program:
    """One function of a package, ready to be called.

    Attributes:
        opset: the operator set, such as ``ios16``.
        inputs: in the function's order, without states.
        outputs: in the order in which the function returns them.
        states: what the function remembers from call to call.
        metadata: what the package's author wrote beside the model.
    """

    def __init__(self, read: Function, description: Any, metadata: Mapping[str, str]) -> None:  # noqa: ANN401 - generated
        self.opset = read.opset
        self.metadata = dict(metadata)
        self._block = read.block
        self._declared = tuple(each.name for each in read.inputs)
        described = {each.name: each for each in (*description.input, *description.state)}
        features = {each.name: feature(each, described.get(each.name)) for each in read.inputs}
        remembered = {
            each.name for each in read.inputs if isinstance(each.type, OtherType) and each.type.kind == "state"
        }
        self.inputs: tuple[Feature, ...] = tuple(f for name, f in features.items() if name not in remembered)
        self.states: tuple[Feature, ...] = tuple(f for name, f in features.items() if name in remembered)
        types = dict(_types(read))
        self.outputs: tuple[Feature, ...] = tuple(result(name, types[name]) for name in read.block.outputs)
        self._constants: dict[str, Any] = {}
        with np.errstate(all="ignore"):
            _execution.fold(read.block, read.opset, self._constants)

    def predict(
        self,
        inputs: Mapping[str, NDArray[np.generic]],
        *,
        state: MutableMapping[str, Array] | None = None,
        observe: Observer | None = None,
    ) -> dict[str, Array]:
        """Outputs by name, each in its declared type and shape.

        `state` holds a tensor for each of `states` and is brought up to date; without it they start at zero, and what
        they become is lost. `observe` is called with the name, the operator and the value of each result on the way.

        Raises:
            InputError: an input is missing, unknown, or does not fit.
            EvaluationError: an operation fails.
        """
        unknown = inputs.keys() - {each.name for each in self.inputs}
        if unknown:
            expected = ", ".join(f"'{each.name}'" for each in self.inputs)
            raise InputError(f"unknown input '{min(unknown)}': expected {expected}")
        given: dict[str, Any] = {}
        for each in self.inputs:
            if each.name not in inputs:
                raise InputError(f"input '{each.name}' is missing")
            given[each.name] = each.checked(inputs[each.name])
        states = self.new_state() if state is None else state
        for each in self.states:
            if each.name not in states:
                raise InputError(f"state '{each.name}' is missing")
            states[each.name] = each.checked(states[each.name])
            # What `read_state` looks up.
            given[each.name] = each.name
        root = ChainMap(given, self._constants)
        setting = _execution.Setting(self.opset, states, self._constants, observe)
        with np.errstate(all="ignore"):
            values = _execution.run_block(self._block, (), root, setting)
        return {each.name: _plain(value) for each, value in zip(self.outputs, values, strict=True)}

    def new_state(self) -> dict[str, Array]:
        """A state in which nothing happened yet: zeros."""
        return {each.name: np.zeros([length or 0 for length in each.shape], dtype=each.dtype) for each in self.states}

    def constants(self) -> dict[str, Array]:
        """Every constant tensor by name, those that are stored compressed as they are used."""
        return {
            name: value
            for name, value in self._constants.items()
            if isinstance(value, np.ndarray) and not _execution.is_copy(name)
        }

    def with_constants(self, replaced: Mapping[str, Array]) -> Program:
        """The same program with other values for some of its constants, by name; shapes and types must be theirs."""
        constants = {name: value for name, value in self._constants.items() if not _execution.is_copy(name)}
        for name, value in replaced.items():
            present = constants[name]
            if value.shape != present.shape:
                raise InputError(f"constant '{name}' has the shape {list(value.shape)}: expected {list(present.shape)}")
            constants[name] = value.astype(present.dtype)
        other = copy.copy(self)
        vars(other)["_constants"] = constants
        return other

    def operations(self) -> Iterator[Operation]:
        """Every operation, those of nested blocks after the one that holds them."""
        yield from _operations(self._block)


def load_program(folder: Path, function_name: str = "") -> Program:
    """The package's program; of one with several functions the one of that name, or the default one.

    Raises:
        PackageError: the folder is no ML program, or damaged.
        EvaluationError: a compressed constant can't be evaluated.
    """
    model, blobs = specification(folder)
    program = model.mlProgram
    name = function_name or model.description.defaultFunctionName or "main"
    if name not in program.functions:
        raise PackageError(f"the program has no function '{name}': expected one of {sorted(program.functions)}")
    described = {each.name: each for each in model.description.functions}
    description = described.get(name, model.description)
    return Program(function(program.functions[name], blobs), description, model.description.metadata.userDefined)


def _plain(value: Any) -> Array:  # noqa: ANN401 - a value of any MIL type
    return np.array(list(value.values())) if isinstance(value, dict) else np.asarray(value)


def _types(read: Function) -> Iterator[tuple[str, ValueType]]:
    for declaration in read.inputs:
        yield declaration.name, declaration.type
    for operation in read.block.operations:
        for declaration in operation.outputs:
            yield declaration.name, declaration.type


def _operations(block: Block) -> Iterator[Operation]:
    for operation in block.operations:
        yield operation
        for inner in operation.blocks:
            yield from _operations(inner)
