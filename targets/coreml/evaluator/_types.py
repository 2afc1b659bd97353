"""Types of values in a MIL program, as ``MIL.proto`` of coremltools declares them."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, NamedTuple, TypeAlias

import numpy as np

from targets.coreml.evaluator._errors import PackageError

if TYPE_CHECKING:
    from numpy.typing import DTypeLike, NDArray

    Array: TypeAlias = NDArray[Any]

_MOST_NESTED = 4
"""A list of tensors is two deep, a state of one as well; nothing that Core ML knows is deeper."""


_MOST_ELEMENTS = 1 << 31
"""Of one tensor: twice what fits the memory of the largest device that runs Core ML."""


class Element(NamedTuple):
    """One data type of ``MIL.proto``."""

    name: str
    numpy: DTypeLike
    """How values are held here; those of fewer than eight bits take a byte each."""
    bits: int
    signed: bool = False


ELEMENTS = {
    1: Element("bool", np.bool_, 8),
    2: Element("string", np.str_, 0),
    10: Element("fp16", np.float16, 16),
    11: Element("fp32", np.float32, 32),
    12: Element("fp64", np.float64, 64),
    21: Element("int8", np.int8, 8, signed=True),
    22: Element("int16", np.int16, 16, signed=True),
    23: Element("int32", np.int32, 32, signed=True),
    24: Element("int64", np.int64, 64, signed=True),
    25: Element("int4", np.int8, 4, signed=True),
    31: Element("uint8", np.uint8, 8),
    32: Element("uint16", np.uint16, 16),
    33: Element("uint32", np.uint32, 32),
    34: Element("uint64", np.uint64, 64),
    35: Element("uint4", np.uint8, 4),
    36: Element("uint2", np.uint8, 2),
    37: Element("uint1", np.uint8, 1),
    38: Element("uint6", np.uint8, 6),
    39: Element("uint3", np.uint8, 3),
}
"""By the number of the enumeration ``DataType``. Core ML computes with neither bfloat16 nor float8."""


class TensorType(NamedTuple):
    """A tensor's element type and shape."""

    element: Element
    shape: tuple[int | None, ...] | None
    """None for an axis of unknown length; None instead of a shape where the rank is unknown too."""

    def admits(self, shape: tuple[int, ...]) -> bool:
        """Whether a value of that shape is of this type."""
        if self.shape is None:
            return True
        return len(shape) == len(self.shape) and all(
            want is None or want == have for want, have in zip(self.shape, shape, strict=True)
        )

    def __str__(self) -> str:
        if self.shape is None:
            return f"{self.element.name}[...]"
        return f"{self.element.name}[{', '.join('?' if d is None else str(d) for d in self.shape)}]"


class OtherType(NamedTuple):
    """A type that is no tensor."""

    kind: str
    """``list``, ``tuple``, ``dictionary`` or ``state``."""
    inner: tuple[ValueType, ...]


ValueType: TypeAlias = TensorType | OtherType


def value_type(message: Any, nesting: int = 0) -> ValueType:  # noqa: ANN401 - generated messages have no types
    """The type that a ``ValueType`` message declares.

    Raises:
        PackageError: it is unknown or nested too deeply.
    """
    kind = message.WhichOneof("type")
    if kind == "tensorType":
        return _tensor_type(message.tensorType)
    if nesting >= _MOST_NESTED:
        raise PackageError(f"a type is nested too deeply: expected at most {_MOST_NESTED} levels")
    inner: tuple[Any, ...]
    match kind:
        case "listType":
            inner = (message.listType.type,)
        case "stateType":
            inner = (message.stateType.wrappedType,)
        case "tupleType":
            inner = tuple(message.tupleType.types)
        case "dictionaryType":
            inner = (message.dictionaryType.keyType, message.dictionaryType.valueType)
        case _:
            raise PackageError("a value has no type")
    return OtherType(kind.removesuffix("Type"), tuple(value_type(each, nesting + 1) for each in inner))


def _tensor_type(message: Any) -> TensorType:  # noqa: ANN401 - generated messages have no types
    element = ELEMENTS.get(message.dataType)
    if element is None:
        raise PackageError(f"unknown data type {message.dataType}: expected one of {sorted(ELEMENTS)}")
    shape: list[int | None] = []
    for dimension in message.dimensions:
        if dimension.WhichOneof("dimension") == "constant":
            shape.append(dimension.constant.size)
        elif dimension.unknown.variadic:
            return TensorType(element, None)
        else:
            shape.append(None)
    count = 1
    for length in shape:
        count *= length or 1
    if count > _MOST_ELEMENTS:
        raise PackageError(f"a tensor has {count} elements: expected at most {_MOST_ELEMENTS}")
    if message.rank >= 0 and message.rank != len(shape):
        raise PackageError(f"a tensor type names {len(shape)} dimensions: expected {message.rank}")
    return TensorType(element, tuple(shape))
