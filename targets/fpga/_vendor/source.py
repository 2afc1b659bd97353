"""The source model as hls4ml's ONNX reader can take it without a fault: what qonnx does, and what it leaves undone."""

from __future__ import annotations

import contextlib
import io
import warnings
from typing import TYPE_CHECKING, NamedTuple

import numpy as np

from targets._target import Finding, TargetError

if TYPE_CHECKING:
    import onnx
    from numpy.typing import NDArray
    from onnx import NodeProto
    from qonnx.core.modelwrapper import ModelWrapper

_POOLS = frozenset({"MaxPool", "AveragePool"})
_WINDOWED = _POOLS | {"Conv"}
_OURS = frozenset({"Gemm"})
"""Rewritten here before hls4ml reads the model."""
_TAILS = frozenset({"Softmax", "ArgMax"})
_NO_ONNX = "hls4ml's ONNX reader has no such operator"


class Prepared(NamedTuple):
    """A model for hls4ml, and what of the source it no longer holds."""

    model: ModelWrapper
    """Channels last, one Softmax fewer where the host computes it."""
    host: tuple[str, ...]
    """Operators at the end that the host computes, in their order: ``Softmax``, ``ArgMax``."""
    channels_last: bool
    """Whether the input is (batch, height, width, channels), the source's being (batch, channels, height, width)."""


def unsupported_nodes(model: onnx.ModelProto) -> list[Finding]:
    """Every node that hls4ml does not read, by name."""
    from hls4ml.converters.onnx_to_hls import get_supported_onnx_layers

    known = {*get_supported_onnx_layers(), *_OURS, "Identity", "Dropout"}
    last = {node.output[0]: node for node in model.graph.node}
    tails = {id(node) for node in _tail(model, last)}
    return [
        Finding(
            node=node.name or node.output[0],
            operator=node.op_type,
            reason=_NO_ONNX,
            hint="the open flow may have it: leave out `vendor`",
        )
        for node in model.graph.node
        if id(node) not in tails and (node.op_type not in known or node.domain not in {"", "ai.onnx"})
    ]


def prepare(model: onnx.ModelProto, *, softmax_on_host: bool) -> Prepared:
    """The model in the form that hls4ml reads.

    Raises:
        TargetError: it has several inputs or outputs (``fpga.vendor.ports``), or qonnx can't rewrite it
            (``fpga.vendor.source``).
    """
    from qonnx.core.modelwrapper import ModelWrapper
    from qonnx.transformation.channels_last import ConvertToChannelsLastAndClean
    from qonnx.util.cleanup import cleanup_model

    graph = model.graph
    if len(graph.input) != 1 or len(graph.output) != 1:
        raise TargetError(
            "fpga.vendor.ports",
            f"expected one input and one output, got {len(graph.input)} and {len(graph.output)}",
            hint="ship the part of the network that has one of each",
        )
    host = _cut_tail(model, softmax_on_host=softmax_on_host)
    _write_attributes(graph)
    _split_gemm(graph)
    _fold_batch_norm(graph)
    rank = len(graph.input[0].type.tensor_type.shape.dim)
    channels_last = rank > 2  # noqa: PLR2004 - (batch, features) has no channels apart
    try:
        with warnings.catch_warnings(), contextlib.redirect_stdout(io.StringIO()):
            warnings.simplefilter("ignore")
            wrapped = cleanup_model(ModelWrapper(model))
            if channels_last:
                wrapped = wrapped.transform(ConvertToChannelsLastAndClean(make_input_channels_last=True))
            return Prepared(cleanup_model(wrapped), host, channels_last)
    except Exception as error:
        raise TargetError(
            "fpga.vendor.source",
            f"qonnx can't rewrite the model: {error}",
            hint="try the open flow: leave out `vendor`",
        ) from error


def _tail(model: onnx.ModelProto, producers: dict[str, NodeProto]) -> list[NodeProto]:
    """The nodes at the end that the host may compute, the last one first."""
    found: list[NodeProto] = []
    value = model.graph.output[0].name if model.graph.output else ""
    while (node := producers.get(value)) is not None and node.op_type in _TAILS:
        if found and found[-1].op_type != "ArgMax":
            break
        found.append(node)
        value = node.input[0]
    return found


def _cut_tail(model: onnx.ModelProto, *, softmax_on_host: bool) -> tuple[str, ...]:
    import onnx
    from onnx import shape_inference

    graph = model.graph
    tail = _tail(model, {node.output[0]: node for node in graph.node})
    if not softmax_on_host:
        tail = [node for node in tail if node.op_type == "ArgMax"]
    if not tail:
        return ()
    for node in tail:
        axes = [entry.i for entry in node.attribute if entry.name == "axis"] or [-1]
        rank = len(_shape(shape_inference.infer_shapes(model), node.input[0]))
        if axes[0] not in {-1, rank - 1}:
            raise TargetError(
                "fpga.vendor.source",
                f"{node.op_type} '{node.name}' works on axis {axes[0]} of {rank}, expected the last",
                hint="end the network with its logits",
            )
    value = tail[-1].input[0]
    shape = _shape(shape_inference.infer_shapes(model), value)
    for node in tail:
        graph.node.remove(node)
    # What becomes an output may not be listed as an inner value too: qonnx refuses two entries of one name.
    kept = [entry for entry in graph.value_info if entry.name != value]
    del graph.value_info[:]
    graph.value_info.extend(kept)
    del graph.output[:]
    graph.output.append(onnx.helper.make_tensor_value_info(value, onnx.TensorProto.FLOAT, shape))
    return tuple(node.op_type for node in reversed(tail))


