"""ONNX files: limits on size and nesting, read from the bytes, and the checker before anything else looks at them.

A model with a ZipMap, as skl2onnx writes classifiers, gives its scores as a matrix and its labels as the task's.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from manifests.manifest import TaskSection
from packager.errors import ConversionError
from packager.hub.graph import ML_DOMAIN, domain_of, keep_outputs, opset
from packager.hub.remove_zipmap import remove_zipmap
from packager.importers._importer import Imported
from packager.importers._mlmodel import flavor_file
from packager.importers._operators import unknown_operators
from packager.importers._wire import check_wire

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator
    from pathlib import Path

    import onnx

    from packager.importers._importer import Options

DISTRIBUTIONS = ("onnx", "onnxruntime")
EXTRA = "pack"
TOLERANCE = 0.0
SIZE_LIMIT = 2**31 - 1
"""Of the model with its external data, in bytes: protobuf's own limit for one message."""
OLDEST_OPSET = 7
"""The first that onnxruntime promises to run."""

_LABEL_TYPES = (7, 8)
"""A classifier's labels are int64 or text."""
_IR_VERSION_TAG = 0x08
_OLDEST_IR = 3
"""The first of a released ONNX; a SavedModel of TensorFlow begins like one of version 1."""
_PRODUCER_TAG = 0x12
_FIRST_LETTER = 0x20
_NEXT_TAGS = frozenset({0x12, 0x1A, 0x22, 0x28, 0x32, 0x3A, 0x42, 0x72})
"""Field number and wire type of what may follow in a ModelProto: onnx.proto."""


def find_model(path: Path) -> Path | None:
    """The file itself, MLflow's, or the only one in the folder."""
    if path.is_dir():
        flavored = flavor_file(path, "onnx", "data")
        if flavored is not None:
            return flavored
        inside = [entry for entry in sorted(path.iterdir()) if entry.is_file() and _looks_like_onnx(entry)]
        return inside[0] if len(inside) == 1 else None
    return path if _looks_like_onnx(path) else None


def read_model(path: Path, options: Options) -> Imported:
    """The model with its external data taken in, checked.

    Operators that nobody here knows stay, and the checker, which would name the first of them only, is left out then:
    who runs the model names them all.
    """
    import onnx
    from google.protobuf.message import DecodeError

    del options
    _check_size(path.stat().st_size)
    data = path.read_bytes()
    check_wire(data, path.name)
    try:
        model = onnx.ModelProto.FromString(data)
    except DecodeError as error:
        raise ConversionError("import.onnx", f"'{path.name}' is not an ONNX file: {error}") from error
    del data
    _check_versions(model, path.name)
    _take_in_external_data(model, path)
    if not unknown_operators(model):
        try:
            onnx.checker.check_model(model, full_check=False)
        except (onnx.checker.ValidationError, ValueError, UnicodeDecodeError) as error:
            raise ConversionError("import.onnx", f"'{path.name}' is not valid ONNX: {_first_line(error)}") from error
    return Imported(model, task=_take_out_zipmap(model), predict=None)


def _check_versions(model: onnx.ModelProto, name: str) -> None:
    import onnx

    if not _OLDEST_IR <= model.ir_version <= onnx.IR_VERSION:
        raise ConversionError(
            "import.onnx",
            f"'{name}' is of an IR version that can't be read: expected {_OLDEST_IR} to {onnx.IR_VERSION}, "
            f"got {model.ir_version}",
        )
    version, newest = opset(model), onnx.defs.onnx_opset_version()
    if version and not OLDEST_OPSET <= version <= newest:
        raise ConversionError(
            "import.opset",
            f"'{name}' is of an opset that can't be run: expected {OLDEST_OPSET} to {newest}, got {version}",
            hint="export it again, with another opset",
        )


def _take_out_zipmap(model: onnx.ModelProto) -> TaskSection:
    """The task of a classifier whose scores are a list of dictionaries; they become a matrix (docs/adr/0009)."""
    mapped = {
        output
        for node in model.graph.node
        if node.op_type == "ZipMap" and domain_of(node.domain) == ML_DOMAIN
        for output in node.output
    }
    if not mapped:
        return TaskSection()
    labels = remove_zipmap(model)
    names = [entry.name for entry in model.graph.output]
    scores = [name for name in names if name in mapped]
    others = [entry for entry in model.graph.output if entry.name not in mapped]
    if len(scores) != 1 or not all(entry.type.tensor_type.elem_type in _LABEL_TYPES for entry in others):
        return TaskSection()
    keep_outputs(model, scores)
    return TaskSection(kind="classification", output=scores[0], labels=labels)


def _take_in_external_data(model: onnx.ModelProto, path: Path) -> None:
    import onnx.checker
    import onnx.external_data_helper as external

    folder = path.parent.resolve()
    total = path.stat().st_size
    seen: set[Path] = set()
    for tensor in _tensors(model):
        if not external.uses_external_data(tensor):
            continue
        location = external.ExternalDataInfo(tensor).location
        place = (folder / location).resolve()
        if not place.is_relative_to(folder) or not place.is_file():
            raise ConversionError(
                "import.external-data",
                f"external data of tensor '{tensor.name}' is not a file beside the model: got '{location}'",
            )
        if place not in seen:
            seen.add(place)
            total += place.stat().st_size
            _check_size(total)
    if seen:
        try:
            external.load_external_data_for_model(model, str(folder))
        except (onnx.checker.ValidationError, ValueError, OSError) as error:
            raise ConversionError("import.external-data", f"external data can't be read: {error}") from error


def _tensors(model: onnx.ModelProto) -> Iterator[onnx.TensorProto]:
    """Every tensor that may live outside of the file: initializers and attributes, those of subgraphs too."""
    graphs = [model.graph]
    nodes = [node for function in model.functions for node in function.node]
    while graphs or nodes:
        if graphs:
            graph = graphs.pop()
            yield from graph.initializer
            yield from _parts(graph.sparse_initializer)
            nodes.extend(graph.node)
        for attribute in [attribute for node in nodes for attribute in node.attribute]:
            graphs.extend(attribute.graphs)
            if attribute.HasField("g"):
                graphs.append(attribute.g)
            if attribute.HasField("t"):
                yield attribute.t
            yield from attribute.tensors
            yield from _parts([attribute.sparse_tensor, *attribute.sparse_tensors])
        nodes.clear()


def _parts(tensors: Iterable[onnx.SparseTensorProto]) -> Iterator[onnx.TensorProto]:
    for tensor in tensors:
        yield tensor.values
        yield tensor.indices


def _check_size(size: int) -> None:
    if size > SIZE_LIMIT:
        raise ConversionError("import.size", f"model is too large: expected at most {SIZE_LIMIT} bytes, got {size}")


def _looks_like_onnx(path: Path) -> bool:
    with path.open("rb") as stream:
        head = stream.read(5)
    few = 0x80
    if len(head) < 5 or head[0] != _IR_VERSION_TAG or not _OLDEST_IR <= head[1] < few or head[2] not in _NEXT_TAGS:  # noqa: PLR2004 - the length just read
        return False
    # A model of Core ML begins with its version too, and goes on with a message where ONNX has a short name.
    return head[2] != _PRODUCER_TAG or head[3] == 0 or (head[3] < few and head[4] >= _FIRST_LETTER)


def _first_line(error: Exception) -> str:
    return str(error).strip().splitlines()[0]
