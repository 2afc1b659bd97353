"""Operators that no function emits, replaced by ONNX's own definition of them in simpler operators.

`onnx.inliner.inline_selected_functions` would do it, but aborts on a node that leaves out an optional input in the
middle; so each such node is turned into a local function first, and those are put in place.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import onnx
import onnx.inliner

from targets._target import TargetError

if TYPE_CHECKING:
    from collections.abc import Collection

_DOMAIN = "packtrain.definitions"


def expanded(model: onnx.ModelProto, served: Collection[str]) -> onnx.ModelProto:
    """The model without the operators that are not served, where ONNX defines them by others.

    Raises:
        TargetError: the model's shapes contradict each other.
    """
    while True:
        wanted = [place for place, node in enumerate(model.graph.node) if _is_wanted(model, node, served)]
        if not wanted:
            return model
        try:
            model = _replaced(model, wanted)
        except RuntimeError:
            # The inliner wants the type of every tensor. An operator that ONNX does not know has none; it gets a name.
            return model


def inferred(model: onnx.ModelProto) -> onnx.ModelProto:
    """The model with the shapes that follow from its inputs.

    Raises:
        TargetError: they contradict each other.
    """
    try:
        return onnx.shape_inference.infer_shapes(model, data_prop=True)
    except onnx.shape_inference.InferenceError as error:
        raise TargetError("model.shapes", f"the model contradicts itself: {error}") from error


def _replaced(model: onnx.ModelProto, places: list[int]) -> onnx.ModelProto:
    types = _types(inferred(model).graph)
    result = onnx.ModelProto()
    result.CopyFrom(model)
    for place in places:
        node = result.graph.node[place]
        function = _definition(node, _opset(model), types)
        for inner in function.node:
            inner.name = f"{node.name or node.output[0]}/{inner.op_type}"
        function.domain, function.name = _DOMAIN, f"{node.op_type}_{place}"
        node.domain, node.op_type = _DOMAIN, function.name
        result.functions.append(function)
    result.opset_import.append(onnx.helper.make_opsetid(_DOMAIN, 1))
    inlined = onnx.inliner.inline_local_functions(result, convert_version=True)
    left = [entry for entry in inlined.opset_import if entry.domain != _DOMAIN]
    del inlined.opset_import[:]
    inlined.opset_import.extend(left)
    return inlined


def _is_wanted(model: onnx.ModelProto, node: onnx.NodeProto, served: Collection[str]) -> bool:
    if node.domain not in {"", "ai.onnx"} or node.op_type in served:
        return False
    try:
        schema: Any = onnx.defs.get_schema(node.op_type, _opset(model))  # its stub lacks what is read here
    except onnx.defs.SchemaError:
        return False
    return bool(schema.has_function or schema.has_context_dependent_function)


def _definition(node: onnx.NodeProto, opset: int, types: dict[str, onnx.TypeProto]) -> onnx.FunctionProto:
    schema: Any = onnx.defs.get_schema(node.op_type, opset)  # its stub lacks what is called here
    if schema.has_context_dependent_function:
        version = max(number for number in schema.context_dependent_function_opset_versions if number <= opset)
        inputs = [types.get(name, onnx.TypeProto()).SerializeToString() for name in node.input]
        data = schema.get_context_dependent_function_with_opset_version(version, node.SerializeToString(), inputs)
    else:
        version = max(number for number in schema.function_opset_versions if number <= opset)
        data = schema.get_function_with_opset_version(version)
    function = onnx.FunctionProto()
    function.ParseFromString(data)
    return function


def _types(graph: onnx.GraphProto) -> dict[str, onnx.TypeProto]:
    types = {
        tensor.name: onnx.helper.make_tensor_type_proto(tensor.data_type, tensor.dims) for tensor in graph.initializer
    }
    types.update({entry.name: entry.type for entry in (*graph.value_info, *graph.input, *graph.output)})
    return types


def _opset(model: onnx.ModelProto) -> int:
    return max((entry.version for entry in model.opset_import if entry.domain in {"", "ai.onnx"}), default=1)
