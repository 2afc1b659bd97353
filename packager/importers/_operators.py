"""Operators that nobody here knows: a model that has one can be described, and not run."""

from __future__ import annotations

import functools
from typing import TYPE_CHECKING

import msgspec

from packager.hub.graph import ML_DOMAIN, all_nodes, domain_of, node_name
from targets._target import native_file

if TYPE_CHECKING:
    from collections.abc import Iterator

    import onnx

_STANDARD = ("", ML_DOMAIN)


class UnknownOperator(msgspec.Struct, frozen=True, kw_only=True):
    """One node whose operator has no definition."""

    node: str
    operator: str
    reason: str


def unknown_operators(model: onnx.ModelProto) -> list[UnknownOperator]:
    """Every node whose operator neither onnx nor onnxruntime nor the model defines; those in subgraphs too."""
    if native_file(model) is not None:
        return []
    opsets = {domain_of(entry.domain): entry.version for entry in model.opset_import}
    defined = {(domain_of(function.domain), function.name) for function in model.functions}
    answers: dict[tuple[str, str], str] = {}
    found = []
    for node in _nodes(model):
        key = (domain_of(node.domain), node.op_type)
        if key in defined:
            continue
        if key not in answers:
            answers[key] = _problem(*key, opsets)
        if answers[key]:
            operator = f"{key[0]}.{node.op_type}" if key[0] else node.op_type
            found.append(UnknownOperator(node=node_name(node), operator=operator, reason=answers[key]))
    return found


def _nodes(model: onnx.ModelProto) -> Iterator[onnx.NodeProto]:
    yield from all_nodes(model.graph)
    for function in model.functions:
        for node in function.node:
            yield node
            for attribute in node.attribute:
                for graph in [*attribute.graphs, *([attribute.g] if attribute.HasField("g") else [])]:
                    yield from all_nodes(graph)


def _problem(domain: str, name: str, opsets: dict[str, int]) -> str:
    """What is wrong with the operator; empty: nothing."""
    import onnx

    if domain not in opsets and domain not in _STANDARD:
        # onnxruntime takes its own operators without an import too, and refuses them in a strict checker.
        return f"the model does not import the domain '{domain}'"
    if domain in _STANDARD:
        version = opsets.get(domain, 0)
        if onnx.defs.has(name, domain=domain, max_inclusive_version=version or onnx.defs.onnx_opset_version()):
            return ""
        if _own_operators().get((domain, name), version + 1) <= version:
            return ""
        return f"opset {version} of '{domain or 'ai.onnx'}' has no such operator"
    return "" if (domain, name) in _own_operators() else "onnxruntime has no such operator"


@functools.cache
def _own_operators() -> dict[tuple[str, str], int]:
    """Domain and name of what onnxruntime runs, and the first version of each."""
    from onnxruntime.capi import onnxruntime_pybind11_state as state

    found: dict[tuple[str, str], int] = {}
    for schema in state.get_all_operator_schema():
        key = (schema.domain, schema.name)
        found[key] = min(schema.since_version, found.get(key, schema.since_version))
    return found
