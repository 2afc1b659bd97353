"""Core ML's old models, those before ML programs: neural networks, linear models and trees, layer by layer.

onnxmltools 1.16 can't: its converter for Core ML asks its own package for a name that is not there. Core ML itself
runs on Apple's machines alone, so that nothing here is compared with it.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from manifests.manifest import TaskSection
from packager.errors import ConversionError
from packager.importers._coreml_layers import LAYERS
from packager.importers._coreml_models import write_linear, write_trees
from packager.importers._files import find_file, read_bounded
from packager.importers._graph import BATCH, Graph
from packager.importers._importer import Imported

if TYPE_CHECKING:
    from collections.abc import Sequence
    from pathlib import Path
    from typing import BinaryIO, TypeAlias

    import onnx

    from packager.importers._importer import Options

    Message: TypeAlias = Any
    """Of coremltools' generated code, which has no types."""

DISTRIBUTIONS = ("coremltools", "onnx")
EXTRA = "coreml"
TOLERANCE = 0.0
SIZE_LIMIT = (1 << 31) - 1

_NETWORKS = {303: "neuralNetworkRegressor", 403: "neuralNetworkClassifier", 500: "neuralNetwork"}
_OTHERS = {300: "glmRegressor", 302: "treeEnsembleRegressor", 400: "glmClassifier", 402: "treeEnsembleClassifier"}
_REFUSED = frozenset({200, 201, 202, 301, 304, 401, 404, 501, *range(555, 561), *range(600, 612), 900, 3000})
"""Fields of Model.proto with other kinds of models: claimed here, and refused by name. An ML program, 502, is not."""
_FIRST_TYPE = 200
_MOST_FIELDS = 64
_NOTE = "not compared with Core ML, which runs on Apple's machines alone: the layers are written by their documentation"


def find_model(path: Path) -> Path | None:
    """The file itself, or the only one in the folder."""
    return find_file(path, ("coreml", "data"), lambda file: _type_of(file) in {*_NETWORKS, *_OTHERS, *_REFUSED})


def read_model(path: Path, options: Options) -> Imported:
    """Pictures come as float32 of (N, C, H, W) from 0 to 255 with the channels as the model has them; arrays likewise.

    Raises:
        ConversionError: it can't be read, or has a layer or kind that is not known here.
    """
    from coremltools.proto import Model_pb2
    from google.protobuf.message import DecodeError

    del options
    model = Model_pb2.Model()
    try:
        model.ParseFromString(read_bounded(path, SIZE_LIMIT))
    except DecodeError as error:
        raise ConversionError("import.coreml_nn", f"'{path.name}' is not a Core ML model: {error}") from error
    kind = model.WhichOneof("Type")
    if kind in _NETWORKS.values():
        converted, task = _network(model, getattr(model, kind))
    elif kind in _OTHERS.values():
        converted, task = _other(model, kind)
    else:
        known = ", ".join(sorted((*_NETWORKS.values(), *_OTHERS.values())))
        raise ConversionError("import.coreml_nn", f"a Core ML {kind} can't be imported: expected one of {known}")
    return Imported(converted, task=task, predict=None, notes=(_NOTE,))


def _network(model: Message, network: Message) -> tuple[onnx.ModelProto, TaskSection]:
    if network.arrayInputShapeMapping:
        raise ConversionError(
            "import.coreml_nn",
            "a network whose arrays keep their own axes (EXACT_ARRAY_MAPPING) can't be imported",
            hint="give the model that it was converted from",
        )
    if not network.layers or not model.description.input:
        raise ConversionError("import.coreml_nn", "the network has no layer or no input")
    graph = Graph()
    inputs, values = [], {}
    scalers = {entry.featureName: entry for entry in network.preprocessing}
    for feature in model.description.input:
        sizes, picture = _sizes(feature)
        inputs.append(_info(feature.name, sizes))
        value = graph.add("Reshape", [feature.name, _shape(graph, [-1, *_three(sizes)])])
        scaler = scalers.get(feature.name) or (network.preprocessing[0] if picture and network.preprocessing else None)
        values[feature.name] = _scaled(graph, value, scaler, feature) if scaler is not None else value
    for layer in network.layers:
        kind = layer.WhichOneof("layer")
        if kind not in LAYERS and kind not in {"split", "copy"}:
            raise ConversionError("import.coreml_nn", f"layer '{layer.name}' is a {kind}, which can't be imported")
        missing = [name for name in layer.input if name not in values]
        if missing or (not layer.input and kind != "loadConstant"):
            raise ConversionError(
                "import.coreml_nn", f"layer '{layer.name}' reads '{''.join(missing[:1])}', which no layer makes"
            )
        values.update(_written(graph, layer, kind, [values[name] for name in layer.input]))
    return _finished(model, network, graph, inputs, values)


def _written(graph: Graph, layer: Message, kind: str, sources: list[str]) -> dict[str, str]:
    """What the layer makes, by its outputs."""
    if not layer.output:
        raise ConversionError("import.coreml_nn", f"layer '{layer.name}' makes nothing")
    if kind == "split":
        return dict(zip(layer.output, graph.split(sources[0], len(layer.output)), strict=True))
    if kind == "copy":
        return {layer.output[0]: sources[0]}
    try:
        written = LAYERS[kind](graph, getattr(layer, kind), sources)
    except (LookupError, OverflowError, TypeError, ValueError) as error:
        # Parameters that no layer of this kind has: a list too short, a choice that is none, a size below zero.
        raise ConversionError(
            "import.coreml_nn", f"layer '{layer.name}' is damaged: no {kind} is like this: {error}"
        ) from error
    return {layer.output[0]: written}


