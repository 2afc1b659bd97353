"""Constants: what depends on them alone is computed now, by onnx's own reference implementation."""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np
import onnx
from onnx import numpy_helper

if TYPE_CHECKING:
    from collections.abc import Iterable

    from numpy.typing import NDArray

    from targets._source.model import Type
    from targets._source.shape import Shape

_RANDOM = {"RandomNormal", "RandomNormalLike", "RandomUniform", "RandomUniformLike", "Multinomial", "Bernoulli"}
_LIMIT = 1 << 24
"""Elements; a larger result is left to the device, which computes it from something smaller."""


def fold(model: onnx.ModelProto, types: dict[str, Type]) -> bool:
    """Replace the nodes that depend on constants alone by their values; says whether there were any."""
    nodes = list(model.graph.node)
    known = {tensor.name for tensor in model.graph.initializer}
    nothing = {entry.name: empty(types[entry.name]) for entry in model.graph.input if is_empty(types, entry.name)}
    known |= set(nothing)
    folded: list[onnx.NodeProto] = []
    kept: list[onnx.NodeProto] = []
    values: dict[str, NDArray[np.generic]] = {}
    for node in nodes:
        if all(is_empty(types, name) for name in node.output if name):
            values.update({name: empty(types[name]) for name in node.output if name})
            known.update(values)
        elif node.op_type in {"Shape", "Size"} and domain_of(node.domain) == "" and node.input[0] in types:
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
    needed = {name for node in folded for name in _reads(node)}
    inputs = {tensor.name: numpy_helper.to_array(tensor) for tensor in model.graph.initializer if tensor.name in needed}
    opsets = {entry.domain: entry.version for entry in model.opset_import}
    values.update(evaluated(folded, opsets, inputs | nothing | values, sorted(made & read)))
    constants = [numpy_helper.from_array(value, name) for name, value in values.items()]
    remaining = [node.SerializeToString() for node in kept]
    del model.graph.node[:]
    model.graph.node.extend(onnx.NodeProto.FromString(data) for data in remaining)
    model.graph.initializer.extend(constants)
    return True


def is_empty(types: dict[str, Type], name: str) -> bool:
    """Whether a tensor has no elements."""
    return name in types and 0 in types[name].shape


def empty(kind: Type) -> NDArray[np.generic]:
    """The array of a type without elements."""
    return np.zeros(kind.shape, kind.dtype)


def _is_foldable(node: onnx.NodeProto, known: set[str], types: dict[str, Type]) -> bool:
    if not is_computable(node):
        return False
    if not all(name in known for name in _reads(node) if name):
        return False
    return all(np.prod(types[name].shape) <= _LIMIT for name in node.output if name in types)


def _measured(node: onnx.NodeProto, shape: Shape) -> NDArray[np.generic]:
    if node.op_type == "Size":
        return np.array(np.prod(shape), np.int64)
    bounds = {entry.name: entry.i for entry in node.attribute}
    return np.array(shape[bounds.get("start", 0) : bounds.get("end", len(shape))], np.int64)


def _reads(node: onnx.NodeProto) -> Iterable[str]:
    yield from node.input
    yield from captured(node)


def captured(node: onnx.NodeProto) -> list[str]:
    """What the subgraphs of a node read of the graphs around it, each name once."""
    found: dict[str, None] = {}
    for entry in node.attribute:
        for graph in (*([entry.g] if entry.HasField("g") else []), *entry.graphs):
            own = {value.name for value in (*graph.input, *graph.initializer)}
            own.update(name for inner in graph.node for name in inner.output)
            names = [name for inner in graph.node for name in _reads(inner)] + [value.name for value in graph.output]
            found.update((name, None) for name in names if name and name not in own)
    return list(found)


def evaluated(
    nodes: list[onnx.NodeProto],
    opsets: dict[str, int],
    values: dict[str, NDArray[np.generic]],
    names: list[str],
) -> dict[str, NDArray[np.generic]]:
    """What the nodes compute of the values, by onnx's own reference implementation: the results of those names."""
    from onnx.reference import ReferenceEvaluator

    if not names:
        return {}
    read = {name for node in nodes for name in _reads(node)}
    graph = onnx.helper.make_graph(
        nodes,
        "constants",
        [],
        [onnx.helper.make_empty_tensor_value_info(name) for name in names],
        [numpy_helper.from_array(np.asarray(value), name) for name, value in values.items() if name in read],
    )
    imports = [onnx.helper.make_opsetid(domain, version) for domain, version in opsets.items()]
    with np.errstate(all="ignore"):
        results = ReferenceEvaluator(onnx.helper.make_model(graph, opset_imports=imports)).run(names, {})
    return {name: np.asarray(result) for name, result in zip(names, results, strict=True)}


def is_computable(node: onnx.NodeProto) -> bool:
    """Whether the reference implementation gives what the node gives: it is ONNX's own, not random, and plain."""
    has_subgraph = any(entry.HasField("g") or entry.graphs for entry in node.attribute)
    return (
        node.op_type not in _RANDOM and not has_subgraph and bool(onnx.defs.has(node.op_type, domain_of(node.domain)))
    )


def domain_of(domain: str) -> str:
    """The name of a domain, which is empty for ONNX's own."""
    return "" if domain == "ai.onnx" else domain
