"""What operator functions work with: values that know how they lie in memory, and the steps that need no thought.

A transpose of the source emits nothing: it changes the order that a value claims. Bytes move only when an operation
asks for an order that no tensor of the value has yet, and then once.
"""

from __future__ import annotations

from dataclasses import dataclass, field
from math import prod
from typing import TYPE_CHECKING, Any

import numpy as np
from ai_edge_litert import schema_py_generated as schema

from targets._source.refusal import UnsupportedError
from targets.edge_arm import _layout
from targets.edge_arm._graph import Graph

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence

    from numpy.typing import DTypeLike, NDArray

    from targets._source.shape import Shape
    from targets.edge_arm._graph import Tensor
    from targets.edge_arm._layout import Order

_STORED = {"float16": "float32", "float64": "float32", "int64": "int32"}
"""Element types that are computed as another one between the model's inputs and outputs."""
_NARROW = {"int8", "uint8", "int16", "uint16"}
"""Element types that TFLite's arithmetic takes for quantized numbers."""
_FOLDED: dict[str, Callable[..., Any]] = {
    "ABS": np.abs,
    "ADD": np.add,
    "EQUAL": np.equal,
    "FLOOR": np.floor,
    "FLOOR_MOD": np.mod,
    "GREATER": np.greater,
    "LESS": np.less,
    "LOGICAL_AND": np.logical_and,
    "LOGICAL_OR": np.logical_or,
    "MAXIMUM": np.maximum,
    "MINIMUM": np.minimum,
    "MUL": np.multiply,
    "NEG": np.negative,
    "ROUND": np.rint,
    "SELECT_V2": np.where,
    "SUB": np.subtract,
}
"""What constants are computed by, while the file is made."""
_BROADCAST_RANK = 4
"""Highest rank at which every binary kernel broadcasts."""
_TRANSPOSE_RANK = 6
_PLANE = 4


@dataclass(eq=False, slots=True)
class Value:
    """One tensor of the source model: its shape and type there, and the tensors of the file that hold it."""

    shape: Shape
    dtype: np.dtype[Any]
    forms: dict[Order, Tensor] = field(default_factory=dict)
    """By the order of axes in memory; the first is how it was made."""
    constant: NDArray[Any] | None = None
    uses: int = 1
    """Nodes and outputs of the source that read it."""
    shared: bool = False
    """Whether another value claims the same tensor, and is read too."""

    @property
    def rank(self) -> int:
        """How many axes."""
        return len(self.shape)

    @property
    def order(self) -> Order:
        """How it lies in memory."""
        return next(iter(self.forms), _layout.identity(self.rank))

    @property
    def stored(self) -> np.dtype[Any]:
        """Its element type in the file."""
        return stored(self.dtype)

    def axis(self, axis: int) -> int:
        """A source axis, negative ones counted from the end, as a number from 0."""
        return axis + self.rank if axis < 0 else axis

    def array(self, what: str) -> NDArray[Any]:
        """The value of a constant.

        Raises:
            UnsupportedError: it is computed by the model.
        """
        if self.constant is None:
            raise UnsupportedError(f"{what} is computed by the model: expected a constant")
        return self.constant

    def integers(self, what: str) -> tuple[int, ...]:
        """The value of a constant vector or scalar of integers."""
        return tuple(int(value) for value in np.ravel(self.array(what)))

    def number(self, what: str) -> float:
        """The value of a constant with one element."""
        return float(np.ravel(self.array(what))[0])


def stored(dtype: DTypeLike) -> np.dtype[Any]:
    """The element type in the file for one of the source."""
    dtype = np.dtype(dtype)
    return np.dtype(_STORED.get(dtype.name, dtype.name))


def narrowed(array: NDArray[np.generic]) -> NDArray[np.generic]:
    """The array in its element type in the file.

    Raises:
        UnsupportedError: a number does not fit.
    """
    target = stored(array.dtype)
    if target == array.dtype:
        return array
    if array.dtype == np.int64:
        limits = np.iinfo(np.int32)
        if array.size and (array.min() < limits.min or array.max() > limits.max):
            raise UnsupportedError(f"a constant does not fit into int32: it ranges from {array.min()} to {array.max()}")
    with np.errstate(over="ignore"):
        return array.astype(target)


