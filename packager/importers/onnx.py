"""ONNX files: size limits and the checker before anything else looks at them."""

from __future__ import annotations

from typing import TYPE_CHECKING

from manifests.manifest import TaskSection
from packager.errors import ConversionError
from packager.importers._importer import Imported
from packager.importers._mlmodel import flavor_file

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

    import onnx

    from packager.importers._importer import Options

DISTRIBUTIONS = ("onnx", "onnxruntime")
EXTRA = "pack"
TOLERANCE = 0.0
SIZE_LIMIT = 2**31 - 1
"""Of the model with its external data, in bytes: protobuf's own limit for one message."""

_IR_VERSION_TAG = 0x08
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
    """The model with its external data taken in, checked."""
    import onnx
    from google.protobuf.message import DecodeError

    del options
    _check_size(path.stat().st_size)
    try:
        model = onnx.load(path, load_external_data=False)
    except DecodeError as error:
        raise ConversionError("import.onnx", f"'{path.name}' is not an ONNX file: {error}") from error
    _take_in_external_data(model, path)
    try:
        onnx.checker.check_model(model, full_check=False)
    except onnx.checker.ValidationError as error:
        raise ConversionError("import.onnx", f"'{path.name}' is not valid ONNX: {_first_line(error)}") from error
    return Imported(model, task=TaskSection(), predict=None)


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
    while graphs:
        graph = graphs.pop()
        yield from graph.initializer
        for node in graph.node:
            for attribute in node.attribute:
                graphs.extend(attribute.graphs)
                if attribute.HasField("g"):
                    graphs.append(attribute.g)
                if attribute.HasField("t"):
                    yield attribute.t
                yield from attribute.tensors


def _check_size(size: int) -> None:
    if size > SIZE_LIMIT:
        raise ConversionError("import.size", f"model is too large: expected at most {SIZE_LIMIT} bytes, got {size}")


def _looks_like_onnx(path: Path) -> bool:
    with path.open("rb") as stream:
        head = stream.read(3)
    few = 0x80
    return len(head) == 3 and head[0] == _IR_VERSION_TAG and 0 < head[1] < few and head[2] in _NEXT_TAGS  # noqa: PLR2004 - the length just read


def _first_line(error: Exception) -> str:
    return str(error).strip().splitlines()[0]