def _shape(model: onnx.ModelProto, name: str) -> list[int]:
    for value in [*model.graph.input, *model.graph.value_info, *model.graph.output]:
        if value.name == name:
            return [dim.dim_value for dim in value.type.tensor_type.shape.dim]
    raise TargetError("fpga.vendor.source", f"the shape of '{name}' is unknown", hint="give every dimension a number")


def _write_attributes(graph: onnx.GraphProto) -> None:
    """Say ONNX's defaults: qonnx's channels-last form requires them."""
    from onnx import helper

    for node in graph.node:
        if node.op_type not in _WINDOWED:
            continue
        have = {entry.name for entry in node.attribute}
        kernel = next((list(entry.ints) for entry in node.attribute if entry.name == "kernel_shape"), None)
        if kernel is None:
            kernel = list(_initializer(graph, node.input[1]).shape[2:])
            node.attribute.append(helper.make_attribute("kernel_shape", kernel))
        defaults: dict[str, object] = {"strides": [1] * len(kernel), "dilations": [1] * len(kernel)}
        defaults["pads"] = [0] * (2 * len(kernel))
        if node.op_type == "Conv":
            defaults["group"] = 1
        else:
            defaults["ceil_mode"] = 0
        for name, value in defaults.items():
            if name not in have:
                node.attribute.append(helper.make_attribute(name, value))


def _split_gemm(graph: onnx.GraphProto) -> None:
    """Write each Gemm as a MatMul and an Add, its factors and transpositions in the constants.

    qonnx's own pass knows version 9 of the operator alone.
    """
    from onnx import helper, numpy_helper

    nodes = list(graph.node)
    del graph.node[:]
    for node in nodes:
        if node.op_type != "Gemm":
            graph.node.append(node)
            continue
        chosen = {entry.name: entry for entry in node.attribute}
        if "transA" in chosen and chosen["transA"].i:
            raise TargetError("fpga.vendor.source", f"Gemm '{node.name}' transposes its first input")
        weights = _initializer(graph, node.input[1])
        weights = weights.T if "transB" in chosen and chosen["transB"].i else weights
        weights = weights * np.float32(chosen["alpha"].f if "alpha" in chosen else 1)
        name = node.name or node.output[0]
        graph.initializer.append(numpy_helper.from_array(np.ascontiguousarray(weights), f"{name}.weights"))
        biased = len(node.input) > 2 and bool(node.input[2])  # noqa: PLR2004 - the third input is the bias
        product = f"{name}.product" if biased else node.output[0]
        graph.node.append(helper.make_node("MatMul", [node.input[0], f"{name}.weights"], [product], name))
        if biased:
            bias = _initializer(graph, node.input[2]) * np.float32(chosen["beta"].f if "beta" in chosen else 1)
            bias = np.broadcast_to(bias, (weights.shape[1],)) if bias.size == 1 else bias.reshape(-1)
            graph.initializer.append(numpy_helper.from_array(np.ascontiguousarray(bias), f"{name}.bias"))
            graph.node.append(helper.make_node("Add", [product, f"{name}.bias"], [node.output[0]], f"{name}.add"))


def _fold_batch_norm(graph: onnx.GraphProto) -> None:
    """Put each BatchNormalization behind a Conv into its weights, whose types are then measured after it."""
    from onnx import numpy_helper

    readers: dict[str, int] = {}
    for node in graph.node:
        for name in node.input:
            readers[name] = readers.get(name, 0) + 1
    producers = {node.output[0]: node for node in graph.node}
    for node in list(graph.node):
        conv = producers.get(node.input[0]) if node.op_type == "BatchNormalization" else None
        if conv is None or conv.op_type != "Conv" or readers[conv.output[0]] > 1:
            continue
        scale, offset, mean, variance = (_initializer(graph, name).astype(np.float64) for name in node.input[1:5])
        epsilon = next((entry.f for entry in node.attribute if entry.name == "epsilon"), 1e-5)
        factor = scale / np.sqrt(variance + epsilon)
        weights = _initializer(graph, conv.input[1])
        bias = _initializer(graph, conv.input[2]) if len(conv.input) > 2 else np.zeros(len(weights))  # noqa: PLR2004
        folded = {
            f"{conv.output[0]}.weights": weights * factor.reshape(-1, *[1] * (weights.ndim - 1)),
            f"{conv.output[0]}.bias": (bias - mean) * factor + offset,
        }
        for name, array in folded.items():
            graph.initializer.append(numpy_helper.from_array(array.astype(np.float32), name))
        conv.input[:] = [conv.input[0], *folded]
        conv.output[0] = node.output[0]
        graph.node.remove(node)


def _initializer(graph: onnx.GraphProto, name: str) -> NDArray[np.float32]:
    from onnx import numpy_helper

    for tensor in graph.initializer:
        if tensor.name == name:
            return np.asarray(numpy_helper.to_array(tensor), np.float32)
    raise TargetError("fpga.vendor.source", f"'{name}' is computed, expected a constant", hint="make weights constants")
