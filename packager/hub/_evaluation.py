"""Values that a few nodes compute from constants."""

from __future__ import annotations

from typing import TYPE_CHECKING

from packager.hub.graph import domain_of, subgraphs

if TYPE_CHECKING:
    from collections.abc import Mapping

    import onnx

_MOST_NODES = 32
_MOST_ELEMENTS = 4096
"""Of each constant that takes part: conditions are made of sizes and rates, not of weights."""


def evaluate(
    name: str, graph: onnx.GraphProto, known: Mapping[str, onnx.TensorProto], model: onnx.ModelProto
) -> onnx.TensorProto | None:
    """The value of that name, where a few nodes of `graph` make it of `known` ones; None: it can't be known."""
    import numpy as np
    import onnx
    from onnx.reference import ReferenceEvaluator

    nodes = _ancestors(name, graph, known)
    if nodes is None:
        return None
    taken = sorted({value for node in nodes for value in node.input if value in known})
    if any(_elements(known[value]) > _MOST_ELEMENTS for value in taken):
        return None
    part = onnx.helper.make_graph(nodes, "part", [], [onnx.ValueInfoProto(name=name)])
    for value in taken:
        tensor = part.initializer.add()
        tensor.CopyFrom(known[value])
        tensor.name = value
    alone = onnx.helper.make_model(part, opset_imports=list(model.opset_import), ir_version=model.ir_version)
    try:
        (result,) = ReferenceEvaluator(alone).run(None, {})
    except (NotImplementedError, RuntimeError, TypeError, ValueError, IndexError):
        return None  # the reference can't do all; then the branch stays
    return onnx.numpy_helper.from_array(np.asarray(result), name)


def _ancestors(name: str, graph: onnx.GraphProto, known: Mapping[str, onnx.TensorProto]) -> list[onnx.NodeProto] | None:
    """The nodes that make the value of known ones, in order; None: there are too many, or something is not known."""
    makers = {output: place for place, node in enumerate(graph.node) for output in node.output if output}
    wanted, places = [name], set[int]()
    while wanted:
        value = wanted.pop()
        if value in known:
            continue
        place = makers.get(value)
        if place is None or len(places) > _MOST_NODES:
            return None
        node = graph.node[place]
        if domain_of(node.domain) or any(True for _ in subgraphs(node)) or node.op_type.startswith("Random"):
            return None
        if place not in places:
            places.add(place)
            wanted.extend(entry for entry in node.input if entry)
    return [graph.node[place] for place in sorted(places)]


def _elements(tensor: onnx.TensorProto) -> int:
    count = 1
    for size in tensor.dims:
        count *= size
    return count
