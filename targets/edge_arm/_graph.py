"""A TFLite model under construction."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

import numpy as np
from ai_edge_litert import schema_py_generated as schema

from targets.edge_arm._layout import is_free, permuted

if TYPE_CHECKING:
    from collections.abc import Sequence

    from numpy.typing import DTypeLike, NDArray

    from targets._source.shape import Shape
    from targets.edge_arm._layout import Order


_EFFECTS = {"ASSIGN_VARIABLE", "CALL_ONCE"}
"""What is done for more than its results."""


@dataclass(eq=False, slots=True)
class Tensor:
    """One tensor of the file; a constant if it has data."""

    shape: Shape
    dtype: np.dtype[Any]
    data: NDArray[Any] | None = None
    name: str = ""
    producer: Operation | None = None
    readers: int = 0
    """Operations that read it so far."""
    uses: int = 0
    """Nodes and outputs of the source that will read it, under whatever name."""
    free: tuple[int, ...] = ()
    """Axes whose size an application chooses."""


@dataclass(eq=False, slots=True)
class Operation:
    """One call of a builtin operator."""

    code: str
    inputs: list[Tensor | None]
    outputs: list[Tensor]
    options: Any = None
    version: int = 1
    graphs: tuple[Graph, ...] = ()
    """What it calls: a WHILE its condition and its body, an IF its two branches."""
    source: str = ""
    """The name of the source model's node that it was made for."""


@dataclass(eq=False, slots=True)
class Graph:
    """Operations in the order of execution, with the model's inputs and outputs by the source's names."""

    inputs: dict[str, Tensor] = field(default_factory=dict)
    outputs: dict[str, Tensor] = field(default_factory=dict)
    operations: list[Operation] = field(default_factory=list)
    reset: Graph | None = None
    """What sets the variables to zero, where there are any."""

    def constant(self, array: NDArray[np.generic]) -> Tensor:
        """A tensor that holds `array`."""
        return Tensor(array.shape, array.dtype, np.ascontiguousarray(array).reshape(array.shape))

    def integers(self, values: Sequence[int]) -> Tensor:
        """A constant vector of int32, as axes, sizes and the like are passed."""
        return self.constant(np.array(values, np.int32))

    def add_many(
        self,
        code: str,
        inputs: Sequence[Tensor | None],
        outputs: Sequence[Tensor],
        options: object = None,
        version: int = 1,
        graphs: tuple[Graph, ...] = (),
    ) -> None:
        """Append an operation that writes `outputs`."""
        operation = Operation(code, list(inputs), list(outputs), options, version, graphs)
        for tensor in operation.inputs:
            if tensor is not None:
                tensor.readers += 1
        for tensor in operation.outputs:
            tensor.producer = operation
        self.operations.append(operation)

    def add(
        self,
        code: str,
        inputs: Sequence[Tensor | None],
        shape: Sequence[int],
        dtype: DTypeLike,
        options: object = None,
        version: int = 1,
    ) -> Tensor:
        """Append an operation with one output, which is returned."""
        result = Tensor(tuple(int(size) for size in shape), np.dtype(dtype))
        self.add_many(code, inputs, [result], options, version)
        return result

    def reshape(self, tensor: Tensor, shape: Sequence[int]) -> Tensor:
        """The same bytes in another shape."""
        shape = tuple(int(size) for size in shape)
        while (
            tensor.producer is not None and tensor.producer.code == "RESHAPE" and tensor.producer.inputs[0] is not None
        ):
            tensor = tensor.producer.inputs[0]
        if tensor.shape == shape:
            return tensor
        if tensor.data is not None:
            return self.constant(tensor.data.reshape(shape))
        options = schema.ReshapeOptionsT(newShape=list(shape))
        return self.add("RESHAPE", [tensor, self.integers(shape)], shape, tensor.dtype, options)

    def transpose(self, tensor: Tensor, permutation: Order) -> Tensor:
        """The axes of a tensor in another order; no operation where none is needed."""
        shape = permuted(tensor.shape, permutation)
        if permutation == tuple(range(len(permutation))):
            return tensor
        if tensor.data is not None:
            return self.constant(tensor.data.transpose(permutation))
        if is_free(tensor.shape, permutation):
            return self.reshape(tensor, shape)
        options = schema.TransposeOptionsT()
        return self.add("TRANSPOSE", [tensor, self.integers(permutation)], shape, tensor.dtype, options)

    def prune(self) -> None:
        """Drop the operations whose results nobody reads."""
        alive = {id(tensor) for tensor in self.outputs.values()}
        kept = []
        for operation in reversed(self.operations):
            if operation.code in _EFFECTS or any(id(tensor) in alive for tensor in operation.outputs):
                alive.update(id(tensor) for tensor in operation.inputs if tensor is not None)
                kept.append(operation)
        self.operations = kept[::-1]

    def operators(self) -> tuple[str, ...]:
        """The builtin operators in use, sorted."""
        return tuple(sorted({operation.code for operation in self.operations}))

    def tensors(self) -> list[Tensor]:
        """Every tensor of the file, once: inputs, then in the order of use."""
        found = {id(tensor): tensor for tensor in self.inputs.values()}
        for operation in self.operations:
            for tensor in (*operation.inputs, *operation.outputs):
                if tensor is not None:
                    found.setdefault(id(tensor), tensor)
        for tensor in self.outputs.values():
            found.setdefault(id(tensor), tensor)
        return list(found.values())
