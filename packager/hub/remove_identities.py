"""Take out what changes nothing: Identity, and Dropout, which does nothing outside of training."""

from __future__ import annotations

from typing import TYPE_CHECKING

from packager.hub.graph import all_nodes, constants_of, domain_of, opset, replace_nodes, subgraphs

if TYPE_CHECKING:
    from collections.abc import Mapping

    import onnx

    from packager.hub.form import Form

_INFERENCE = 7
"""The opset from which Dropout does nothing unless it is told to train."""


def requires(form: Form) -> bool:
    """Where shapes are static: other targets' runtimes do it for themselves."""
    return form.needs.static_shapes


def run(model: onnx.ModelProto, form: Form) -> onnx.ModelProto:
    """The model whose nodes read what the identities read."""
    del form
    if opset(model) >= _INFERENCE:
        _clean(model.graph, constants_of(model.graph), {})
    return model


def ensures(model: onnx.ModelProto, form: Form) -> list[str]:
    """No Identity remains but to name an output, or to copy an input to one."""
    del form
    found = []
    for graph in [model.graph, *(inner for node in all_nodes(model.graph) for inner in subgraphs(node))]:
        outputs = {entry.name for entry in graph.output}
        found += [
            f"identity '{node.output[0]}' remains"
            for node in graph.node
            if node.op_type == "Identity" and not domain_of(node.domain) and node.output[0] not in outputs
        ]
    return found if opset(model) >= _INFERENCE else []


def _clean(graph: onnx.GraphProto, constants: Mapping[str, onnx.TensorProto], outer: Mapping[str, str]) -> None:
    """Work on one graph; `outer` are the new names of values of the graphs around it."""
    outputs = {entry.name for entry in graph.output}
    read = {name for node in all_nodes(graph) for name in node.input} | outputs
    names = dict(outer)
    kept = []
    for node in graph.node:
        for place, name in enumerate(node.input):
            node.input[place] = names.get(name, name)
        known = {**constants, **constants_of(graph)}
        if _does_nothing(node, known, read) and node.output[0] not in outputs:
            names[node.output[0]] = node.input[0]
            continue
        for inner in subgraphs(node):
            _clean(inner, known, names)
        kept.append(node)
    replace_nodes(graph, kept)
    _rename_outputs(graph, outer)


def _rename_outputs(graph: onnx.GraphProto, outer: Mapping[str, str]) -> None:
    """A subgraph may give out a value of the graph around it as it is."""
    for entry in graph.output:
        entry.name = outer.get(entry.name, entry.name)


def _does_nothing(node: onnx.NodeProto, constants: Mapping[str, onnx.TensorProto], read: set[str]) -> bool:
    import onnx.numpy_helper

    if domain_of(node.domain):
        return False
    if node.op_type == "Identity":
        return True
    if node.op_type != "Dropout" or any(name in read for name in node.output[1:] if name):
        return False
    training = node.input[2] if len(node.input) > 2 else ""  # noqa: PLR2004 - data, ratio, training mode
    if not training:
        return True
    return training in constants and not onnx.numpy_helper.to_array(constants[training]).any()
