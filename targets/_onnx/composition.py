"""What a shipped ONNX file is made of: its nodes in order, what each computes in, and the size of its constants."""

from __future__ import annotations

from typing import TYPE_CHECKING

from targets._composition import Composition, Layer
from targets._onnx.graph import qualified
from targets._target import TargetError

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

    import onnx

    from targets._target import Artifact


def composition(artifact: Artifact, folder: Path) -> Composition:
    """The nodes of the artifact's first ONNX file, those of branches and bodies behind the node that has them.

    Raises:
        TargetError: the file is damaged (``onnx.load``).
    """
    import onnx
    from google.protobuf.message import DecodeError

    path = next(entry.path for entry in artifact.files if entry.path.endswith(".onnx"))
    try:
        model = onnx.load(folder / path)
    except DecodeError as error:
        raise TargetError("onnx.load", f"'{path}' is no ONNX file: {error}") from error
    inferred = onnx.shape_inference.infer_shapes(model).graph
    kinds = {entry.name: entry.type.tensor_type.elem_type for entry in (*inferred.value_info, *inferred.output)}
    kinds |= {entry.name: entry.data_type for entry in model.graph.initializer}
    return Composition(layers=tuple(_layers(model.graph, kinds, {})))


def _layers(graph: onnx.GraphProto, kinds: dict[str, int], left: dict[str, int]) -> Iterator[Layer]:
    left |= {entry.name: _bytes(entry) for entry in graph.initializer}
    for node in graph.node:
        own = sum(_bytes(entry.t) for entry in node.attribute if entry.HasField("t"))
        yield Layer(
            name=node.name or next(filter(None, node.output), ""),
            operator=qualified(node),
            # Behind an operator of onnxruntime's own no type is known: its constants' says it.
            precision=_name(next((kinds[name] for name in (*node.output, *node.input) if name in kinds), 0)),
            weight_bytes=own + sum(left.pop(name, 0) for name in node.input),
        )
        for entry in node.attribute:
            for inner in (entry.g, *entry.graphs):
                yield from _layers(inner, kinds, left)


def _bytes(tensor: onnx.TensorProto) -> int:
    return int(tensor.ByteSize()) - len(tensor.name)


def _name(kind: int) -> str:
    from onnx import TensorProto, helper

    if kind == TensorProto.UNDEFINED:
        return ""
    return "str" if kind == TensorProto.STRING else helper.tensor_dtype_to_np_dtype(kind).name
