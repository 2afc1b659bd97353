"""ONNX's own definitions of its composite operators, put in the place of nodes.

`onnx.inliner.inline_selected_functions` would do it, but aborts on a node that leaves out an optional input in the
middle, forgets the defaults of attributes, and gives up on types that it does not find.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from packager.hub.graph import (
    all_nodes,
    copied,
    domain_of,
    opset,
    rename_values,
    replace_nodes,
    subgraphs,
    tidy_opsets,
    value_names,
)

if TYPE_CHECKING:
    from collections.abc import Collection, Iterator, Mapping

    import onnx


def expanded(model: onnx.ModelProto, operators: Collection[str]) -> onnx.ModelProto:
    """The model with ONNX's definition for each node of these operators that has one, those of subgraphs too.

    A definition may use composite operators itself; where those are wanted too, they are replaced in turn.
    """
    while _expanded_once(model, operators):
        tidy_opsets(model)
    return model


def _expanded_once(model: onnx.ModelProto, operators: Collection[str]) -> bool:
    import onnx.shape_inference

    version = opset(model)
    wanted = {node.op_type for node in all_nodes(model.graph) if _is_of(node, operators)}
    if not any(_schema(name, version) is not None for name in wanted):
        return False
    try:
        types = dict(_types(onnx.shape_inference.infer_shapes(model, data_prop=True).graph))
    except onnx.shape_inference.InferenceError:
        return False
    return _Expansion(value_names(model.graph), operators, version, types).expand(model.graph)


class _Expansion:
    """Gives the values of definitions names that nothing else has."""

    def __init__(
        self, taken: set[str], operators: Collection[str], version: int, types: Mapping[str, onnx.TypeProto]
    ) -> None:
        self._taken = taken
        self._operators = operators
        self._version = version
        self._types = types
        self._count = 0

    def expand(self, graph: onnx.GraphProto) -> bool:
        nodes: list[onnx.NodeProto] = []
        changed = False
        for node in graph.node:
            for inner in subgraphs(node):
                changed = self.expand(inner) or changed
            full = copied(node)
            function = _definition(full, self._version, self._types) if _is_of(node, self._operators) else None
            if function is None:
                nodes.append(copied(node))
                continue
            changed = True
            nodes.extend(self._instantiated(function, full))
        if changed:
            replace_nodes(graph, nodes)
        return changed

    def _instantiated(self, function: onnx.FunctionProto, call: onnx.NodeProto) -> Iterator[onnx.NodeProto]:
        import onnx

        stem = call.name or next(name for name in call.output if name)
        names = dict(zip(function.input, [*call.input, *[""] * len(function.input)], strict=False))
        names |= {name: given for name, given in zip(function.output, call.output, strict=False) if given}
        body = onnx.GraphProto()
        body.node.extend(function.node)
        names |= {name: self._fresh(f"{stem}/{name}") for name in value_names(body) if name not in names}
        given = {entry.name: entry for entry in call.attribute}
        _bind_attributes(body, given)
        rename_values(body, names)
        for node in body.node:
            node.name = f"{next((name for name in node.output if name), '')}/{node.op_type}"
            yield copied(node)

    def _fresh(self, stem: str) -> str:
        name = stem
        while name in self._taken:
            self._count += 1
            name = f"{stem}.{self._count}"
        self._taken.add(name)
        return name


def _bind_attributes(graph: onnx.GraphProto, given: Mapping[str, onnx.AttributeProto]) -> None:
    """Put the call's attributes where the definition refers to them; what it does not have is left out."""
    import onnx

    for node in graph.node:
        kept = []
        for entry in node.attribute:
            bound = onnx.AttributeProto()
            if entry.ref_attr_name and entry.ref_attr_name not in given:
                continue
            bound.CopyFrom(given[entry.ref_attr_name] if entry.ref_attr_name else entry)
            bound.name = entry.name
            if bound.HasField("g"):
                _bind_attributes(bound.g, given)
            kept.append(bound)
        del node.attribute[:]
        node.attribute.extend(kept)


def _is_of(node: onnx.NodeProto, operators: Collection[str]) -> bool:
    return not domain_of(node.domain) and node.op_type in operators


def _schema(name: str, version: int) -> Any:  # noqa: ANN401 - onnx's stub of a schema lacks what is read here
    import onnx

    try:
        schema: Any = onnx.defs.get_schema(name, version)
    except onnx.defs.SchemaError:
        return None
    return schema if schema.has_function or schema.has_context_dependent_function else None


def _definition(node: onnx.NodeProto, version: int, types: Mapping[str, onnx.TypeProto]) -> onnx.FunctionProto | None:
    """The function that a node stands for; None where there is none, or where it needs a type that is not known."""
    import onnx

    schema = _schema(node.op_type, version)
    if schema is None:
        return None
    full = onnx.NodeProto()
    full.CopyFrom(node)
    _write_defaults(full, schema)
    try:
        if schema.has_context_dependent_function:
            of = max(number for number in schema.context_dependent_function_opset_versions if number <= version)
            inputs = [types.get(name, onnx.TypeProto()).SerializeToString() for name in node.input]
            data = schema.get_context_dependent_function_with_opset_version(of, full.SerializeToString(), inputs)
        else:
            of = max(number for number in schema.function_opset_versions if number <= version)
            data = schema.get_function_with_opset_version(of)
    except (RuntimeError, ValueError):  # it refuses by these, whatever is missing
        return None
    function = onnx.FunctionProto()
    function.ParseFromString(data)
    written = max((entry.version for entry in function.opset_import if not domain_of(entry.domain)), default=of)
    if not function.node or not all(_means_the_same(inner, written, version) for inner in function.node):
        return None
    node.CopyFrom(full)
    return function


def _means_the_same(node: onnx.NodeProto, older: int, newer: int) -> bool:
    import onnx

    if domain_of(node.domain):
        return False
    versions = {onnx.defs.get_schema(node.op_type, version).since_version for version in (older, newer)}
    return len(versions) == 1


def _write_defaults(node: onnx.NodeProto, schema: onnx.defs.OpSchema) -> None:
    import onnx

    written = {entry.name for entry in node.attribute}
    for name, known in schema.attributes.items():
        if name not in written and known.default_value.type != onnx.AttributeProto.UNDEFINED:
            node.attribute.append(known.default_value)
            node.attribute[-1].name = name


def _types(graph: onnx.GraphProto) -> Iterator[tuple[str, onnx.TypeProto]]:
    import onnx

    for tensor in graph.initializer:
        yield tensor.name, onnx.helper.make_tensor_type_proto(tensor.data_type, tensor.dims)
    for entry in (*graph.value_info, *graph.input, *graph.output):
        yield entry.name, entry.type
    for node in graph.node:
        for inner in subgraphs(node):
            yield from _types(inner)
