"""A TFLite model under construction, and its bytes.

Schema: tensorflow/compiler/mlir/lite/schema/schema.fbs, as `ai_edge_litert.schema_py_generated` ships it.
"""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

import flatbuffers
import numpy as np
from ai_edge_litert import schema_py_generated as schema

from targets.edge_arm._layout import is_free, permuted

if TYPE_CHECKING:
    from collections.abc import Sequence

    from numpy.typing import DTypeLike, NDArray

    from targets.edge_arm._layout import Order, Shape

SIGNATURE = "serving_default"
_FILE_VERSION = 3
_FILE_IDENTIFIER = b"TFL3"
_ALIGNMENT = 16
"""What the schema's ``force_align`` asks of a buffer's data."""
_LAST_OLD_CODE = 127
"""Operator codes above it don't fit the schema's first, one-byte field."""


@dataclass(eq=False, slots=True)
class Tensor:
    """One tensor of the file; a constant if it has data."""

    shape: Shape
    dtype: np.dtype[Any]
    data: NDArray[Any] | None = None
    name: str = ""
    producer: Operation | None = None
    readers: int = 0


@dataclass(eq=False, slots=True)
class Operation:
    """One call of a builtin operator."""

    code: str
    inputs: list[Tensor | None]
    outputs: list[Tensor]
    options: Any = None
    version: int = 1


@dataclass(slots=True)
class Graph:
    """Operations in the order of execution, with the model's inputs and outputs by the source's names."""

    inputs: dict[str, Tensor] = field(default_factory=dict)
    outputs: dict[str, Tensor] = field(default_factory=dict)
    operations: list[Operation] = field(default_factory=list)

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
    ) -> None:
        """Append an operation that writes `outputs`."""
        operation = Operation(code, list(inputs), list(outputs), options, version)
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
            if any(id(tensor) in alive for tensor in operation.outputs):
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
        return list(found.values())

    def serialize(self) -> bytes:
        """The file; the same graph gives the same bytes."""
        self.prune()
        tensors = self.tensors()
        _name(tensors, self)
        index = {id(tensor): position for position, tensor in enumerate(tensors)}
        codes: dict[tuple[str, int], int] = {}
        for operation in self.operations:
            codes.setdefault((operation.code, operation.version), len(codes))
        buffers = _Buffers()
        subgraph = schema.SubGraphT(
            tensors=[_tensor(tensor, buffers) for tensor in tensors],
            inputs=[index[id(tensor)] for tensor in self.inputs.values()],
            outputs=[index[id(tensor)] for tensor in self.outputs.values()],
            operators=[_operator(operation, index, codes) for operation in self.operations],
            name="main",
        )
        signature = schema.SignatureDefT(
            inputs=[schema.TensorMapT(name.encode(), index[id(tensor)]) for name, tensor in self.inputs.items()],
            outputs=[schema.TensorMapT(name.encode(), index[id(tensor)]) for name, tensor in self.outputs.items()],
            signatureKey=SIGNATURE.encode(),
        )
        model = schema.ModelT(
            version=_FILE_VERSION,
            operatorCodes=[_operator_code(*key) for key in codes],
            subgraphs=[subgraph],
            description="packtrain",
            buffers=buffers.items,
            signatureDefs=[signature],
        )
        builder = flatbuffers.Builder(1 << 16)
        builder.Finish(model.Pack(builder), file_identifier=_FILE_IDENTIFIER)
        return bytes(builder.Output())


class _AlignedBuffer:
    """A buffer whose data starts on the boundary that the schema asks for; the generated class packs without it."""

    def __init__(self, data: bytes) -> None:
        self._data = data

    def Pack(self, builder: Any) -> Any:  # noqa: ANN401, N802 - the generated code's interface
        size = len(self._data)
        if size:
            builder.StartVector(1, size, _ALIGNMENT)
            builder.head -= size
            builder.Bytes[builder.head : builder.head + size] = self._data
            data = builder.EndVector()
        schema.BufferStart(builder)
        if size:
            schema.BufferAddData(builder, data)
        return schema.BufferEnd(builder)


class _Buffers:
    """Buffers by content; the first is empty, as the schema wants, and serves every tensor without data."""

    def __init__(self) -> None:
        self.items = [_AlignedBuffer(b"")]
        self._places: dict[bytes, int] = {}

    def place(self, data: bytes) -> int:
        if data not in self._places:
            self._places[data] = len(self.items)
            self.items.append(_AlignedBuffer(data))
        return self._places[data]


def _name(tensors: list[Tensor], graph: Graph) -> None:
    """Give each tensor a name of its own; inputs and outputs keep the source's."""
    taken = {*graph.inputs, *graph.outputs}
    for names in (graph.outputs, graph.inputs):
        for name, tensor in names.items():
            tensor.name = name
    for position, tensor in enumerate(tensors):
        if not tensor.name:
            code = tensor.producer.code.lower() if tensor.producer else "constant"
            tensor.name = f"{code}_{position}"
            while tensor.name in taken:
                tensor.name += "_"
            taken.add(tensor.name)


def _tensor(tensor: Tensor, buffers: _Buffers) -> Any:  # noqa: ANN401 - the generated code has no types
    buffer = 0 if tensor.data is None else buffers.place(tensor.data.tobytes())
    return schema.TensorT(
        shape=np.array(tensor.shape, np.int32),
        type=getattr(schema.TensorType, tensor.dtype.name.upper()),
        buffer=buffer,
        name=tensor.name.encode(),
        hasRank=True,
    )


def _operator(operation: Operation, index: dict[int, int], codes: dict[tuple[str, int], int]) -> Any:  # noqa: ANN401 - likewise
    kind = 0
    if operation.options is not None:
        kind = getattr(schema.BuiltinOptions, type(operation.options).__name__.removesuffix("T"))
    return schema.OperatorT(
        opcodeIndex=codes[operation.code, operation.version],
        inputs=np.array([-1 if tensor is None else index[id(tensor)] for tensor in operation.inputs], np.int32),
        outputs=np.array([index[id(tensor)] for tensor in operation.outputs], np.int32),
        builtinOptionsType=kind,
        builtinOptions=operation.options,
    )


def _operator_code(code: str, version: int) -> Any:  # noqa: ANN401 - likewise
    number = getattr(schema.BuiltinOperator, code)
    return schema.OperatorCodeT(deprecatedBuiltinCode=min(number, _LAST_OLD_CODE), version=version, builtinCode=number)
