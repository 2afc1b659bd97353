"""The shape of an ONNX file from its bytes, before a parser makes objects of them.

Protobuf's wire format needs two bytes for a message that takes a hundred in memory, and lets messages hold each other.
So the tree of messages is walked here first, in constant memory: what is in it is only counted.
Source: protobuf.dev, Encoding; onnx.proto for the numbers of the fields.
"""

from __future__ import annotations

import functools

from packager.errors import ConversionError

MOST_PARTS = 5_000_000
"""Fields in all; the largest real models have some hundred thousand."""
MOST_NODES = 1_000_000
DEEPEST = 64
"""Messages within messages; protobuf's own parsers stop at 100. A graph within a graph is three more."""

_MODEL = "onnx.ModelProto"
_NODE = "onnx.NodeProto"
_TEXT = "text"
_VARINT, _FIXED64, _BYTES, _FIXED32 = 0, 1, 2, 5
_MORE = 0x80
"""The bit of a number's byte that says that another follows."""
_LONGEST_VARINT = 10


def check_wire(data: bytes | memoryview, name: str) -> None:
    """Refuse a model that would take far more memory than its file, or that is nested deeper than anything real.

    Raises:
        ConversionError: it is, or the bytes are no protobuf message.
    """
    inner_messages = _inner_messages()
    parts = nodes = 0
    place = 0
    ends = [len(data)]
    kinds = [_MODEL]
    while ends:
        if place == ends[-1]:
            ends.pop()
            kinds.pop()
            continue
        parts += 1
        if parts > MOST_PARTS:
            raise _too_much(name, f"expected at most {MOST_PARTS} fields")
        tag, place = _varint(data, place, ends[-1], name)
        number, wire = tag >> 3, tag & 7
        if wire == _BYTES:
            size, place = _varint(data, place, ends[-1], name)
            if place + size > ends[-1]:
                raise _not_onnx(name, "a field is longer than what holds it")
            inner = inner_messages[kinds[-1]].get(number)
            if inner is None or inner is _TEXT:
                if inner is _TEXT:
                    _check_text(data[place : place + size], name)
                place += size
                continue
            nodes += inner == _NODE
            if nodes > MOST_NODES:
                raise _too_much(name, f"expected at most {MOST_NODES} nodes")
            if len(ends) >= DEEPEST:
                raise ConversionError(
                    "import.nesting", f"'{name}' is nested too deeply: expected at most {DEEPEST} levels"
                )
            ends.append(place + size)
            kinds.append(inner)
        else:
            place = _skip(data, place, ends[-1], wire, name)


@functools.cache
def _inner_messages() -> dict[str, dict[int, str]]:
    """Of each kind of message, the fields that hold messages, and of which kind; and those that hold text."""
    import onnx

    found: dict[str, dict[int, str]] = {}
    waiting = [onnx.ModelProto.DESCRIPTOR]
    while waiting:
        descriptor = waiting.pop()
        if descriptor.full_name in found:
            continue
        inner = {field.number: field.message_type for field in descriptor.fields if field.message_type is not None}
        texts = {field.number: _TEXT for field in descriptor.fields if field.type == field.TYPE_STRING}
        found[descriptor.full_name] = {number: message.full_name for number, message in inner.items()} | texts
        waiting.extend(inner.values())
    return found


def _check_text(text: bytes | memoryview, name: str) -> None:
    try:
        str(text, "utf-8")
    except UnicodeDecodeError as error:
        raise _not_onnx(name, "a text in it is not UTF-8") from error


def _skip(data: bytes | memoryview, place: int, end: int, wire: int, name: str) -> int:
    if wire == _VARINT:
        return _varint(data, place, end, name)[1]
    width = {_FIXED64: 8, _FIXED32: 4}.get(wire)
    if width is None or place + width > end:
        raise _not_onnx(name, f"a field of wire type {wire}" if width is None else "it is cut off")
    return place + width


def _varint(data: bytes | memoryview, place: int, end: int, name: str) -> tuple[int, int]:
    """The number that begins at `place`, and where it ends."""
    if place < end and (byte := data[place]) < _MORE:
        return byte, place + 1
    value = shift = 0
    for position in range(place, min(end, place + _LONGEST_VARINT)):
        byte = data[position]
        value |= (byte & 0x7F) << shift
        if byte < _MORE:
            return value, position + 1
        shift += 7
    raise _not_onnx(name, "it is cut off" if end - place < _LONGEST_VARINT else "a number has no end")


def _too_much(name: str, expected: str) -> ConversionError:
    return ConversionError("import.size", f"'{name}' has too many parts: {expected}")


def _not_onnx(name: str, problem: str) -> ConversionError:
    return ConversionError("import.onnx", f"'{name}' is not an ONNX file: {problem}")