def _finished(
    model: Message, network: Message, graph: Graph, inputs: list[onnx.ValueInfoProto], values: dict[str, str]
) -> tuple[onnx.ModelProto, TaskSection]:
    import onnx.shape_inference

    labels = _labels(network)
    if labels:
        name = getattr(network, "labelProbabilityLayerName", "") or network.layers[-1].output[0]
        wanted = {"probabilities": (name, [len(labels)])}
    else:
        wanted = {entry.name: (entry.name, _sizes(entry)[0]) for entry in model.description.output}
    outputs: dict[str, tuple[str, Sequence[int | None]]] = {}
    for called, (name, sizes) in wanted.items():
        if name not in values:
            raise ConversionError("import.coreml_nn", f"no layer makes the output '{name}'")
        if any(sizes):
            outputs[called] = (graph.add("Reshape", [values[name], _shape(graph, [-1, *sizes])]), sizes)
        else:
            outputs[called] = (values[name], [None, None, None])  # old models leave it out
    converted = onnx.shape_inference.infer_shapes(graph.shaped_model(inputs, outputs))
    del converted.graph.value_info[:]
    if labels:
        return converted, TaskSection(kind="classification", output="probabilities", labels=labels)
    return converted, TaskSection()


def _other(model: Message, kind: str) -> tuple[onnx.ModelProto, TaskSection]:
    if len(model.description.input) != 1:
        raise ConversionError(
            "import.coreml_nn", f"a {kind} with {len(model.description.input)} inputs can't be imported: expected one"
        )
    feature = model.description.input[0]
    sizes, _ = _sizes(feature)
    body = getattr(model, kind)
    graph = Graph()
    write = write_linear if kind.startswith("glm") else write_trees
    labels = _labels(body)
    written, width = write(graph, feature.name, body, sizes[-1], len(labels))
    output = "probabilities" if labels else "variable"
    converted = graph.shaped_model([_info(feature.name, sizes)], {output: (written, [width])})
    return converted, TaskSection(kind="classification" if labels else "regression", output=output, labels=labels)


def _labels(body: Message) -> tuple[str, ...]:
    kind = body.WhichOneof("ClassLabels") if "ClassLabels" in body.DESCRIPTOR.oneofs_by_name else None
    return tuple(str(label) for label in getattr(body, kind).vector) if kind else ()


def _sizes(feature: Message) -> tuple[list[int], bool]:
    """The axes behind the batch, and whether it is a picture."""
    kind = feature.type.WhichOneof("Type")
    if kind == "multiArrayType":
        return [int(size) for size in feature.type.multiArrayType.shape], False
    if kind == "imageType":
        picture = feature.type.imageType
        channels = 1 if picture.ColorSpace.Name(picture.colorSpace).startswith("GRAY") else 3
        return [channels, int(picture.height), int(picture.width)], True
    raise ConversionError(
        "import.coreml_nn", f"'{feature.name}' is a {kind}: expected an array (multiArrayType) or a picture (imageType)"
    )


def _three(sizes: list[int]) -> list[int]:
    if len(sizes) not in {1, 3}:
        raise ConversionError("import.coreml_nn", f"an input of {len(sizes)} axes: expected 1 or 3, got {sizes}")
    return [*sizes, *[1] * (3 - len(sizes))]


def _scaled(graph: Graph, value: str, entry: Message, feature: Message) -> str:
    """A picture as the first layer takes it: each channel scaled and shifted, or less a mean picture."""
    import numpy as np

    sizes, _ = _sizes(feature)
    if entry.WhichOneof("preprocessor") == "meanImage":
        mean = np.array(entry.meanImage.meanImage, dtype=np.float32).reshape(1, *sizes)
        return graph.add("Sub", [value, graph.constant(mean)])
    scaler = entry.scaler
    color = feature.type.imageType.ColorSpace.Name(feature.type.imageType.colorSpace)
    shifts = [scaler.redBias, scaler.greenBias, scaler.blueBias]
    shifts = [scaler.grayBias] if sizes[0] == 1 else shifts[::-1] if color == "BGR" else shifts
    scale = np.array(scaler.channelScale or 1.0, dtype=np.float32)
    scaled = graph.add("Mul", [value, graph.constant(scale)])
    return graph.add("Add", [scaled, graph.constant(np.array(shifts, dtype=np.float32).reshape(1, -1, 1, 1))])


def _shape(graph: Graph, sizes: list[int]) -> str:
    import numpy as np

    return graph.constant(np.array(sizes, dtype=np.int64))


def _info(name: str, sizes: list[int]) -> onnx.ValueInfoProto:
    import onnx

    return onnx.helper.make_tensor_value_info(name, onnx.TensorProto.FLOAT, [BATCH, *sizes])


def _type_of(path: Path) -> int:
    """The number of the field that holds the model's kind; 0: it is no Core ML model."""
    size = path.stat().st_size
    with path.open("rb") as stream:
        if stream.read(1) != b"\x08":
            return 0
        stream.seek(0)
        for _ in range(_MOST_FIELDS):
            tag = _varint(stream)
            if tag is None:
                return 0
            field, wire = tag >> 3, tag & 7
            length = _varint(stream) if wire in {0, 2} else None
            if length is None:
                return 0
            if wire == 2:  # noqa: PLR2004 - a length and as many bytes
                if stream.tell() + length > size:
                    return 0
                if field >= _FIRST_TYPE:
                    return field
                stream.seek(length, 1)
    return 0


def _varint(stream: BinaryIO) -> int | None:
    """None: the file ends, or it is no number."""
    number = 0
    for place in range(10):
        byte = stream.read(1)
        if not byte:
            return None
        number |= (byte[0] & 0x7F) << 7 * place
        if byte[0] < 0x80:  # noqa: PLR2004 - the last byte has no high bit
            return number
    return None
