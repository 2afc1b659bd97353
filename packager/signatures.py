"""The signature of an ONNX model, as the manifest writes it, and what is declared of the model beside its graph."""

from __future__ import annotations

from typing import TYPE_CHECKING, cast

import msgspec

from manifests.manifest import SignatureSection, TensorSection
from manifests.pipeline import DECLARATION_KEY, Declaration, read_declaration
from packager.errors import ConversionError

if TYPE_CHECKING:
    import onnx

    from manifests.section import DType

_MOST_DIMENSIONS = 32
"""Numpy's own limit was that; no runtime takes more than a dozen."""
_KINDS = {"O": "string", "U": "string", "T": "string"}


def model_signature(model: onnx.ModelProto) -> SignatureSection:
    """Inputs (initializers apart) and outputs, in the model's order; a free dimension goes by its name.

    Raises:
        ConversionError: one is not a tensor, or has no known rank.
    """
    constants = {entry.name for entry in model.graph.initializer}
    signature = SignatureSection(
        inputs=tuple(_tensor(entry) for entry in model.graph.input if entry.name not in constants),
        outputs=tuple(_tensor(entry) for entry in model.graph.output),
    )
    return declared_signature(signature, declaration_of(model))


def declaration_of(model: onnx.ModelProto) -> Declaration:
    """What was declared of the model when it was imported."""
    return read_declaration(next((entry.value for entry in model.metadata_props if entry.key == DECLARATION_KEY), ""))


def declare(model: onnx.ModelProto, declaration: Declaration) -> None:
    """Write into the model's metadata what is declared of it; what stood there of this is gone."""
    kept = [(entry.key, entry.value) for entry in model.metadata_props if entry.key != DECLARATION_KEY]
    if declaration != Declaration():
        kept.append((DECLARATION_KEY, msgspec.json.encode(declaration, order="deterministic").decode()))
    del model.metadata_props[:]
    for key, value in kept:
        entry = model.metadata_props.add()
        entry.key, entry.value = key, value


def declared_signature(signature: SignatureSection, declaration: Declaration) -> SignatureSection:
    """The signature with the layouts, ranges and bounds that are declared, where it says nothing of them itself."""
    inputs = []
    for entry in signature.inputs:
        known = declaration.inputs.get(entry.name)
        fitting = known is not None and len(known.layout) in (0, len(entry.shape))
        if known is not None and fitting:
            entry = msgspec.structs.replace(  # noqa: PLW2901 - the same tensor, with more known of it
                entry, layout=entry.layout or known.layout, range=entry.range or known.range
            )
        inputs.append(entry)
    free = {size for entry in (*signature.inputs, *signature.outputs) for size in entry.shape}
    maximum = {name: size for name, size in declaration.maximum.items() if name in free}
    return msgspec.structs.replace(signature, inputs=tuple(inputs), maximum={**maximum, **signature.maximum})


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
    if kind.elem_type not in onnx.helper.get_all_tensor_dtypes():
        raise ConversionError("model.type", f"'{value.name}' is of no known type: got {kind.elem_type}")
    if len(kind.shape.dim) > _MOST_DIMENSIONS:
        raise ConversionError(
            "model.shape",
            f"'{value.name}' has too many dimensions: expected at most {_MOST_DIMENSIONS}, got {len(kind.shape.dim)}",
        )
    dtype = onnx.helper.tensor_dtype_to_np_dtype(kind.elem_type)
    shape = tuple(
        size.dim_value
        if size.HasField("dim_value") and size.dim_value >= 0
        else size.dim_param or f"{value.name}.{axis}"
        for axis, size in enumerate(kind.shape.dim)
    )
    return TensorSection(name=value.name, dtype=cast("DType", _KINDS.get(dtype.kind, dtype.name)), shape=shape)
