"""What a model's description says of its inputs, outputs and states, and whether a tensor fits."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import msgspec
import numpy as np

from targets.coreml.evaluator._errors import InputError, PackageError
from targets.coreml.evaluator._types import OtherType, TensorType

if TYPE_CHECKING:
    from targets.coreml.evaluator._program import Declaration
    from targets.coreml.evaluator._types import Array, ValueType

_COLOURS = {10: "grayscale", 20: "RGB", 30: "BGR", 40: "grayscale-float16"}
_ANY = (0, -1)
"""A size range from zero to no bound."""


class Feature(msgspec.Struct, frozen=True, kw_only=True):
    """One input, output or state of a model."""

    name: str
    dtype: str
    """As numpy calls it; ``str`` for a class label."""
    shape: tuple[int | None, ...]
    """None where the length is free."""
    ranges: tuple[tuple[int, int], ...] = ()
    """The least and the greatest length of each axis, the latter -1 where there is no bound."""
    shapes: tuple[tuple[int, ...], ...] = ()
    """The shapes that are allowed, where they are listed one by one."""
    colour: str = ""
    """For an image ``RGB``, ``BGR``, ``grayscale`` or ``grayscale-float16``; the tensor then holds pixel values."""
    optional: bool = False

    def takes(self, shape: tuple[int, ...]) -> bool:
        """Whether a tensor of that shape fits."""
        allowed = len(shape) == len(self.shape) and all(
            want is None or want == have for want, have in zip(self.shape, shape, strict=True)
        )
        if allowed and self.shapes:
            allowed = shape in self.shapes
        if allowed and self.ranges:
            allowed = all(
                low <= have and (high < 0 or have <= high) for (low, high), have in zip(self.ranges, shape, strict=True)
            )
        return allowed

    def checked(self, value: Array) -> Array:
        """`value` in the feature's element type.

        Raises:
            InputError: shape or values don't fit.
        """
        value = np.asarray(value)
        if not self.takes(value.shape):
            raise InputError(f"'{self.name}' has the shape {list(value.shape)}: expected {self._expected()}")
        target = np.dtype(self.dtype)
        if value.dtype == target:
            return value
        if target.kind in "iu" and value.dtype.kind in "iub":
            limits = np.iinfo(target)
            if value.size and (int(value.min()) < limits.min or int(value.max()) > limits.max):
                raise InputError(f"'{self.name}' has values beyond {self.dtype}")
        elif target.kind != "f" or value.dtype.kind not in "fiub":
            raise InputError(f"'{self.name}' is of type {value.dtype}: expected {self.dtype}")
        return value.astype(target)

    def _expected(self) -> str:
        if self.shapes:
            return "one of " + ", ".join(str(list(shape)) for shape in self.shapes)
        if self.ranges:
            return "[" + ", ".join(f"{low}..{'' if high < 0 else high}" for low, high in self.ranges) + "]"
        return "[" + ", ".join("?" if d is None else str(d) for d in self.shape) + "]"


def feature(declaration: Declaration, described: Any) -> Feature:  # noqa: ANN401 - generated messages have no types
    """An input or a state: its type as the function declares it, its freedom as the description says.

    `described` is the ``FeatureDescription`` message of that name, or None.
    """
    tensor = _tensor(declaration.type)
    shape = tensor.shape
    if shape is None:
        raise PackageError(f"input '{declaration.name}' has no rank")
    dtype = np.dtype(tensor.element.numpy).name
    if described is None:
        return Feature(name=declaration.name, dtype=dtype, shape=shape)
    optional = bool(described.type.isOptional)
    kind = described.type.WhichOneof("Type")
    if kind == "imageType":
        image = described.type.imageType
        leading = tuple(length for length in shape[:2] if length is not None)
        return Feature(
            name=declaration.name,
            dtype=dtype,
            shape=shape,
            colour=_COLOURS.get(image.colorSpace, ""),
            optional=optional,
            shapes=tuple((*leading, size.height, size.width) for size in image.enumeratedSizes.sizes),
        )
    if kind != "multiArrayType":
        return Feature(name=declaration.name, dtype=dtype, shape=shape, optional=optional)
    array = described.type.multiArrayType
    flexibility = array.WhichOneof("ShapeFlexibility")
    return Feature(
        name=declaration.name,
        dtype=dtype,
        shape=shape,
        optional=optional,
        shapes=tuple(tuple(each.shape) for each in array.enumeratedShapes.shapes)
        if flexibility == "enumeratedShapes"
        else (),
        ranges=tuple((each.lowerBound, each.upperBound) for each in array.shapeRange.sizeRanges)
        if flexibility == "shapeRange"
        else (),
    )


def result(name: str, declared: ValueType) -> Feature:
    """An output, by the type of the value that the function returns."""
    if isinstance(declared, OtherType):
        # A classifier's scores by class; they are given as a vector in the order of the classes.
        return Feature(name=name, dtype="float32", shape=(None,))
    dtype = "str" if declared.element.name == "string" else np.dtype(declared.element.numpy).name
    return Feature(name=name, dtype=dtype, shape=declared.shape or ())


def _tensor(declared: ValueType) -> TensorType:
    if isinstance(declared, TensorType):
        return declared
    if declared.kind == "state" and isinstance(declared.inner[0], TensorType):
        return declared.inner[0]
    raise PackageError(f"an input of type {declared.kind} is not expected")
