"""What goes into the shipped file and what comes out of it, as the manifest says it."""

from __future__ import annotations

from typing import TYPE_CHECKING, cast

from ai_edge_litert import schema_py_generated as schema

from manifests.manifest import QuantizationParameters, SignatureSection, TensorSection
from targets._target import TargetError

if TYPE_CHECKING:
    from collections.abc import Iterator

    from manifests.section import DType
    from targets.edge_arm._graph import Graph, Tensor
    from targets.edge_arm._recipe import Scheme


def stored_signature(data: bytes, graph: Graph, scheme: Scheme) -> SignatureSection:
    """The names and shapes of the graph; under ``int8-io`` its float tensors are int8, by the file's own parameters.

    Raises:
        TargetError: an input or output that should be int8 is not.
    """
    inputs, outputs = graph.inputs, graph.outputs
    if scheme != "int8-io":
        return SignatureSection(inputs=tuple(_plain(inputs)), outputs=tuple(_plain(outputs)))
    model = schema.ModelT.InitFromPackedBuf(data)
    (signature,) = model.signatureDefs
    tensors = model.subgraphs[0].tensors
    stored = {
        entry.name.decode(): tensors[entry.tensorIndex].quantization
        for entry in (*signature.inputs, *signature.outputs)
        if tensors[entry.tensorIndex].type == schema.TensorType.INT8
    }
    return SignatureSection(inputs=tuple(_int8(inputs, stored)), outputs=tuple(_int8(outputs, stored)))


def _plain(tensors: dict[str, Tensor]) -> Iterator[TensorSection]:
    for name, tensor in tensors.items():
        yield TensorSection(name=name, dtype=cast("DType", tensor.dtype.name), shape=tensor.shape)


def _int8(tensors: dict[str, Tensor], stored: dict[str, schema.QuantizationParametersT]) -> Iterator[TensorSection]:
    for entry in _plain(tensors):
        if not entry.dtype.startswith("float"):
            yield entry
        elif entry.name in stored:
            (scale,), (zero_point,) = stored[entry.name].scale, stored[entry.name].zeroPoint
            yield TensorSection(
                name=entry.name,
                dtype="int8",
                shape=entry.shape,
                quantization=QuantizationParameters(scale=float(scale), zero_point=int(zero_point)),
            )
        else:
            raise TargetError(
                "edge-arm.quantize",
                f"'{entry.name}' can't be int8: what computes or reads it has no int8 form",
                hint='take quantize = "int8", whose inputs and outputs stay float32',
            )
