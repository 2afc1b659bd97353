"""Reads a ``.mlpackage`` folder: its manifest, its model specification, its weights."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import msgspec

from targets.coreml.evaluator._blobs import Blobs
from targets.coreml.evaluator._errors import PackageError
from targets.coreml.evaluator._specification import messages

if TYPE_CHECKING:
    from pathlib import Path

_MOST_BYTES = 1 << 30
"""Protobuf's own bound is two gigabytes; large weights stand beside the specification."""


class _Item(msgspec.Struct):
    path: str


class _Manifest(msgspec.Struct, rename="camel"):
    item_info_entries: dict[str, _Item]
    root_model_identifier: str


def specification(folder: Path) -> tuple[Any, Blobs]:
    """The ``Model`` message of a package, and its weights.

    Raises:
        PackageError: the folder is no package, or damaged.
    """
    path = _model_path(folder)
    if path.stat().st_size > _MOST_BYTES:
        raise PackageError(f"'{path.name}' has {path.stat().st_size} bytes: expected at most {_MOST_BYTES}")
    from google.protobuf.message import DecodeError

    model = messages("Model_pb2").Model()
    try:
        model.ParseFromString(path.read_bytes())
    except DecodeError as error:
        raise PackageError(f"'{path.name}' is no model specification: {error}") from error
    if model.WhichOneof("Type") != "mlProgram":
        raise PackageError(
            f"the model is of type '{model.WhichOneof('Type')}': expected 'mlProgram'",
            hint="convert it for iOS 15 or later",
        )
    return model, Blobs(path.parent)


def _model_path(folder: Path) -> Path:
    manifest = folder / "Manifest.json"
    if not manifest.is_file():
        raise PackageError(f"'{folder.name}' has no Manifest.json")
    try:
        read = msgspec.json.decode(manifest.read_bytes(), type=_Manifest)
    except (msgspec.DecodeError, msgspec.ValidationError) as error:
        raise PackageError(f"Manifest.json of '{folder.name}' can't be read: {error}") from error
    item = read.item_info_entries.get(read.root_model_identifier)
    if item is None:
        raise PackageError(f"Manifest.json of '{folder.name}' names no root model")
    data = (folder / "Data").resolve()
    path = (data / item.path).resolve()
    if not path.is_relative_to(data) or not path.is_file():
        raise PackageError(f"the model '{item.path}' is not in the package '{folder.name}'")
    return path
