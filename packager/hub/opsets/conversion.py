"""A model brought to another version of the default operator set, node by node, those of subgraphs too."""

from __future__ import annotations

from typing import TYPE_CHECKING, cast

from packager.errors import ConversionError
from packager.hub.definitions import expanded
from packager.hub.graph import domain_of, node_name, opset, tidy_opsets
from packager.hub.opsets._scope import Refusal, Scope, attribute, drop, put
from packager.hub.opsets.changes import DOWN, UP
from packager.hub.opsets.inputs import lower_inputs, raise_inputs

if TYPE_CHECKING:
    import onnx

_NEGATIVE_AXES = 11
"""From this version on an axis may be counted from the end by every operator."""


def convert_version(model: onnx.ModelProto, wanted: int) -> onnx.ModelProto:
    """The model at the version `wanted`.

    Operators that are newer than that are written by the function that ONNX defines them by, where it has one.

    Raises:
        ConversionError: a node has no equal there; it is named, with the reason.
    """
    import onnx.shape_inference

    version = opset(model)
    if wanted < version:
        model = _expanded(model, version, wanted)
    try:
        scope = Scope(onnx.shape_inference.infer_shapes(model, data_prop=True))
    except onnx.shape_inference.InferenceError as error:
        raise ConversionError("hub.opset", f"types can't be inferred: {str(error).strip().splitlines()[0]}") from error
    work = _Conversion(scope, version, wanted)
    work.convert_graph(model.graph)
    model.graph.initializer.extend(scope.added)
    for entry in model.opset_import:
        if domain_of(entry.domain) == "":
            entry.version = wanted
    tidy_opsets(model)
    try:
        onnx.shape_inference.infer_shapes(model, check_type=True, strict_mode=True)
    except onnx.shape_inference.InferenceError as error:
        raise ConversionError(
            "hub.opset", f"opset {version} can't be converted to {wanted}: {str(error).strip().splitlines()[0]}"
        ) from error
    return model


class _Conversion:
    """From one version to another."""

    def __init__(self, scope: Scope, start: int, end: int) -> None:
        self._scope = scope
        self._start = start
        self._end = end

    def convert_graph(self, graph: onnx.GraphProto) -> None:
        nodes: list[onnx.NodeProto] = []
        for node in graph.node:
            for entry in node.attribute:
                if entry.HasField("g"):
                    self.convert_graph(entry.g)
            if domain_of(node.domain):
                nodes.append(_copied(node))
                continue
            try:
                nodes.extend(self._converted(_copied(node)))
            except Refusal as refusal:
                raise ConversionError(
                    "hub.opset",
                    f"opset {self._start} can't be converted to {self._end}: "
                    f"node '{node_name(node)}' ({node.op_type}): {refusal}",
                ) from refusal
        del graph.node[:]
        graph.node.extend(nodes)

    def _converted(self, node: onnx.NodeProto) -> list[onnx.NodeProto]:
        up = self._end > self._start
        versions = range(self._start + 1, self._end + 1) if up else range(self._start, self._end, -1)
        nodes = [node]
        for version in versions:
            step = self._raised if up else self._lowered
            nodes = [made for entry in nodes for made in step(entry, version)]
        return nodes

    def _raised(self, node: onnx.NodeProto, version: int) -> list[onnx.NodeProto]:
        before, after = _schema(node, version - 1), _schema(node, version)
        adapter = UP.get((node.op_type, version))
        if before is None or (after is None and adapter is None):
            raise Refusal(f"opset {version} has no such operator")
        if after is not None and after.since_version == before.since_version:
            return [node]
        raise_inputs(node, version, self._scope)
        if adapter is not None:
            return adapter(node, self._scope)
        if after is not None:
            _write_defaults(node, before, after)
        return [node]

    def _lowered(self, node: onnx.NodeProto, version: int) -> list[onnx.NodeProto]:
        before, after = _schema(node, version), _schema(node, version - 1)
        adapter = DOWN.get((node.op_type, version))
        if before is None or (after is None and adapter is None):
            raise Refusal(f"opset {version - 1} has no such operator")
        if version == _NEGATIVE_AXES:
            self._count_from_the_start(node)
        if after is not None and after.since_version == before.since_version and adapter is None:
            return [node]
        made = adapter(node, self._scope) if adapter else [node]
        return [
            lowered
            for entry in made
            for lowered in (self._fitted(entry, version, before) if entry is node else [entry])
        ]

    def _fitted(self, node: onnx.NodeProto, version: int, before: onnx.defs.OpSchema) -> list[onnx.NodeProto]:
        """The node without what the older schema does not know: attributes at their default, and absent inputs."""
        nodes = lower_inputs(node, version, self._scope)
        older = _schema(node, version - 1)
        if older is None or nodes != [node]:
            return nodes
        for entry in list(node.attribute):
            if entry.name in older.attributes:
                continue
            if entry.name in before.attributes and not _is_default(entry, before):
                raise Refusal(f"its attribute '{entry.name}' is not known there")
            drop(node, entry.name)
        _write_defaults(node, before, older)
        if len([name for name in node.input if name]) > older.max_input:
            raise Refusal(f"it takes at most {older.max_input} inputs there")
        if len([name for name in node.output if name]) > older.max_output:
            raise Refusal(f"it gives at most {older.max_output} outputs there")
        return nodes

    def _count_from_the_start(self, node: onnx.NodeProto) -> None:
        for name in ("axis", "axes"):
            value = attribute(node, name)
            if isinstance(value, int) and value < 0:
                put(node, name, value + self._scope.rank(node.input[0]))
            elif isinstance(value, list) and any(entry < 0 for entry in value):
                rank = self._scope.rank(node.input[0]) + (len(value) if node.op_type == "Unsqueeze" else 0)
                put(node, name, [entry % rank for entry in value])


