"""Weights that stand beside the program, in storage files of version 2.

Layout (``MILBlob/Blob/StorageFormat.hpp`` of coremltools): a header of 64 bytes with the count of entries and the
version, then for each entry 64 bytes of metadata, at the offset that the program names, and its data, aligned to 64
bytes.
"""

from __future__ import annotations

import struct
from typing import TYPE_CHECKING

import numpy as np

from targets.coreml.evaluator._errors import PackageError

if TYPE_CHECKING:
    from pathlib import Path

    from targets.coreml.evaluator._types import Array, Element

_HEADER = struct.Struct("<II")
_METADATA = struct.Struct("<IIQQQ")
_SENTINEL = 0xDEADBEEF
_VERSION = 2
_KINDS = {
    1: "fp16",
    2: "fp32",
    3: "uint8",
    4: "int8",
    6: "int16",
    7: "uint16",
    8: "int4",
    9: "uint1",
    10: "uint2",
    11: "uint4",
    12: "uint3",
    13: "uint6",
    14: "int32",
    15: "uint32",
}
"""The data types of entries, by their numbers."""
_BYTE = 8


class Blobs:
    """The storage files of one package, each mapped into memory once."""

    def __init__(self, folder: Path) -> None:
        """Files are looked for below `folder`, and nowhere else."""
        self._folder = folder.resolve()
        self._files: dict[str, Array] = {}

    def read(self, name: str, offset: int, element: Element, shape: tuple[int, ...]) -> Array:
        """The tensor whose metadata stands at `offset` of the file that the program calls `name`.

        Raises:
            PackageError: the file, or the entry, is not what the program says.
        """
        data = self._file(name)
        kind, size, start, padding = self._entry(name, offset)
        stored = _KINDS.get(kind, f"type {kind}")
        # Booleans of a mask are kept as bits or bytes.
        if stored != element.name and not (element.name == "bool" and stored in {"uint1", "uint8"}):
            raise PackageError(f"entry at {offset} of '{name}': expected {element.name}, got {stored}")
        if start + size > data.size:
            raise PackageError(f"data of the entry at {offset} of '{name}' lies outside the file of {data.size} bytes")
        raw = data[start : start + size]
        if element.bits >= _BYTE:
            return _shaped(raw.view(element.numpy), shape, f"entry at {offset} of '{name}'")
        if padding >= _BYTE:
            raise PackageError(f"entry at {offset} of '{name}': expected less than 8 bits of padding, got {padding}")
        return _shaped(unpacked(raw, element, size * _BYTE - padding), shape, f"entry at {offset} of '{name}'")

    def size(self, name: str, offset: int) -> int:
        """How many bytes the tensor takes whose metadata stands at `offset` of a file.

        Raises:
            PackageError: the file, or the entry, is not what the program says.
        """
        return self._entry(name, offset)[1]

    def _entry(self, name: str, offset: int) -> tuple[int, int, int, int]:
        """Data type, size in bytes, where the data starts, and bits at its end that are padding."""
        data = self._file(name)
        if offset + _METADATA.size > data.size:
            raise PackageError(f"entry at {offset} of '{name}' lies outside the file of {data.size} bytes")
        sentinel, kind, size, start, padding = _METADATA.unpack_from(data[offset : offset + _METADATA.size].tobytes())
        if sentinel != _SENTINEL:
            raise PackageError(f"no entry at {offset} of '{name}': expected its mark {_SENTINEL:#x}, got {sentinel:#x}")
        return kind, size, start, padding

    def _file(self, name: str) -> Array:
        if name not in self._files:
            if "\0" in name:
                raise PackageError("the name of a storage file holds a null character")
            path = (self._folder / name.removeprefix("@model_path/")).resolve()
            if not path.is_relative_to(self._folder) or not path.is_file():
                raise PackageError(f"weights '{name}' are not in the package")
            data = np.memmap(path, dtype=np.uint8, mode="r")
            version = _HEADER.unpack_from(data[: _HEADER.size].tobytes())[1] if data.size >= _HEADER.size else None
            if version != _VERSION:
                raise PackageError(f"storage file '{name}': expected version {_VERSION}, got {version}")
            self._files[name] = np.asarray(data)
        return self._files[name]


def unpacked(raw: Array, element: Element, bits: int) -> Array:
    """One byte for each value of fewer than eight bits, out of the first `bits` bits, the lowest bit first."""
    count = bits // element.bits
    stream = np.unpackbits(raw, bitorder="little")[: count * element.bits].reshape(count, element.bits)
    values = np.packbits(stream, axis=1, bitorder="little")[:, 0]
    if not element.signed:
        return values
    sign = 1 << (element.bits - 1)
    return (values ^ sign).astype(np.int8) - np.int8(sign)


def _shaped(values: Array, shape: tuple[int, ...], what: str) -> Array:
    count = 1
    for length in shape:
        count *= length
    if values.size != count:
        raise PackageError(f"{what}: expected {count} values for the shape {list(shape)}, got {values.size}")
    return values.reshape(shape)
