"""The ONNX model as the emitter reads it: nodes with plain attributes, constants folded, every shape a number."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import numpy as np
import onnx
from onnx import numpy_helper

from targets._source.control import unrolled
from targets._source.definitions import expanded, inferred
from targets._source.folding import captured, domain_of, empty, fold, is_empty

if TYPE_CHECKING:
    from collections.abc import Collection, Iterable

    from numpy.typing import NDArray

    from targets._source.shape import Shape

_IR_VERSION = 4
"""Before it, every constant was an input as well, and was not looked at to infer shapes."""


@dataclass(frozen=True, slots=True)
class Type:
    """Element type and shape of one tensor."""

    dtype: np.dtype[Any]
    shape: Shape


@dataclass(frozen=True, slots=True)
class FreeType:
    """Element type and shape of an input with free dimensions, which have names."""

    dtype: np.dtype[Any]
    sizes: tuple[int | str, ...]


@dataclass(frozen=True, slots=True)
class Node:
    """One node; `version` is that of the operator, not of the model's opset."""

    name: str
    operator: str
    domain: str
    version: int
    inputs: tuple[str, ...]
    """Its own, then what its subgraphs read of the graph around it."""
    outputs: tuple[str, ...]
    attributes: dict[str, Any]
    proto: onnx.NodeProto
    opsets: dict[str, int]
    shapes: tuple[Shape | None, ...] = ()
    """Of its outputs, as declared or inferred; None where they are not numbers."""

    def integer(self, name: str, default: int) -> int:
        """The attribute, or its default."""
        return int(self.attributes.get(name, default))

    def number(self, name: str, default: float) -> float:
        """The attribute, or its default."""
        return float(self.attributes.get(name, default))

    def integers(self, name: str) -> tuple[int, ...]:
        """The attribute; empty if it is left out."""
        return tuple(int(value) for value in self.attributes.get(name, ()))

    def text(self, name: str, default: str) -> str:
        """The attribute, or its default."""
        value = self.attributes.get(name, default)
        return value.decode() if isinstance(value, bytes) else str(value)

    @property
    def label(self) -> str:
        """How the node is called in a finding: its name, or that of its first output."""
        return self.name or next(filter(None, self.outputs), self.operator)

    @property
    def qualified(self) -> str:
        """The operator with its domain, which is left out for ONNX's own."""
        return f"{self.domain}.{self.operator}" if self.domain else self.operator


@dataclass(frozen=True, slots=True)
class Source:
    """The whole model."""

    nodes: tuple[Node, ...]
    inputs: tuple[str, ...]
    outputs: tuple[str, ...]
    types: dict[str, Type]
    constants: dict[str, NDArray[np.generic]]
    free: dict[str, FreeType]
    """Inputs that have a dimension without a number."""
    opsets: dict[str, int]


def read_source(model: onnx.ModelProto, served: Collection[str]) -> Source:
    """The model with its constants folded and the shapes of all tensors inferred.

    An operator that is not `served`, but that ONNX defines by others, is replaced by its definition.

    Raises:
        TargetError: the model's shapes contradict each other.
    """
    private = onnx.ModelProto()
    private.CopyFrom(model)
    private.ir_version = max(private.ir_version, _IR_VERSION)
    declared = {domain_of(entry.domain) for entry in private.opset_import}
    for domain in sorted({node.domain for node in private.graph.node}):
        if domain_of(domain) not in declared:
            private.opset_import.append(onnx.helper.make_opsetid(domain, 1))
    opsets = {domain_of(entry.domain): entry.version for entry in private.opset_import}
    while True:
        private = expanded(private, served)
        shaped = inferred(private)
        types = dict(_types(shaped.graph))
        folded = fold(private, types)
        shapes = {tensor.name: tuple(tensor.dims) for tensor in private.graph.initializer}
        shapes.update({name: kind.shape for name, kind in types.items()})
        if not unrolled(private, shapes, opsets.get("", 1)) and not folded:
            break
    constants = {tensor.name: numpy_helper.to_array(tensor) for tensor in private.graph.initializer}
    inputs = tuple(entry.name for entry in private.graph.input if entry.name not in constants)
    types.update({name: Type(array.dtype, array.shape) for name, array in constants.items()})
    constants.update({name: empty(types[name]) for name in inputs if is_empty(types, name)})
    return Source(
        nodes=tuple(_node(node, opsets, types) for node in shaped.graph.node),
        inputs=inputs,
        outputs=tuple(entry.name for entry in private.graph.output),
        types=types,
        constants=constants,
        free={entry.name: _free(entry) for entry in private.graph.input if entry.name in set(inputs) - set(types)},
        opsets=opsets,
    )


def _node(node: onnx.NodeProto, opsets: dict[str, int], types: dict[str, Type]) -> Node:
    domain = domain_of(node.domain)
    try:
        version = onnx.defs.get_schema(node.op_type, opsets.get(domain, 1), domain).since_version
    except onnx.defs.SchemaError:
        version = opsets.get(domain, 1)
    attributes = {entry.name: onnx.helper.get_attribute_value(entry) for entry in node.attribute}
    inputs = (*node.input, *captured(node))
    shapes = tuple(types[name].shape if name in types else None for name in node.output)
    return Node(node.name, node.op_type, domain, version, inputs, tuple(node.output), attributes, node, opsets, shapes)


def _free(entry: onnx.ValueInfoProto) -> FreeType:
    kind = entry.type.tensor_type
    dtype = np.dtype(onnx.helper.tensor_dtype_to_np_dtype(kind.elem_type))
    sizes = tuple(
        size.dim_value
        if size.HasField("dim_value") and size.dim_value >= 0
        else size.dim_param or f"{entry.name}_{axis}"
        for axis, size in enumerate(kind.shape.dim)
    )
    return FreeType(dtype, sizes)


def _types(graph: onnx.GraphProto) -> Iterable[tuple[str, Type]]:
    for entry in (*graph.value_info, *graph.input, *graph.output):
        kind = entry.type.tensor_type
        if not kind.elem_type or not kind.HasField("shape"):
            continue
        # Some exporters write -1 for a free dimension.
        if all(size.HasField("dim_value") and size.dim_value >= 0 for size in kind.shape.dim):
            dtype = np.dtype(onnx.helper.tensor_dtype_to_np_dtype(kind.elem_type))
            yield entry.name, Type(dtype, tuple(size.dim_value for size in kind.shape.dim))