def _write_defaults(node: onnx.NodeProto, before: onnx.defs.OpSchema, after: onnx.defs.OpSchema) -> None:
    """Write out each default that is another one on the other side."""
    import onnx

    for name, known in before.attributes.items():
        default = known.default_value
        other = after.attributes.get(name)
        if other is None or attribute(node, name) is not None or default.type == onnx.AttributeProto.UNDEFINED:
            continue
        if other.default_value != default:
            put(node, name, onnx.helper.get_attribute_value(default))


def _is_default(entry: onnx.AttributeProto, schema: onnx.defs.OpSchema) -> bool:
    import onnx

    default = schema.attributes[entry.name].default_value
    value = onnx.helper.get_attribute_value(entry)
    if default.type == onnx.AttributeProto.UNDEFINED:
        # Dilations and strides without a default are one each.
        return entry.name in {"dilations", "strides"} and all(number == 1 for number in cast("list[int]", value))
    return bool(onnx.helper.get_attribute_value(default) == value)


def _schema(node: onnx.NodeProto, version: int) -> onnx.defs.OpSchema | None:
    import onnx

    try:
        schema = onnx.defs.get_schema(node.op_type, version, "")
    except onnx.defs.SchemaError:
        return None
    return None if schema.deprecated else schema


def _expanded(model: onnx.ModelProto, version: int, wanted: int) -> onnx.ModelProto:
    """The model with ONNX's own definition for each operator that came after `wanted`, and has one."""
    while True:
        newer = {
            node.op_type
            for node in _default_nodes(model.graph)
            if (schema := _schema(node, version)) is not None and _is_defined(schema) and _schema(node, wanted) is None
        }
        before = sum(1 for node in _default_nodes(model.graph) if node.op_type in newer)
        model = expanded(model, newer)
        if not newer or sum(1 for node in _default_nodes(model.graph) if node.op_type in newer) == before:
            return model


def _is_defined(schema: onnx.defs.OpSchema) -> bool:
    """Whether ONNX defines the operator by others."""
    return bool(schema.has_function or schema.has_context_dependent_function)  # type: ignore[attr-defined]  # missing in onnx's stubs


def _default_nodes(graph: onnx.GraphProto) -> list[onnx.NodeProto]:
    from packager.hub.graph import all_nodes

    return [node for node in all_nodes(graph) if not domain_of(node.domain)]


def _copied(node: onnx.NodeProto) -> onnx.NodeProto:
    import onnx

    copy = onnx.NodeProto()
    copy.CopyFrom(node)
    return copy
