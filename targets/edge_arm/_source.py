"""The ONNX model as the emitter reads it: nodes with plain attributes, constants folded, every shape a number."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

import numpy as np
import onnx
from onnx import numpy_helper

from targets.edge_arm._definitions import expanded, inferred

if TYPE_CHECKING:
    from collections.abc import Collection, Iterable

    from numpy.typing import NDArray

    from targets.edge_arm._layout import Shape

_RANDOM = {"RandomNormal", "RandomNormalLike", "RandomUniform", "RandomUniformLike", "Multinomial", "Bernoulli"}
_FOLD_LIMIT = 1 << 24
"""Elements; a larger result is left to the device, which computes it from something smaller."""


@dataclass(frozen=True, slots=True)
class Type:
    """Element type and shape of one tensor."""

    dtype: np.dtype[Any]
    shape: Shape


@dataclass(frozen=True, slots=True)
class Node:
    """One node; `version` is that of the operator, not of the model's opset."""

    name: str
    operator: str
    domain: str
    version: int
    inputs: tuple[str, ...]
    outputs: tuple[str, ...]
    attributes: dict[str, Any] = field(default_factory=dict)

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
    free: tuple[str, ...]
    """Inputs that have a dimension without a number."""


def read_source(model: onnx.ModelProto, served: Collection[str]) -> Source:
    """The model with its constants folded and the shapes of all tensors inferred.

    An operator that is not `served`, but that ONNX defines by others, is replaced by its definition.

    Raises:
        TargetError: the model's shapes contradict each other.
    """
    private = onnx.ModelProto()
    private.CopyFrom(model)
    private = expanded(private, served)
    while True:
        types = dict(_types(inferred(private).graph))
        if not _fold(private, types):
            break
    opsets = {_domain(entry.domain): entry.version for entry in private.opset_import}
    constants = {tensor.name: numpy_helper.to_array(tensor) for tensor in private.graph.initializer}
    inputs = tuple(entry.name for entry in private.graph.input if entry.name not in constants)
    types.update({name: Type(array.dtype, array.shape) for name, array in constants.items()})
    constants.update({name: _empty(types[name]) for name in inputs if _is_empty(types, name)})
    return Source(
        nodes=tuple(_node(node, opsets) for node in private.graph.node),
        inputs=inputs,
        outputs=tuple(entry.name for entry in private.graph.output),
        types=types,
        constants=constants,
        free=tuple(name for name in inputs if name not in types),
    )


def _node(node: onnx.NodeProto, opsets: dict[str, int]) -> Node:
    domain = _domain(node.domain)
    try:
        version = onnx.defs.get_schema(node.op_type, opsets.get(domain, 1), domain).since_version
    except onnx.defs.SchemaError:
        version = opsets.get(domain, 1)
    attributes = {entry.name: onnx.helper.get_attribute_value(entry) for entry in node.attribute}
    return Node(node.name, node.op_type, domain, version, tuple(node.input), tuple(node.output), attributes)


def _types(graph: onnx.GraphProto) -> Iterable[tuple[str, Type]]:
    for entry in (*graph.value_info, *graph.input, *graph.output):
        kind = entry.type.tensor_type
        if not kind.elem_type or not kind.HasField("shape"):
            continue
        # Some exporters write -1 for a free dimension.
        if all(size.HasField("dim_value") and size.dim_value >= 0 for size in kind.shape.dim):
            dtype = np.dtype(onnx.helper.tensor_dtype_to_np_dtype(kind.elem_type))
            yield entry.name, Type(dtype, tuple(size.dim_value for size in kind.shape.dim))


def _fold(model: onnx.ModelProto, types: dict[str, Type]) -> bool:
    """Replace the nodes that depend on constants alone by their values; says whether there were any."""
    nodes = list(model.graph.node)
    known = {tensor.name for tensor in model.graph.initializer}
    nothing = {entry.name: _empty(types[entry.name]) for entry in model.graph.input if _is_empty(types, entry.name)}
    known |= set(nothing)
    folded: list[onnx.NodeProto] = []
    kept: list[onnx.NodeProto] = []
    values: dict[str, NDArray[np.generic]] = {}
    for node in nodes:
        if all(_is_empty(types, name) for name in node.output if name):
            values.update({name: _empty(types[name]) for name in node.output if name})
            known.update(values)
        elif node.op_type in {"Shape", "Size"} and _domain(node.domain) == "" and node.input[0] in types:
            values[node.output[0]] = _measured(node, types[node.input[0]].shape)
            known.add(node.output[0])
        elif _is_foldable(node, known, types):
            folded.append(node)
            known.update(node.output)
        else:
            kept.append(node)
    if len(kept) == len(nodes):
        return False
    made = {name for node in folded for name in node.output if name}
    read = {name for node in kept for name in _reads(node)} | {entry.name for entry in model.graph.output}
    values.update(_evaluated(model, folded, nothing | values, sorted(made & read)))
    constants = [numpy_helper.from_array(value, name) for name, value in values.items()]
    remaining = [node.SerializeToString() for node in kept]
    del model.graph.node[:]
    model.graph.node.extend(onnx.NodeProto.FromString(data) for data in remaining)
    model.graph.initializer.extend(constants)
    return True


def _is_empty(types: dict[str, Type], name: str) -> bool:
    return name in types and 0 in types[name].shape


def _empty(kind: Type) -> NDArray[np.generic]:
    return np.zeros(kind.shape, kind.dtype)


def _is_foldable(node: onnx.NodeProto, known: set[str], types: dict[str, Type]) -> bool:
    if node.op_type in _RANDOM or any(entry.HasField("g") or entry.graphs for entry in node.attribute):
        return False
    if not all(name in known for name in node.input if name):
        return False
    return all(np.prod(types[name].shape) <= _FOLD_LIMIT for name in node.output if name in types)


def _measured(node: onnx.NodeProto, shape: Shape) -> NDArray[np.generic]:
    if node.op_type == "Size":
        return np.array(np.prod(shape), np.int64)
    bounds = {entry.name: entry.i for entry in node.attribute}
    return np.array(shape[bounds.get("start", 0) : bounds.get("end", len(shape))], np.int64)


def _reads(node: onnx.NodeProto) -> Iterable[str]:
    yield from node.input
    for entry in node.attribute:
        for graph in (*([entry.g] if entry.HasField("g") else []), *entry.graphs):
            for inner in graph.node:
                yield from _reads(inner)
            yield from (output.name for output in graph.output)


def _evaluated(
    model: onnx.ModelProto, nodes: list[onnx.NodeProto], values: dict[str, NDArray[np.generic]], names: list[str]
) -> dict[str, NDArray[np.generic]]:
    """What the nodes compute, by onnx's own reference implementation."""
    from onnx.reference import ReferenceEvaluator

    if not names:
        return {}
    read = {name for node in nodes for name in node.input}
    graph = onnx.helper.make_graph(
        nodes,
        "constants",
        [],
        [onnx.helper.make_empty_tensor_value_info(name) for name in names],
        [tensor for tensor in model.graph.initializer if tensor.name in read]
        + [numpy_helper.from_array(value, name) for name, value in values.items() if name in read],
    )
    part = onnx.helper.make_model(graph, opset_imports=list(model.opset_import), functions=list(model.functions))
    results = ReferenceEvaluator(part).run(names, {})
    return {name: np.asarray(result) for name, result in zip(names, results, strict=True)}


def _domain(domain: str) -> str:
    return "" if domain == "ai.onnx" else domain