class Emission:
    """The graph under construction, and the steps that put operations into it."""

    def __init__(self) -> None:
        self.graph = Graph()
        self.macs = 0

    def constant(self, array: NDArray[np.generic]) -> Value:
        """A value that is known now."""
        return Value(array.shape, array.dtype, constant=array)

    def scalar(self, number: float, like: Value) -> Value:
        """A constant number of the element type of `like`."""
        return self.constant(np.array(number, like.dtype))

    def made(self, tensor: Tensor, dtype: DTypeLike, order: Order | None = None) -> Value:
        """The value that a tensor holds, which lies in `order` (the source's, if left out)."""
        order = order or _layout.identity(len(tensor.shape))
        shape = [0] * len(order)
        for position, axis in enumerate(order):
            shape[axis] = tensor.shape[position]
        return Value(tuple(shape), np.dtype(dtype), {order: tensor})

    def tensor(self, value: Value, order: Order | None = None) -> Tensor:
        """The tensor that holds a value in `order` (the source's, if left out); transposes it when none does yet."""
        order = order or _layout.identity(value.rank)
        if order not in value.forms:
            if value.constant is not None:
                value.forms[order] = self.graph.constant(narrowed(value.constant).transpose(order))
            else:
                current, tensor = next(iter(value.forms.items()))
                value.forms[order] = self._moved(tensor, _layout.move(current, order))
        return value.forms[order]

    def _moved(self, tensor: Tensor, permutation: Order) -> Tensor:
        if len(permutation) <= _TRANSPOSE_RANK or _layout.is_free(tensor.shape, permutation):
            return self.graph.transpose(tensor, permutation)
        runs = _layout.runs(permutation)
        if len(runs) > _TRANSPOSE_RANK:
            raise UnsupportedError(f"a transpose of rank {len(permutation)} has no kernel")
        first = sorted(runs)
        small = self.graph.reshape(tensor, [prod(tensor.shape[axis] for axis in run) for run in first])
        moved = self.graph.transpose(small, tuple(first.index(run) for run in runs))
        return self.graph.reshape(moved, _layout.permuted(tensor.shape, permutation))

    def alias(self, value: Value, shape: Shape, forms: dict[Order, Tensor], dtype: DTypeLike | None = None) -> Value:
        """Another view of the same tensors."""
        return Value(shape, np.dtype(dtype or value.dtype), forms, shared=value.shared or value.uses > 1)

    def transpose(self, value: Value, permutation: Order) -> Value:
        """The value with its source axes permuted; nothing is emitted."""
        if value.constant is not None:
            return self.constant(value.constant.transpose(permutation))
        back = {axis: position for position, axis in enumerate(permutation)}
        forms = {tuple(back[axis] for axis in order): tensor for order, tensor in value.forms.items()}
        return self.alias(value, _layout.permuted(value.shape, permutation), forms)

    def reshape(self, value: Value, shape: Sequence[int]) -> Value:
        """The value in another shape, left in memory where it lies if that can be."""
        shape = tuple(int(size) for size in shape)
        if value.constant is not None:
            return self.constant(value.constant.reshape(shape))
        if shape == value.shape:
            return self.alias(value, shape, dict(value.forms))
        order, tensor = next(iter(value.forms.items()))
        target = _layout.reshaped(value.shape, order, shape)
        if target is None:
            # Channels that were shuffled stay last, for the convolution to come; all else takes the source's order.
            moved = _layout.gathered(value.shape, order, shape)
            target = _layout.reshaped(value.shape, moved, shape)
            if len(shape) != _PLANE or target != _layout.channels_last(_PLANE) or value.shape[-2:] != shape[-2:]:
                moved, target = _layout.identity(value.rank), _layout.identity(len(shape))
            tensor = self.tensor(value, moved)
        return self.made(self.graph.reshape(tensor, _layout.permuted(shape, target)), value.dtype, target)

    def cast(self, value: Value, dtype: DTypeLike) -> Value:
        """The value in another element type; rounded to float16 where that is asked for, though float32 holds it."""
        dtype = np.dtype(dtype)
        if value.constant is not None:
            return self.constant(value.constant.astype(dtype))
        order, tensor = next(iter(value.forms.items()))
        if dtype == np.float16 and value.dtype != np.float16:
            tensor = self._cast(self._cast(tensor, np.dtype(np.float16)), stored(dtype))
        elif tensor.dtype == stored(dtype):
            return self.alias(value, value.shape, dict(value.forms), dtype)
        return self.made(self._cast(tensor, stored(dtype)), dtype, order)

    def _cast(self, tensor: Tensor, dtype: np.dtype[Any]) -> Tensor:
        if tensor.dtype == dtype:
            return tensor
        return self.graph.add("CAST", [tensor], tensor.shape, dtype, schema.CastOptionsT())

    def elementwise(self, code: str, *values: Value, dtype: DTypeLike | None = None, options: object = None) -> Value:
        """One element by element operation over values that are broadcast as numpy does, in the order they lie in."""
        result = np.dtype(dtype or values[0].dtype)
        known = [value.constant for value in values if value.constant is not None]
        if len(known) == len(values) and code in _FOLDED:
            with np.errstate(all="ignore"):
                return self.constant(np.asarray(_FOLDED[code](*known), result))
        narrow = [value.stored.name in _NARROW for value in values]
        if any(narrow):
            values = tuple(
                self.cast(value, np.int32) if small else value for value, small in zip(values, narrow, strict=True)
            )
            wide = self.elementwise(
                code, *values, dtype=np.int32 if result.name in _NARROW else result, options=options
            )
            return self.cast(wide, result)
        for value in values:
            if value.stored.name not in {"float32", "int32", "bool"}:
                raise UnsupportedError(f"{code} of {value.dtype.name} has no kernel")
        shape = np.broadcast_shapes(*(value.shape for value in values))
        order = self.common_order(values, len(shape))
        tensors = [self._operand(value, order) for value in values]
        physical = _layout.permuted(shape, order)
        uneven = {tensor.shape for tensor in tensors if tensor.shape} != {physical}
        if uneven and len(physical) > _BROADCAST_RANK:
            return self.made(self._merged(code, tensors, physical, stored(result), options), result, order)
        return self.made(self.graph.add(code, tensors, physical, stored(result), options), result, order)

    def common_order(self, values: Sequence[Value], rank: int) -> Order:
        """The order that moves fewest bytes: that of the computed values of full rank."""
        weights: dict[Order, int] = {}
        for value in values:
            if value.constant is None and value.rank == rank:
                for order in value.forms:
                    weights[order] = weights.get(order, 0) + prod(value.shape)
        return max(weights, key=lambda order: weights[order]) if weights else _layout.identity(rank)

    def _operand(self, value: Value, order: Order) -> Tensor:
        if value.rank == len(order):
            return self.tensor(value, order)
        if prod(value.shape) == 1 or order == _layout.identity(len(order)):
            return self.tensor(value)
        padded = self.reshape(value, (1,) * (len(order) - value.rank) + value.shape)
        return self.tensor(padded, order)

    def _merged(self, code: str, tensors: list[Tensor], shape: Shape, dtype: np.dtype[Any], options: object) -> Tensor:
        """The operation at a rank that broadcasting kernels take."""
        padded = [(1,) * (len(shape) - len(tensor.shape)) + tensor.shape for tensor in tensors]
        groups = _layout.merged_axes([shape, *padded])
        small = tuple(prod(shape[axis] for axis in group) for group in groups)
        operands = [
            self.graph.reshape(tensor, [prod(size[axis] for axis in group) for group in groups])
            for tensor, size in zip(tensors, padded, strict=True)
        ]
        if len(small) > _BROADCAST_RANK:
            operands = [self.broadcast(tensor, small) for tensor in operands]
        return self.graph.reshape(self.graph.add(code, operands, small, dtype, options), shape)

    def broadcast(self, tensor: Tensor, shape: Shape) -> Tensor:
        """The tensor repeated along its axes of size 1."""
        if tensor.shape == shape:
            return tensor
        return self.graph.add("BROADCAST_TO", [tensor, self.graph.integers(shape)], shape, tensor.dtype, version=2)

    def add(self, left: Value, right: Value) -> Value:
        """Left + right."""
        return self.elementwise("ADD", left, right, options=schema.AddOptionsT())

    def sub(self, left: Value, right: Value) -> Value:
        """Left - right."""
        return self.elementwise("SUB", left, right, options=schema.SubOptionsT())

    def mul(self, left: Value, right: Value) -> Value:
        """Left * right."""
        return self.elementwise("MUL", left, right, options=schema.MulOptionsT())

    def div(self, left: Value, right: Value) -> Value:
        """Left / right."""
        return self.elementwise("DIV", left, right, options=schema.DivOptionsT())

    def select(self, condition: Value, yes: Value, no: Value) -> Value:
        """`yes` where the condition holds, else `no`."""
        return self.elementwise("SELECT_V2", condition, yes, no, dtype=yes.dtype, options=schema.SelectV2OptionsT())

    def reduce(self, code: str, value: Value, axes: Sequence[int], *, keep: bool) -> Value:
        """A reduction over source axes, in the order that the value lies in."""
        if not axes:
            return value
        order = value.order
        tensor = self.tensor(value, order)
        gone = {value.axis(axis) for axis in axes}
        places = [position for position, axis in enumerate(order) if axis in gone]
        options = schema.ReducerOptionsT(keepDims=keep)
        shape = [1 if axis in gone else value.shape[axis] for axis in order if keep or axis not in gone]
        result = self.graph.add(code, [tensor, self.graph.integers(places)], shape, tensor.dtype, options)
        if keep:
            return self.made(result, value.dtype, order)
        left = sorted(axis for axis in order if axis not in gone)
        return self.made(result, value.dtype, tuple(left.index(axis) for axis in order if axis not in gone))
