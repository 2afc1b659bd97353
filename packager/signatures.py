"""The signature of an ONNX model, as the manifest writes it."""

from __future__ import annotations

from typing import TYPE_CHECKING, cast

from manifests.manifest import SignatureSection, TensorSection
from packager.errors import ConversionError

if TYPE_CHECKING:
    import onnx

    from manifests.section import DType

_KINDS = {"O": "string", "U": "string", "T": "string"}


def model_signature(model: onnx.ModelProto) -> SignatureSection:
    """Inputs (initializers apart) and outputs, in the model's order; a free dimension goes by its name.

    Raises:
        ConversionError: one is not a tensor, or has no known rank.
    """
    constants = {entry.name for entry in model.graph.initializer}
    return SignatureSection(
        inputs=tuple(_tensor(entry) for entry in model.graph.input if entry.name not in constants),
        outputs=tuple(_tensor(entry) for entry in model.graph.output),
    )


def _tensor(value: onnx.ValueInfoProto) -> TensorSection:
    import onnx

    kind = value.type.tensor_type
    if value.type.WhichOneof("value") != "tensor_type" or not kind.elem_type:
        raise ConversionError(
            "model.type",
            f"'{value.name}' is not a tensor: got {value.type.WhichOneof('value') or 'no type'}",
            hint="skl2onnx writes a classifier's probabilities as a tensor with options={'zipmap': False}"
            if value.type.WhichOneof("value") == "sequence_type"
            else "",
        )
    if not kind.HasField("shape"):
        raise ConversionError("model.shape", f"'{value.name}' has no known rank", hint="export it with its shapes")
    dtype = onnx.helper.tensor_dtype_to_np_dtype(kind.elem_type)
    shape = tuple(
        size.dim_value if size.HasField("dim_value") else size.dim_param or f"{value.name}.{axis}"
        for axis, size in enumerate(kind.shape.dim)
    )
    return TensorSection(name=value.name, dtype=cast("DType", _KINDS.get(dtype.kind, dtype.name)), shape=shape)
