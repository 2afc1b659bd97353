"""TFLite files, which go into a bundle as they are; only targets that run TFLite take them."""

from __future__ import annotations

from typing import TYPE_CHECKING, cast

from manifests.manifest import TaskSection
from packager.importers._files import find_file, first_bytes, read_bounded
from packager.importers._importer import Imported
from packager.measures.native import TfliteModel
from packager.measures.running import call_size, run_all
from packager.signatures import model_signature
from targets._target import NATIVE_DOMAIN

if TYPE_CHECKING:
    from collections.abc import Sequence
    from pathlib import Path

    import onnx

    from packager.importers._importer import Arrays, Options

DISTRIBUTIONS = ("ai-edge-litert", "onnx")
EXTRA = "tflite"
TOLERANCE = 0.0
SIZE_LIMIT = (1 << 31) - (1 << 20)
"""Of the file, in bytes: it is carried in one protobuf message."""

_IDENTIFIER = b"TFL3"
"""From the fifth byte on, as FlatBuffers has it."""


def find_model(path: Path) -> Path | None:
    """The file itself, or the only one in the folder."""
    return find_file(path, ("tflite", "data"), lambda file: first_bytes(file, 8)[4:] == _IDENTIFIER)


def read_model(path: Path, options: Options) -> Imported:
    """The file in a model of one node; inputs and outputs go by its names, and are real where it is quantized.

    Raises:
        ConversionError: LiteRT can't load it, as where it needs operators of TensorFlow's.
    """
    import onnx

    del options
    data = read_bounded(path, SIZE_LIMIT)
    runner = TfliteModel(data)
    node = onnx.helper.make_node(
        "tflite", list(runner.inputs), list(runner.outputs), name=path.name, domain=NATIVE_DOMAIN, file=data
    )
    graph = onnx.helper.make_graph([node], "model", _infos(runner.inputs), _infos(runner.outputs))
    sets = [onnx.helper.make_opsetid("", 19), onnx.helper.make_opsetid(NATIVE_DOMAIN, 1)]
    model = onnx.helper.make_model(graph, opset_imports=sets, ir_version=9)
    size = call_size(model_signature(model))

    def predict(inputs: Arrays) -> Arrays:
        return run_all(TfliteModel(data), inputs, size)

    return Imported(model, task=TaskSection(), predict=predict)


def _infos(tensors: dict[str, dict[str, object]]) -> Sequence[onnx.ValueInfoProto]:
    import numpy as np
    import onnx

    found = []
    for name, entry in tensors.items():
        scale, _ = cast("tuple[float, int]", entry["quantization"])
        dtype = np.dtype(np.float32) if scale else np.dtype(cast("str", entry["dtype"]))
        kind = onnx.helper.np_dtype_to_tensor_dtype(dtype)
        shape = [int(extent) for extent in cast("Sequence[int]", entry["shape"])]
        found.append(onnx.helper.make_tensor_value_info(name, kind, shape))
    return found
