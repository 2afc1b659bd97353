"""Tensors as the Open Inference Protocol writes them, version 2: JSON, and raw bytes behind the JSON.

Source: kserve.github.io/open-inference-protocol, and the binary tensor data extension as Triton specifies it.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, TypeAlias

import msgspec
import numpy as np

from packager.serving.errors import RequestError

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

    from numpy.typing import NDArray

    from manifests.manifest import SignatureSection, TensorSection

Array: TypeAlias = "NDArray[np.generic]"

DATATYPES = {
    "bool": "BOOL",
    "uint8": "UINT8",
    "uint16": "UINT16",
    "uint32": "UINT32",
    "uint64": "UINT64",
    "int8": "INT8",
    "int16": "INT16",
    "int32": "INT32",
    "int64": "INT64",
    "float16": "FP16",
    "float32": "FP32",
    "float64": "FP64",
    "string": "BYTES",
}
"""The protocol's name of each dtype."""
_LENGTH = 4
"""Bytes of the length before each text of a raw BYTES tensor."""


class TensorParameters(msgspec.Struct, kw_only=True):
    """What the extension for raw bytes says of one tensor."""

    binary_data_size: int | None = None
    binary_data: bool | None = None


class InputTensor(msgspec.Struct, kw_only=True):
    """One input of a request."""

    name: str
    shape: list[int]
    datatype: str
    data: msgspec.Raw = msgspec.Raw()
    parameters: TensorParameters = msgspec.field(default_factory=TensorParameters)


class RequestedOutput(msgspec.Struct, kw_only=True):
    """One output that is wanted."""

    name: str
    parameters: TensorParameters = msgspec.field(default_factory=TensorParameters)


class RequestParameters(msgspec.Struct, kw_only=True):
    """What holds for the whole request."""

    binary_data_output: bool = False


class InferenceRequest(msgspec.Struct, kw_only=True):
    """The JSON of one request."""

    inputs: list[InputTensor]
    id: str = ""
    outputs: list[RequestedOutput] = []
    parameters: RequestParameters = msgspec.field(default_factory=RequestParameters)


def read_json(document: bytes) -> InferenceRequest:
    """The request.

    Raises:
        RequestError: it is not one; the message names the field.
    """
    try:
        return _REQUESTS.decode(document)
    except msgspec.DecodeError as error:
        raise RequestError(f"not an inference request: {error}") from error


_REQUESTS = msgspec.json.Decoder(InferenceRequest)
_FLAT_FLOATS = msgspec.json.Decoder(list[float])
_FLAT_INTEGERS = msgspec.json.Decoder(list[int])


def take_inputs(request: InferenceRequest, raw: memoryview, signature: SignatureSection) -> dict[str, Array]:
    """The arrays of a request by name, in the signature's dtypes and shapes; `raw` is what follows the JSON.

    Raises:
        RequestError: an input is missing, unknown, given twice, or not of the signature's dtype and shape.
    """
    known = {entry.name: entry for entry in signature.inputs}
    taken: dict[str, Array] = {}
    place = 0
    for tensor in request.inputs:
        entry = known.get(tensor.name)
        if entry is None:
            raise RequestError(f"unknown input '{tensor.name}': expected {', '.join(known)}")
        if tensor.name in taken:
            raise RequestError(f"input '{tensor.name}' is given twice")
        check_tensor(tensor.name, tensor.datatype, tensor.shape, entry)
        size = tensor.parameters.binary_data_size
        if size is None:
            taken[tensor.name] = _from_json(tensor, entry)
        else:
            if not 0 <= size <= len(raw) - place:
                raise RequestError(f"input '{tensor.name}': {size} raw bytes are announced, {len(raw) - place} follow")
            taken[tensor.name] = from_raw(tensor.name, raw[place : place + size], entry, tensor.shape)
            place += size
    if place != len(raw):
        raise RequestError(f"{len(raw) - place} raw bytes belong to no input")
    check_complete(taken, signature)
    return taken


def check_complete(taken: Mapping[str, Array], signature: SignatureSection) -> None:
    """Raises RequestError where an input is missing, or free dimensions of one name differ."""
    missing = [entry.name for entry in signature.inputs if entry.name not in taken]
    if missing:
        raise RequestError(f"missing input '{missing[0]}'")
    sizes: dict[str, tuple[str, int]] = {}
    for entry in signature.inputs:
        for name, size in zip(entry.shape, taken[entry.name].shape, strict=True):
            if isinstance(name, int):
                continue
            other, expected = sizes.setdefault(name, (entry.name, size))
            if size != expected:
                raise RequestError(f"dimension '{name}' is {expected} in input '{other}' and {size} in '{entry.name}'")
            most = signature.maximum.get(name)
            if most is not None and size > most:
                raise RequestError(f"dimension '{name}' of input '{entry.name}': expected at most {most}, got {size}")


