"""Nodes replaced one by one by those that a function writes for each: what several passes share."""

from __future__ import annotations

from typing import TYPE_CHECKING

from packager.hub.graph import all_nodes, copied, domain_of, node_name, opset, replace_nodes, subgraphs, value_names
from packager.hub.writer import Unsupported, Writer
from targets._target import Finding

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator, Mapping
    from typing import TypeAlias

    import onnx

    Lowering: TypeAlias = Callable[[Writer, onnx.NodeProto], None]
    Choice: TypeAlias = Callable[[onnx.NodeProto], Lowering | None]
    Kinds: TypeAlias = Mapping[str, tuple[int, tuple[int | None, ...] | None]]


def lower(model: onnx.ModelProto, choose: Choice) -> list[Finding]:
    """Replace every node that `choose` has a function for, those of subgraphs too; what declined is returned.

    It goes on for as long as something is replaced: a lowered node tells those after it the types of what they read.
    """
    declined = _once(model, choose)
    left = None
    while declined and len(declined) != left:
        left = len(declined)
        declined = _once(model, choose)
    return declined


def operator_of(node: onnx.NodeProto) -> str:
    """Such as ``Conv`` or ``ai.onnx.ml.Scaler``."""
    domain = domain_of(node.domain)
    return f"{domain}.{node.op_type}" if domain else node.op_type


def _once(model: onnx.ModelProto, choose: Choice) -> list[Finding]:
    if not any(choose(node) for node in all_nodes(model.graph)):
        return []
    pass_over = _Pass(model, choose)
    pass_over.work(model.graph)
    model.graph.initializer.extend(pass_over.constants)
    return pass_over.declined


class _Pass:
    """Once over all graphs of a model."""

    def __init__(self, model: onnx.ModelProto, choose: Choice) -> None:
        self.declined: list[Finding] = []
        self.constants: list[onnx.TensorProto] = []
        self._choose = choose
        self._version = opset(model)
        self._kinds = kinds_of(model)
        self._known = dict(_constants(model.graph))
        self._taken = value_names(model.graph)
        self._read = frozenset(_read(model.graph))

    def work(self, graph: onnx.GraphProto) -> None:
        nodes: list[onnx.NodeProto] = []
        for node in graph.node:
            for inner in subgraphs(node):
                self.work(inner)
            lowering = self._choose(node)
            if lowering is None:
                nodes.append(copied(node))
                continue
            writer = Writer(self._prefix(node), self._version, self._read, self._kinds, self._known)
            try:
                lowering(writer, node)
            except Unsupported as reason:
                nodes.append(copied(node))
                finding = Finding(node=node_name(node), operator=operator_of(node), reason=str(reason))
                self.declined.append(finding)
                continue
            nodes.extend(writer.nodes)
            self.constants.extend(writer.used_constants())
        replace_nodes(graph, nodes)

    def _prefix(self, node: onnx.NodeProto) -> str:
        """What the names of a node's values begin with; no value begins so."""
        stem = node.name or node.op_type
        number = 0
        while f"{stem}.{number}" in self._taken:
            number += 1
        self._taken.add(f"{stem}.{number}")
        return f"{stem}.{number}"


def kinds_of(model: onnx.ModelProto) -> Kinds:
    """Element type and shape of every value that onnx can tell, those of subgraphs too."""
    import onnx.shape_inference

    return dict(_kinds(onnx.shape_inference.infer_shapes(model, data_prop=True).graph))


def _kinds(graph: onnx.GraphProto) -> Iterator[tuple[str, tuple[int, tuple[int | None, ...] | None]]]:
    for tensor in graph.initializer:
        yield tensor.name, (tensor.data_type, tuple(tensor.dims))
    for entry in [*graph.input, *graph.output, *graph.value_info]:
        kind = entry.type.tensor_type
        if kind.elem_type:
            shape = tuple(size.dim_value if size.HasField("dim_value") else None for size in kind.shape.dim)
            yield entry.name, (kind.elem_type, shape if kind.HasField("shape") else None)
    for node in graph.node:
        for inner in subgraphs(node):
            yield from _kinds(inner)


def _constants(graph: onnx.GraphProto) -> Iterator[tuple[str, onnx.TensorProto]]:
    from packager.hub.graph import constants_of

    yield from constants_of(graph).items()
    for node in graph.node:
        for inner in subgraphs(node):
            yield from _constants(inner)


def _read(graph: onnx.GraphProto) -> Iterator[str]:
    for node in graph.node:
        yield from node.input
        for inner in subgraphs(node):
            yield from _read(inner)
    yield from (entry.name for entry in graph.output)
