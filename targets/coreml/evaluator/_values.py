"""Constants of a MIL program: numbers, text, and tensors that stand in it or beside it."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, TypeAlias

import numpy as np

from targets.coreml.evaluator._blobs import unpacked
from targets.coreml.evaluator._errors import PackageError
from targets.coreml.evaluator._types import TensorType, value_type

if TYPE_CHECKING:
    from targets.coreml.evaluator._blobs import Blobs
    from targets.coreml.evaluator._types import Array

    Constant: TypeAlias = Array | str | tuple["Constant", ...]

_BYTE = 8
_MOST_NESTED = 4


def constant(message: Any, blobs: Blobs, nesting: int = 0) -> Constant:  # noqa: ANN401 - generated messages
    """The value of a ``Value`` message: text as str, a list as a tuple, all else as an array of the declared shape.

    Raises:
        PackageError: value and declared type disagree.
    """
    if message.WhichOneof("value") == "immediateValue":
        kind = message.immediateValue.WhichOneof("value")
        if kind in {"list", "tuple"}:
            if nesting >= _MOST_NESTED:
                raise PackageError("a constant is nested too deeply")
            items = getattr(message.immediateValue, kind).values
            return tuple(constant(item, blobs, nesting + 1) for item in items)
    declared = value_type(message.type)
    if not isinstance(declared, TensorType) or declared.shape is None or None in declared.shape:
        raise PackageError(f"a constant has no fixed type: {declared}")
    shape = tuple(length for length in declared.shape if length is not None)
    if message.WhichOneof("value") == "blobFileValue":
        stored = message.blobFileValue
        return blobs.read(stored.fileName, stored.offset, declared.element, shape)
    return _immediate(message.immediateValue.tensor, declared, shape)


def _immediate(message: Any, declared: TensorType, shape: tuple[int, ...]) -> Constant:  # noqa: ANN401 - generated
    field = message.WhichOneof("value")
    if field is None:
        raise PackageError(f"a constant of type {declared} has no value")
    element = declared.element
    held = getattr(message, field).values
    values: Array
    if field == "strings":
        if not shape and len(held) == 1:
            return str(held[0])
        values = np.array(list(held), dtype=np.str_)
    elif field == "bytes":
        raw = np.frombuffer(held, dtype=np.uint8)
        if element.bits < _BYTE:
            values = unpacked(raw, element, int(np.prod(shape, dtype=np.int64)) * element.bits)
        else:
            values = raw.view(element.numpy)
    else:
        values = np.array(held, dtype=element.numpy)
    count = int(np.prod(shape, dtype=np.int64))
    if values.size != count:
        raise PackageError(f"a constant of type {declared} has {values.size} values: expected {count}")
    return values.reshape(shape)
