"""The bytes of a TFLite file.

Schema: tensorflow/compiler/mlir/lite/schema/schema.fbs, as `ai_edge_litert.schema_py_generated` ships it.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import numpy as np
from ai_edge_litert import schema_py_generated as schema

from targets.edge_arm._packing import AlignedBuffer, packed

if TYPE_CHECKING:
    from numpy.typing import NDArray

    from targets.edge_arm._graph import Graph, Operation, Tensor

SIGNATURE = "serving_default"
RESET = "reset"
"""The signature that sets all variables to zero."""
_FILE_VERSION = 3
_LAST_OLD_CODE = 127
"""Operator codes above it don't fit the schema's first, one-byte field."""


def serialized(main: Graph) -> bytes:
    """The file of a graph and of those that its operations call; the same graph gives the same bytes."""
    graphs = _called(main)
    places = {id(graph): place for place, graph in enumerate(graphs)}
    codes: dict[tuple[str, int], int] = {}
    for graph in graphs:
        for operation in graph.operations:
            codes.setdefault((operation.code, operation.version), len(codes))
            _set_calls(operation, places)
    buffers = _Buffers()
    subgraphs = [
        _subgraph(graph, f"graph_{place}" if place else "main", codes, buffers) for place, graph in enumerate(graphs)
    ]
    first = subgraphs[0]
    signature = schema.SignatureDefT(
        inputs=[schema.TensorMapT(name.encode(), place) for name, place in zip(main.inputs, first.inputs, strict=True)],
        outputs=[
            schema.TensorMapT(name.encode(), place) for name, place in zip(main.outputs, first.outputs, strict=True)
        ],
        signatureKey=SIGNATURE.encode(),
    )
    signatures = [signature]
    if main.reset is not None:
        signatures.append(
            schema.SignatureDefT(
                inputs=[], outputs=[], signatureKey=RESET.encode(), subgraphIndex=places[id(main.reset)]
            )
        )
    model = schema.ModelT(
        version=_FILE_VERSION,
        operatorCodes=[_operator_code(*key) for key in codes],
        subgraphs=subgraphs,
        description="packtrain",
        buffers=buffers.items,
        signatureDefs=signatures,
    )
    return packed(model)


def _called(main: Graph) -> list[Graph]:
    """The graph, pruned, and those that it calls."""
    main.prune()
    found = [main]
    for operation in main.operations:
        for graph in operation.graphs:
            found.extend(_called(graph))
    return found


def _set_calls(operation: Operation, places: dict[int, int]) -> None:
    calls = [places[id(graph)] for graph in operation.graphs]
    if operation.code == "WHILE":
        operation.options = schema.WhileOptionsT(*calls)
    elif operation.code == "IF":
        operation.options = schema.IfOptionsT(*calls)
    elif operation.code == "CALL_ONCE":
        operation.options = schema.CallOnceOptionsT(*calls)


def _subgraph(graph: Graph, name: str, codes: dict[tuple[str, int], int], buffers: _Buffers) -> Any:  # noqa: ANN401 - the generated code has no types
    tensors = graph.tensors()
    _name(tensors, graph, "" if name == "main" else f"{name}/")
    index = {id(tensor): position for position, tensor in enumerate(tensors)}
    return schema.SubGraphT(
        tensors=[_tensor(tensor, buffers) for tensor in tensors],
        inputs=[index[id(tensor)] for tensor in graph.inputs.values()],
        outputs=[index[id(tensor)] for tensor in graph.outputs.values()],
        operators=[_operator(operation, index, codes) for operation in graph.operations],
        name=name,
    )


class _Buffers:
    """Buffers by content; the first is empty, as the schema wants, and serves every tensor without data."""

    def __init__(self) -> None:
        self.items = [AlignedBuffer(b"")]
        self._places: dict[bytes, int] = {}

    def place(self, data: bytes) -> int:
        if data not in self._places:
            self._places[data] = len(self.items)
            self.items.append(AlignedBuffer(data))
        return self._places[data]


def _name(tensors: list[Tensor], graph: Graph, prefix: str) -> None:
    """Give each tensor a name of its own in the whole file; inputs and outputs of the model keep the source's."""
    taken = {*graph.inputs, *graph.outputs}
    for names in (graph.outputs, graph.inputs):
        for name, tensor in names.items():
            tensor.name = prefix + name
    for position, tensor in enumerate(tensors):
        if not tensor.name:
            code = tensor.producer.code.lower() if tensor.producer else "constant"
            tensor.name = f"{prefix}{code}_{position}"
            while tensor.name in taken:
                tensor.name += "_"
            taken.add(tensor.name)


def _tensor(tensor: Tensor, buffers: _Buffers) -> Any:  # noqa: ANN401 - the generated code has no types
    buffer = 0 if tensor.data is None else buffers.place(tensor.data.tobytes())
    return schema.TensorT(
        shape=np.array(tensor.shape, np.int32),
        type=_type(tensor),
        buffer=buffer,
        name=tensor.name.encode(),
        shapeSignature=_open_shape(tensor) if tensor.free else None,
        hasRank=True,
    )


def _open_shape(tensor: Tensor) -> NDArray[np.int32]:
    return np.array([-1 if axis in tensor.free else size for axis, size in enumerate(tensor.shape)], np.int32)


def _type(tensor: Tensor) -> int:
    """Of its elements; what numpy has no type for is a variable's handle."""
    name = "RESOURCE" if tensor.dtype.hasobject else tensor.dtype.name.upper()
    number: int = getattr(schema.TensorType, name)
    return number


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
