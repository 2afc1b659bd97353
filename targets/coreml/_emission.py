"""A MIL program under construction, and the steps that put operations into it.

A value is a MIL variable, or a constant of numpy that becomes one when an operation reads it. What MIL's builder works
out of constants becomes a constant again, so that shapes and indices are folded on the way.
"""

from __future__ import annotations

import re
from dataclasses import dataclass, replace
from math import prod
from typing import TYPE_CHECKING, Any

import numpy as np

from targets._source.refusal import UnsupportedError
from targets.coreml._coremltools import part
from targets.coreml._folded import steps

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence

    from numpy.typing import DTypeLike, NDArray

    from targets._source.shape import Shape

RANK_LIMIT = 5
"""Core ML's, for every tensor."""
_STORED = {
    "float16": "float32",
    "float64": "float32",
    "int8": "int32",
    "uint8": "int32",
    "int16": "int32",
    "uint16": "int32",
    "uint32": "int32",
    "int64": "int32",
    "uint64": "int32",
}
"""Element types that are computed as another one between the model's inputs and outputs."""
MIL_TYPES = {"float16": "fp16", "float32": "fp32", "int32": "int32", "bool": "bool"}
_NUMPY_TYPES = {name: np.dtype(kind) for kind, name in MIL_TYPES.items()}
_IDENTIFIER = re.compile(r"[^A-Za-z0-9_]")


@dataclass(eq=False, slots=True)
class Value:
    """One tensor of the source model: its element type there, and what holds it in the program."""

    dtype: np.dtype[Any]
    var: Any = None
    constant: NDArray[Any] | None = None
    folded: Shape | None = None
    """The shape, where it has more axes than Core ML takes: `var` then has its elements in order, in another shape."""

    @property
    def sizes(self) -> tuple[int | None, ...]:
        """The shape; None for a dimension that is free."""
        if self.constant is not None:
            return tuple(int(size) for size in self.constant.shape)
        if self.folded is not None:
            return self.folded
        return tuple(int(size) if isinstance(size, int | np.integer) else None for size in self.var.shape)

    @property
    def shape(self) -> Shape:
        """The shape.

        Raises:
            UnsupportedError: a dimension is free.
        """
        sizes = self.sizes
        if None in sizes:
            raise UnsupportedError(f"it needs shapes that are numbers: axis {sizes.index(None)} is free")
        return tuple(size for size in sizes if size is not None)

    @property
    def rank(self) -> int:
        """How many axes."""
        return len(self.sizes)

    @property
    def size(self) -> int:
        """How many elements."""
        return prod(self.shape)

    @property
    def stored(self) -> np.dtype[Any]:
        """Its element type in the program."""
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
    """The element type in the program for one of the source."""
    dtype = np.dtype(dtype)
    return np.dtype(_STORED.get(dtype.name, dtype.name))


def narrowed(array: NDArray[np.generic]) -> NDArray[np.generic]:
    """The array in its element type in the program.

    Raises:
        UnsupportedError: a number does not fit, or there is none for its type.
    """
    target = stored(array.dtype)
    if target.name not in MIL_TYPES:
        raise UnsupportedError(f"MIL has no element type for {array.dtype.name}")
    if target == array.dtype:
        return array
    if target == np.int32 and array.size:
        limits = np.iinfo(np.int32)
        if int(array.min()) < limits.min or int(array.max()) > limits.max:
            raise UnsupportedError(f"a constant does not fit into int32: it ranges from {array.min()} to {array.max()}")
    with np.errstate(over="ignore"):
        return array.astype(target)


def identifier(name: str) -> str:
    """The name as MIL and Core ML's feature names allow it."""
    plain = _IDENTIFIER.sub("_", name)
    return f"_{plain}" if not plain or plain[0].isdigit() else plain


