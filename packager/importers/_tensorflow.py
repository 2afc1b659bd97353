"""TensorFlow's graphs as ONNX: frozen, through tf2onnx, under the model's own names, with the batch left free."""

from __future__ import annotations

import itertools
from typing import TYPE_CHECKING, Any, NamedTuple

from packager.errors import ConversionError
from packager.importers._framework import BATCH, first_line

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

    import onnx

DISTRIBUTIONS = ("tensorflow", "tf2onnx")
EXTRA = TOOLCHAIN = "tensorflow"
TOLERANCE = 1e-3
OPSET = 18
"""The newest that tf2onnx writes."""

_MOST_OPERATORS = 20


class Frozen(NamedTuple):
    """A graph without variables."""

    graph: Any
    """TensorFlow's GraphDef."""
    inputs: dict[str, str]
    """The model's name to the tensor's, such as ``x:0``."""
    outputs: dict[str, str]


def freeze(function: Any, inputs: Sequence[str], outputs: Sequence[str]) -> Frozen:  # noqa: ANN401 - a ConcreteFunction
    """The concrete function's graph, variables and captured tensors made constants.

    `inputs` and `outputs` name its arguments and results, in its order.
    """
    from tensorflow.python.framework.convert_to_constants import convert_variables_to_constants_v2

    placeholders = function.inputs[len(function.inputs) - len(function.captured_inputs) :]
    captured = {
        placeholder.name: value for placeholder, value in zip(placeholders, function.captured_inputs, strict=True)
    }
    frozen = convert_variables_to_constants_v2(function, lower_control_flow=False, aggressive_inlining=True)
    graph = frozen.graph.as_graph_def(add_shapes=True)
    _fix_captured(graph, captured)
    arguments = [tensor.name for tensor in frozen.inputs if tensor.name not in captured]
    results = [tensor.name for tensor in frozen.outputs]
    return Frozen(graph, dict(zip(inputs, arguments, strict=True)), dict(zip(outputs, results, strict=True)))


def _fix_captured(graph: Any, captured: Mapping[str, Any]) -> None:  # noqa: ANN401 - GraphDef
    """Tensors that a function took from around it are no variables, so freezing leaves them as inputs."""
    import tensorflow as tf

    for node in graph.node:
        value = captured.get(f"{node.name}:0")
        if node.op != "Placeholder" or value is None or value.dtype in {tf.resource, tf.variant}:
            continue
        constant = tf.compat.v1.NodeDef(name=node.name, op="Const")
        constant.attr["dtype"].CopyFrom(node.attr["dtype"])
        constant.attr["value"].tensor.CopyFrom(tf.make_tensor_proto(value.numpy()))
        node.CopyFrom(constant)


def convert(frozen: Frozen, shapes: Mapping[str, Sequence[int | None] | None]) -> onnx.ModelProto:
    """The graph as ONNX; `shapes` are those of the outputs, as far as TensorFlow knows them.

    Raises:
        ConversionError: an operator has no counterpart; the message names the nodes.
    """
    import tf2onnx

    inputs, outputs = list(frozen.inputs.values()), list(frozen.outputs.values())
    names = {tensor: name for name, tensor in [*frozen.inputs.items(), *frozen.outputs.items()]}
    model: onnx.ModelProto
    try:
        model, _ = tf2onnx.convert.from_graph_def(
            frozen.graph,
            name="model",
            input_names=inputs,
            output_names=outputs,
            opset=OPSET,
            custom_op_handlers={"Erfc": (_write_erfc, [])},
        )
    except (ValueError, TypeError, KeyError, NotImplementedError, RuntimeError, AttributeError, IndexError) as error:
        raise ConversionError("import.tensorflow", f"tf2onnx can't convert the graph: {first_line(error)}") from error
    _refuse_unknown(model)
    _rename(model, names)
    _free(model, shapes)
    model.doc_string = ""
    model.graph.name = "model"
    return model


def _write_erfc(context: Any, node: Any, _name: str, _arguments: object) -> None:  # noqa: ANN401 - tf2onnx's Graph and Node
    """``Erfc(x) = 1 - Erf(x)``: ONNX has no operator of that name."""
    import numpy as np
    import tf2onnx

    dtype = tf2onnx.utils.map_onnx_to_numpy_type(context.get_dtype(node.output[0]))
    one = context.make_const(tf2onnx.utils.make_name("one"), np.ones((), dtype=dtype)).output[0]
    error = context.make_node("Erf", [node.input[0]]).output[0]
    shape, kind, outputs = context.get_shape(node.output[0]), context.get_dtype(node.output[0]), node.output
    context.remove_node(node.name)
    context.make_node("Sub", [one, error], name=node.name, outputs=outputs, shapes=[shape], dtypes=[kind])


def _refuse_unknown(model: onnx.ModelProto) -> None:
    import onnx

    unknown = [node for node in model.graph.node if not node.domain and not onnx.defs.has(node.op_type)]
    if unknown:
        lines = [f"{node.name} ({node.op_type})" for node in unknown[:_MOST_OPERATORS]]
        if len(unknown) > _MOST_OPERATORS:
            lines.append(f"and {len(unknown) - _MOST_OPERATORS} more")
        raise ConversionError(
            "import.tensorflow",
            "ONNX has no operator for these of TensorFlow:\n  " + "\n  ".join(lines),
            hint="export the model without them, such as without layers that handle text",
        )


def _rename(model: onnx.ModelProto, names: Mapping[str, str]) -> None:
    """Give inputs and outputs the model's names; an inner value that has such a name already gets another."""
    graph = model.graph
    inner = {name for node in graph.node for name in node.output} | {entry.name for entry in graph.initializer}
    taken = inner | set(names.values())
    new = dict(names)
    for name in sorted(set(names.values()) & inner - set(names)):
        new[name] = next(free for count in itertools.count(1) if (free := f"{name}.{count}") not in taken)
    # A value that is both an input and an output, or an output twice, can't have two names.
    for node in graph.node:
        node.input[:] = [new.get(name, name) for name in node.input]
        node.output[:] = [new.get(name, name) for name in node.output]
    for entry in (*graph.input, *graph.output, *graph.initializer, *graph.value_info):
        entry.name = new.get(entry.name, entry.name)


def _free(model: onnx.ModelProto, shapes: Mapping[str, Sequence[int | None] | None]) -> None:
    """Call the free first dimension by one name, and forget the names that tf2onnx makes up for the others."""
    import onnx

    for entry in model.graph.output:
        known = shapes.get(entry.name)
        if known is not None and not entry.type.tensor_type.HasField("shape"):
            kind = entry.type.tensor_type.elem_type
            entry.CopyFrom(onnx.helper.make_tensor_value_info(entry.name, kind, list(known)))
    del model.graph.value_info[:]
    for entry in (*model.graph.input, *model.graph.output):
        for axis, dimension in enumerate(entry.type.tensor_type.shape.dim):
            if not dimension.HasField("dim_value") or dimension.dim_value < 0:
                dimension.Clear()
                if axis == 0:
                    dimension.dim_param = BATCH