def check_tensor(name: str, datatype: str, shape: Sequence[int], entry: TensorSection) -> None:
    """Raises RequestError where the announced type or shape is not the signature's."""
    if datatype != DATATYPES.get(entry.dtype):
        raise RequestError(f"input '{name}': expected {DATATYPES.get(entry.dtype)}, got {datatype}")
    fits = len(shape) == len(entry.shape) and all(
        given > 0 and (not isinstance(size, int) or given == size)
        for given, size in zip(shape, entry.shape, strict=False)
    )
    if not fits:
        raise RequestError(f"input '{name}': expected shape {list(entry.shape)}, got {list(shape)}")


def _from_json(tensor: InputTensor, entry: TensorSection) -> Array:
    try:
        if entry.dtype.startswith("float"):
            values: list[float] | list[int] = _FLAT_FLOATS.decode(tensor.data)
        elif entry.dtype.startswith(("int", "uint")):
            values = _FLAT_INTEGERS.decode(tensor.data)
        else:
            values = msgspec.json.decode(tensor.data)
    except msgspec.ValidationError:
        values = msgspec.json.decode(tensor.data)  # nested lists, which the protocol allows
    except msgspec.DecodeError as error:
        raise RequestError(f"input '{tensor.name}' has no data: {error}") from error
    try:
        array = np.asarray(values, dtype=object if entry.dtype == "string" else entry.dtype)
        return _checked_texts(array, tensor.name, entry).reshape(tensor.shape)
    except (ValueError, TypeError, OverflowError) as error:
        raise RequestError(
            f"input '{tensor.name}': data is not {tensor.datatype} of {tensor.shape}: {error}"
        ) from error


def _checked_texts(array: Array, name: str, entry: TensorSection) -> Array:
    if entry.dtype == "string" and not all(isinstance(value, str) for value in array.ravel()):
        raise RequestError(f"input '{name}': expected texts")
    return array


def from_raw(name: str, raw: memoryview | bytes, entry: TensorSection, shape: Sequence[int]) -> Array:
    """The array of little-endian bytes; texts have their length before them.

    Raises:
        RequestError: they are too few or too many.
    """
    if entry.dtype == "string":
        return _texts(name, bytes(raw), shape)
    dtype = np.dtype(entry.dtype).newbyteorder("<")
    expected = dtype.itemsize * int(np.prod(shape, dtype=np.int64))
    if len(raw) != expected:
        raise RequestError(f"input '{name}': expected {expected} bytes, got {len(raw)}")
    return np.frombuffer(raw, dtype=dtype).reshape(shape).astype(entry.dtype, copy=False)


def _texts(name: str, raw: bytes, shape: Sequence[int]) -> Array:
    values, place = [], 0
    while place < len(raw):
        size = int.from_bytes(raw[place : place + _LENGTH], "little")
        text = raw[place + _LENGTH : place + _LENGTH + size]
        if len(text) != size:
            raise RequestError(f"input '{name}': a text ends early")
        try:
            values.append(text.decode())
        except UnicodeDecodeError as error:
            raise RequestError(f"input '{name}': a text is not UTF-8: {error.reason}") from error
        place += _LENGTH + size
    if len(values) != int(np.prod(shape, dtype=np.int64)):
        raise RequestError(f"input '{name}': expected texts for shape {list(shape)}, got {len(values)}")
    return np.array(values, dtype=object).reshape(shape)


def to_raw(array: Array) -> bytes:
    """Little-endian bytes; texts with their length before them."""
    if array.dtype.kind == "O":
        texts = [str(value).encode() for value in array.ravel()]
        return b"".join(len(text).to_bytes(_LENGTH, "little") + text for text in texts)
    return array.astype(array.dtype.newbyteorder("<"), copy=False).tobytes()


def answer_json(
    request: InferenceRequest, outputs: Mapping[str, Array], *, model: str, version: str
) -> tuple[bytes, bytes | None]:
    """The JSON of an answer, and the raw bytes that follow it; None: nothing was asked for in bytes.

    Raises:
        RequestError: an output is asked for that there is not.
    """
    wanted = {entry.name: entry.parameters.binary_data for entry in request.outputs}
    unknown = [name for name in wanted if name not in outputs]
    if unknown:
        raise RequestError(f"unknown output '{unknown[0]}': expected {', '.join(outputs)}")
    raws: list[bytes] = []
    entries: list[dict[str, object]] = []
    for name, array in outputs.items():
        if wanted and name not in wanted:
            continue
        datatype = "BYTES" if array.dtype.kind in "OU" else DATATYPES[array.dtype.name]
        entry: dict[str, object] = {"name": name, "shape": list(array.shape), "datatype": datatype}
        asked = wanted.get(name)
        if request.parameters.binary_data_output if asked is None else asked:
            raws.append(to_raw(array))
            entry["parameters"] = {"binary_data_size": len(raws[-1])}
        else:
            entry["data"] = array.ravel().tolist()
        entries.append(entry)
    answer: dict[str, object] = {"model_name": model, "model_version": version, "outputs": entries}
    if request.id:
        answer["id"] = request.id
    return msgspec.json.encode(answer), b"".join(raws) if raws else None
