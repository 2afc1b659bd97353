"""Write by ONNX's own operators what onnxruntime's optimizer and quantizer fused; a target names what is left."""

from __future__ import annotations

from typing import TYPE_CHECKING

from packager.hub.fused import activations, attention, embeddings, normalizations, products, quantized, rotary, tensors
from packager.hub.graph import all_nodes, domain_of, import_default, opset, tidy_opsets
from packager.hub.lowering import lower
from packager.hub.opsets.conversion import convert_version

if TYPE_CHECKING:
    import onnx

    from packager.hub.form import Form
    from packager.hub.lowering import Lowering
    from targets._target import Finding

DOMAIN = "com.microsoft"
_LOWEST = 13
"""The opset from which on quantization has axes, and Erf and the reductions are what they are."""


def requires(form: Form) -> bool:
    """Where onnxruntime's own operators may not remain."""
    return not form.needs.fused


def run(model: onnx.ModelProto, form: Form) -> onnx.ModelProto:
    """The model with ONNX's operators for those that have a lowering.

    Raises:
        ConversionError: the model's operators are too old for it, and can't be brought to newer ones.
    """
    lowest, highest = form.needs.opset
    import_default(model, max(lowest, _LOWEST))
    if opset(model) < _LOWEST <= highest and any(_chosen(node) for node in all_nodes(model.graph)):
        model = convert_version(model, _LOWEST)
    split(model)
    return model


def ensures(model: onnx.ModelProto, form: Form) -> list[str]:
    """Nothing: what its function declined remains, and the target names it."""
    del model, form
    return []


def split(model: onnx.ModelProto) -> list[Finding]:
    """Replace what can be replaced, in place; what declined is returned, with the reasons."""
    import_default(model, _LOWEST)
    if opset(model) < _LOWEST:
        return []
    declined = lower(model, _chosen)
    tidy_opsets(model)
    return declined


def _chosen(node: onnx.NodeProto) -> Lowering | None:
    if domain_of(node.domain) == DOMAIN or node.op_type == "SimplifiedLayerNormalization":
        return _LOWERINGS.get(node.op_type)
    return None


_LOWERINGS: dict[str, Lowering] = {
    "Attention": attention.attention,
    "BiasGelu": activations.gelu,
    "CDist": tensors.distances,
    "DequantizeLinear": quantized.linear,
    "DynamicQuantizeMatMul": quantized.dynamic_product,
    "EmbedLayerNormalization": embeddings.normalized,
    "ExpandDims": tensors.expand,
    "FastGelu": activations.fast_gelu,
    "FusedConv": products.convolution,
    "FusedGemm": products.gemm,
    "FusedMatMul": products.matmul,
    "GatherBlockQuantized": embeddings.quantized_table,
    "GatherND": tensors.same,
    "Gelu": activations.gelu,
    "MatMulIntegerToFloat": quantized.integer_product,
    "MatMulNBits": quantized.block_product,
    "MultiHeadAttention": attention.multi_head,
    "NhwcMaxPool": quantized.max_pool,
    "Pad": tensors.pad,
    "QAttention": attention.quantized_attention,
    "QGemm": quantized.gemm,
    "QLinearAdd": quantized.pair,
    "QLinearAveragePool": quantized.pool,
    "QLinearConcat": quantized.concatenation,
    "QLinearGlobalAveragePool": quantized.pool,
    "QLinearLeakyRelu": quantized.single,
    "QLinearMul": quantized.pair,
    "QLinearSigmoid": quantized.single,
    "QLinearSoftmax": quantized.softmax,
    "QLinearWhere": quantized.where,
    "QuantizeLinear": quantized.linear,
    "QuickGelu": activations.quick_gelu,
    "Range": tensors.range_,
    "RotaryEmbedding": rotary.rotary,
    "SimplifiedLayerNormalization": normalizations.simplified,
    "SkipLayerNormalization": normalizations.skip,
    "SkipSimplifiedLayerNormalization": normalizations.skip,
    "TransposeMatMul": products.matmul,
    "Trilu": tensors.triangle,
    "Unique": tensors.unique,
}
