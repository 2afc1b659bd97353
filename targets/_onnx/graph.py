"""Walking an ONNX graph, and the nodes that onnxruntime does not know."""

from __future__ import annotations

from typing import TYPE_CHECKING

from targets._target import Finding

if TYPE_CHECKING:
    from collections.abc import Iterator

    import onnx

STANDARD = frozenset({"", "ai.onnx.ml"})
"""The domains of the ONNX standard that matter for inference."""


def nodes(graph: onnx.GraphProto) -> Iterator[onnx.NodeProto]:
    """Every node, those of subgraphs too."""
    for node in graph.node:
        yield node
        for attribute in node.attribute:
            if attribute.HasField("g"):
                yield from nodes(attribute.g)
            for branch in attribute.graphs:
                yield from nodes(branch)


def canonical_domain(domain: str) -> str:
    """The domain, the default one always as the empty text."""
    return "" if domain == "ai.onnx" else domain


def qualified(node: onnx.NodeProto) -> str:
    """The operator with its domain, such as ``ai.onnx.ml.Scaler``."""
    domain = canonical_domain(node.domain)
    return f"{domain}.{node.op_type}" if domain else node.op_type


def opsets(model: onnx.ModelProto) -> dict[str, int]:
    """Domain to version."""
    return {canonical_domain(entry.domain): entry.version for entry in model.opset_import}


def unknown_nodes(model: onnx.ModelProto) -> list[Finding]:
    """Every node whose operator no schema of onnx or onnxruntime knows."""
    versions = opsets(model)
    functions = {(canonical_domain(function.domain), function.name) for function in model.functions}
    return [
        finding
        for node in nodes(model.graph)
        if (canonical_domain(node.domain), node.op_type) not in functions
        and (finding := _finding(node, versions)) is not None
    ]


def refused(node: onnx.NodeProto, reason: str, hint: str) -> Finding:
    """A finding of that node."""
    return Finding(node=node.name or node.output[0], operator=qualified(node), reason=reason, hint=hint)


def _finding(node: onnx.NodeProto, versions: dict[str, int]) -> Finding | None:
    import onnx

    hint = "export the model without custom operators"
    domain = canonical_domain(node.domain)
    if domain not in versions:
        return refused(node, f"its domain '{domain}' is not imported by the model", hint)
    if domain in STANDARD:
        try:
            onnx.defs.get_schema(node.op_type, versions[domain], domain)
        except onnx.defs.SchemaError:
            return refused(node, f"opset {versions[domain]} of '{domain or 'ai.onnx'}' has no such operator", hint)
        return None
    if (domain, node.op_type) in _own_operators():
        return None
    return refused(node, "onnxruntime has no such operator", hint)


def _own_operators() -> set[tuple[str, str]]:
    from onnxruntime.capi import onnxruntime_pybind11_state as state

    return {(schema.domain, schema.name) for schema in state.get_all_operator_schema()}
