"""A model's tables as the bytes of a file, as few as the format allows.

A vector that stands in several tables is written once: shapes, and above all the zero points of weights and biases, of
which each channel has one of eight bytes.
"""

from __future__ import annotations

from typing import Any

import flatbuffers
import numpy as np
from ai_edge_litert import schema_py_generated as schema

_FILE_IDENTIFIER = b"TFL3"
_ALIGNMENT = 16
"""What the schema's ``force_align`` asks of a buffer's data."""


class AlignedBuffer:
    """A buffer whose data starts on the boundary that the schema asks for; the generated class packs without it."""

    def __init__(self, data: bytes) -> None:
        self._data = data

    def Pack(self, builder: Any) -> Any:  # noqa: ANN401, N802 - the generated code's interface
        size = len(self._data)
        if size:
            builder.StartVector(1, size, _ALIGNMENT)
            builder.head -= size
            builder.Bytes[builder.head : builder.head + size] = self._data
            data = builder.EndVector()
        schema.BufferStart(builder)
        if size:
            schema.BufferAddData(builder, data)
        return schema.BufferEnd(builder)


class _SharingBuilder(flatbuffers.Builder):  # type: ignore[misc] # flatbuffers has no types
    """Writes equal vectors once; a table may point at any that is written already."""

    def __init__(self) -> None:
        super().__init__(1 << 16)
        self._written: dict[tuple[str, bytes], Any] = {}

    def CreateNumpyVector(self, x: Any) -> Any:  # noqa: ANN401, N802 - the builder's interface
        key = x.dtype.str, x.tobytes()
        if key not in self._written:
            self._written[key] = super().CreateNumpyVector(x)
        return self._written[key]


def packed(model: Any) -> bytes:  # noqa: ANN401 - the generated code has no types
    """The file of a model whose buffers are aligned."""
    builder = _SharingBuilder()
    builder.Finish(model.Pack(builder), file_identifier=_FILE_IDENTIFIER)
    return bytes(builder.Output())


def repacked(data: bytes) -> bytes:
    """The same model in fewer bytes, with all data within its tables.

    The quantizer puts larger buffers behind them, where TensorFlow Lite Micro does not look.
    """
    model = schema.ModelT.InitFromPackedBuf(data)
    model.buffers = [AlignedBuffer(_content(buffer, data)) for buffer in model.buffers]
    return packed(model)


def _content(buffer: Any, data: bytes) -> bytes:  # noqa: ANN401 - likewise
    if buffer.offset:
        return data[buffer.offset : buffer.offset + buffer.size]
    return b"" if buffer.data is None else np.asarray(buffer.data, np.uint8).tobytes()
