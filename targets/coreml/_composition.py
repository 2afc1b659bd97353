"""What a package is made of: its operations in order, what each computes in, and how large its weights are."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from targets._composition import Composition, Layer
from targets.coreml._neural_engine import Seen, remarks
from targets.coreml.evaluator._package import specification
from targets.coreml.evaluator._types import TensorType, value_type

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

    from targets.coreml.evaluator._blobs import Blobs


def composition(package: Path) -> Composition:
    """Every operation of every function, constants belonging to the first that reads them.

    Raises:
        PackageError: the folder is no ML program, or damaged.
    """
    model, blobs = specification(package)
    several = len(model.mlProgram.functions) > 1
    weights = _Weights(blobs)
    layers, seen = [], []
    for name, function in sorted(model.mlProgram.functions.items()):
        stored: dict[str, int] = {}
        for operation in _operations(function.block_specializations[function.opset], weights, stored):
            one = _seen(operation, f"{name}/" if several else "")
            size = weights.own(operation) + sum(stored.pop(each, 0) for each in _read(operation))
            seen.append(one)
            layers.append(Layer(name=one.name, operator=one.operator, precision=one.precision, weight_bytes=size))
    ranged = [each.name for each in model.description.input if each.type.multiArrayType.HasField("shapeRange")]
    return Composition(layers=tuple(layers), remarks=remarks(seen, ranged))


def _operations(block: Any, weights: _Weights, stored: dict[str, int]) -> Iterator[Any]:  # noqa: ANN401 - generated messages
    """All but constants, whose sizes are put into `stored` by their names."""
    for operation in block.operations:
        if operation.type == "const" or operation.type.startswith("constexpr"):
            size = weights.own(operation) + sum(stored.pop(each, 0) for each in _read(operation))
            stored.update({each.name: size for each in operation.outputs[:1]})
            continue
        yield operation
        for inner in operation.blocks:
            yield from _operations(inner, weights, stored)


def _read(operation: Any) -> Iterator[str]:  # noqa: ANN401 - likewise
    for argument in operation.inputs.values():
        for each in argument.arguments:
            if each.WhichOneof("binding") == "name":
                yield each.name


class _Weights:
    """Sizes of constants; one that several read is the first one's."""

    def __init__(self, blobs: Blobs) -> None:
        self._blobs = blobs
        self._counted: set[tuple[str, int]] = set()

    def own(self, operation: Any) -> int:  # noqa: ANN401 - likewise
        """Bytes of the values that stand in the operation itself."""
        values = [value for key, value in operation.attributes.items() if key != "name"]
        for argument in operation.inputs.values():
            values += [each.value for each in argument.arguments if each.WhichOneof("binding") == "value"]
        return sum(self._bytes(value) for value in values)

    def _bytes(self, value: Any) -> int:  # noqa: ANN401 - likewise
        if value.WhichOneof("value") != "blobFileValue":
            return int(value.immediateValue.ByteSize())
        place = (value.blobFileValue.fileName, value.blobFileValue.offset)
        if place in self._counted:
            return 0
        self._counted.add(place)
        return self._blobs.size(*place)


def _seen(operation: Any, prefix: str) -> Seen:  # noqa: ANN401 - likewise
    outputs = list(operation.outputs)
    name = prefix + (outputs[0].name if outputs else operation.type)
    declared = value_type(outputs[0].type) if outputs else None
    if not isinstance(declared, TensorType):
        return Seen(name, operation.type, "", 0)
    return Seen(name, operation.type, _precision(declared), len(declared.shape or ()))


def _precision(declared: TensorType) -> str:
    import numpy as np

    return "str" if declared.element.name == "string" else np.dtype(declared.element.numpy).name