class Emission:
    """What operators call to put operations into the current block of the program."""

    def __init__(self, minimum: str) -> None:
        self.minimum = minimum
        """The oldest release that must run it, such as ``ios17``."""
        self.label = "value"
        """What the operations to come are named after."""
        self.origins: dict[str, str] = {}
        """The node that each operation was made for, by the operation's name."""
        self._node = ""
        self._builder = part("converters.mil.mil").Builder
        self._types = part("converters.mil.mil").types
        self._operations = part("converters.mil.mil.ops.registry").SSAOpRegistry
        self._taken: dict[str, int] = {}

    def has(self, release: str) -> bool:
        """Whether what came with that release may be used."""
        return int(self.minimum.removeprefix("ios")) >= int(release.removeprefix("ios"))

    def begin(self, node: str, label: str) -> None:
        """Name the operations to come after a node's output."""
        self._node, self.label = node, label

    def _named(self, operation: str) -> str:
        name = self.name(f"{self.label}_{operation}")
        self.origins[name] = self._node
        return name

    def reserve(self, *names: str) -> None:
        """Let nothing have these names."""
        self._taken.update(dict.fromkeys(names, 0))

    def name(self, wanted: str) -> str:
        """A name in the program that nothing else has."""
        plain = identifier(wanted)
        count = self._taken.get(plain, -1) + 1
        self._taken[plain] = count
        return plain if not count else self.name(f"{plain}_{count}")

    def constant(self, array: NDArray[Any] | float | Sequence[int], dtype: DTypeLike | None = None) -> Value:
        """A value that is known now."""
        known = np.asarray(array, dtype)
        return Value(known.dtype, constant=known)

    def integers(self, values: Sequence[int]) -> NDArray[np.int32]:
        """Axes, sizes and the like, as MIL takes them."""
        return np.array(values, np.int32)

    def scalar(self, number: float, like: Value) -> Value:
        """A constant number of the element type of `like`."""
        return self.constant(np.array(number, like.dtype))

    def made(self, var: Any, dtype: DTypeLike | None = None) -> Value:  # noqa: ANN401 - a MIL variable
        """The value that a MIL variable holds."""
        kind = self.kind(var)
        known = var.val if var.op is not None else None
        if known is not None and not isinstance(known, list):
            return Value(np.dtype(dtype or kind), constant=np.asarray(known).astype(np.dtype(dtype or kind)))
        if len(var.shape) > RANK_LIMIT:
            raise UnsupportedError(f"it makes a tensor of rank {len(var.shape)}: Core ML takes at most {RANK_LIMIT}")
        return Value(np.dtype(dtype or kind), var)

    def kind(self, var: Any) -> np.dtype[Any]:  # noqa: ANN401 - likewise
        """The element type of a MIL variable."""
        return _NUMPY_TYPES[self._types.builtin_to_string(var.dtype)]

    def operand(self, value: Value) -> Any:  # noqa: ANN401 - a MIL variable or what becomes one
        """What the builder takes for a value.

        Raises:
            UnsupportedError: it has more axes than Core ML takes.
        """
        if value.folded is not None:
            raise UnsupportedError(f"it reads a tensor of rank {value.rank}: Core ML takes at most {RANK_LIMIT}")
        return value.var if value.constant is None else narrowed(value.constant)

    def variable(self, value: Value) -> Any:  # noqa: ANN401 - a MIL variable
        """The MIL variable of a value, which is made for a constant."""
        if value.constant is None:
            return self.operand(value)
        return self._builder.const(val=narrowed(value.constant), name=self._named("constant"))

    def op(self, name: str, dtype: DTypeLike | None = None, **given: object) -> Value:
        """An operation with one output, whose element type in the source is `dtype`, or that of its first value."""
        return self.ops(name, dtype, **given)[0]

    def ops(self, name: str, dtype: DTypeLike | None = None, **given: object) -> list[Value]:
        """An operation with any number of outputs.

        Raises:
            UnsupportedError: the release does not have it, or it does not take these types or shapes.
        """
        values = [part for each in given.values() for part in (each if isinstance(each, list) else [each])]
        first = next((each.dtype for each in values if isinstance(each, Value)), None)
        numbers = self._takes_no_bool(name, given)
        inputs: dict[str, Any] = {}
        for key, each in given.items():
            if isinstance(each, Value):
                inputs[key] = self.operand(self.cast(each, np.int32) if key in numbers else each)
            elif isinstance(each, list) and any(isinstance(entry, Value) for entry in each):
                inputs[key] = [self.operand(self.cast(v, np.int32) if key in numbers else v) for v in each]
            else:
                inputs[key] = each
        try:
            found = getattr(self._builder, name)(**inputs, name=self._named(name))
        except (ValueError, TypeError, IndexError, AttributeError, NotImplementedError) as error:
            reason = str(error).strip().splitlines()
            raise UnsupportedError(f"MIL's {name} does not take it: {reason[0] if reason else error!r}") from error
        results = []
        for var in found if isinstance(found, list | tuple) else [found]:
            kind = self.kind(var)
            back = bool(numbers) and kind == np.int32 and dtype is None
            source = dtype if dtype is not None else kind if back or first is None or stored(first) != kind else first
            value = self.made(var, source)
            results.append(self.cast(value, np.bool_) if back else value)
        return results

    def inside(self, value: Value) -> Any:  # noqa: ANN401 - a MIL variable
        """A variable of the current block that holds a value: what a block gives must be made in it."""
        return self._builder.identity(x=self.variable(value), name=self._named("result"))

    def loop(self, start: list[Any], condition: Callable[..., Any], body: Callable[..., Any]) -> list[Any]:
        """MIL's variables after a loop: `condition` and `body` are called with those of one turn."""
        ends = self._builder.while_loop(_cond=condition, _body=body, loop_vars=tuple(start), name=self._named("loop"))
        return list(ends) if isinstance(ends, list | tuple) else [ends]

    def branch(self, condition: Any, yes: Callable[[], Any], no: Callable[[], Any]) -> list[Any]:  # noqa: ANN401 - a MIL variable
        """MIL's variables that one of two blocks gives."""
        ends = self._builder.cond(pred=condition, _true_fn=yes, _false_fn=no, name=self._named("branch"))
        return list(ends) if isinstance(ends, list | tuple) else [ends]

    def _takes_no_bool(self, name: str, given: dict[str, object]) -> set[str]:
        """The inputs that are given booleans, which the operation takes as integers only."""
        booleans = set()
        for key, each in given.items():
            entries = each if isinstance(each, list) else [each]
            if any(isinstance(entry, Value) and entry.dtype == np.bool_ for entry in entries):
                booleans.add(key)
        if not booleans:
            return set()
        try:
            spec = self._operations._get_core_op_cls(name).input_spec.input_types  # noqa: SLF001 - no public way
        except ValueError as error:
            raise UnsupportedError(f"{self.minimum} has no {name}") from error
        refused = set()
        for key in booleans:
            domain = getattr(spec[key], "type_domain", None)
            if domain and self._types.bool not in domain:
                refused.add(key)
        return refused

    def cast(self, value: Value, dtype: DTypeLike) -> Value:
        """The value in another element type; rounded to float16 where that is asked for, though float32 holds it."""
        dtype = np.dtype(dtype)
        if value.constant is not None:
            with np.errstate(all="ignore"):
                return self.constant(value.constant.astype(dtype))
        if value.folded is not None:
            return replace(self.cast(Value(value.dtype, value.var), dtype), folded=value.folded)
        kind = self.kind(value.var)
        if dtype == np.float16 and value.dtype != np.float16 and kind == np.float32:
            return self._cast(self._cast(value, np.dtype(np.float16), dtype), np.dtype(np.float32), dtype)
        return self._cast(value, stored(dtype), dtype)

    def _cast(self, value: Value, kind: np.dtype[Any], dtype: np.dtype[Any]) -> Value:
        if kind.name not in MIL_TYPES:
            raise UnsupportedError(f"MIL has no element type for {dtype.name}")
        if self.kind(value.var) == kind:
            return Value(dtype, value.var)
        found = self._builder.cast(x=value.var, dtype=MIL_TYPES[kind.name], name=self._named("cast"))
        return self.made(found, dtype)

    def reshape(self, value: Value, shape: Sequence[int]) -> Value:
        """The value in another shape; one entry may be -1."""
        shape = tuple(int(size) for size in shape)
        if value.constant is not None:
            return self.constant(value.constant.reshape(shape))
        if value.sizes == shape:
            return value
        if len(shape) > RANK_LIMIT:
            rest = prod(size for size in shape if size != -1)
            return Value(value.dtype, value.var, folded=tuple(value.size // rest if d == -1 else d for d in shape))
        value = Value(value.dtype, value.var)
        if not value.rank:
            return self.op("expand_dims", x=value, axes=self.integers(range(len(shape)))) if shape else value
        if not shape:
            return self.op("squeeze", x=self.reshape(value, (1,)) if value.rank > 1 else value)
        return self.op("reshape", x=value, shape=self.integers(shape))

    def transpose(self, value: Value, permutation: Sequence[int]) -> Value:
        """The value with its axes in another order."""
        if tuple(permutation) == tuple(range(value.rank)):
            return value
        if value.constant is not None:
            return self.constant(value.constant.transpose(permutation))
        if value.folded is not None:
            moved = Value(value.dtype, value.var)
            for shape, order in steps(value.folded, permutation, RANK_LIMIT):
                moved = self.transpose(self.reshape(moved, shape), order)
            return replace(moved, folded=tuple(value.folded[axis] for axis in permutation))
        return self.op("transpose", x=value, perm=self.integers(permutation))

    def concat(self, values: Sequence[Value], axis: int) -> Value:
        """The values one after the other along an axis; those without elements are left out."""
        full = [value for value in values if 0 not in value.sizes] or [values[0]]
        if len(full) == 1:
            return full[0]
        if all(value.constant is not None for value in full):
            return self.constant(np.concatenate([value.constant for value in full if value.constant is not None], axis))
        return self.op("concat", values=list(full), axis=full[0].axis(axis))
