"""Calls as the program reads and writes them: lists of tensors by name; `golden.c` describes the bytes."""

from __future__ import annotations

import io
import struct
from typing import TYPE_CHECKING

import numpy as np
import onnx

if TYPE_CHECKING:
    from collections.abc import Sequence

    from numpy.typing import NDArray

    Call = dict[str, NDArray[np.generic]]


def write_calls(calls: Sequence[Call]) -> bytes:
    parts = [_number(len(calls))]
    for call in calls:
        parts.append(_number(len(call)))
        for name, array in call.items():
            kind = onnx.helper.np_dtype_to_tensor_dtype(array.dtype)
            parts += [_number(len(name.encode())), name.encode(), _number(kind), _number(array.ndim)]
            parts += [_number(size) for size in array.shape]
            data = np.ascontiguousarray(array).tobytes()
            parts += [_number(len(data)), data]
    return b"".join(parts)


def read_calls(data: bytes) -> list[Call]:
    stream = io.BytesIO(data)

    def number() -> int:
        return int(struct.unpack("<q", stream.read(8))[0])

    calls = []
    for _ in range(number()):
        call = {}
        for _ in range(number()):
            name = stream.read(number()).decode()
            dtype = onnx.helper.tensor_dtype_to_np_dtype(number())
            shape = [number() for _ in range(number())]
            call[name] = np.frombuffer(stream.read(number()), dtype).reshape(shape)
        calls.append(call)
    return calls


def _number(value: int) -> bytes:
    return struct.pack("<q", value)
