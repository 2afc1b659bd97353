"""Changes to protobuf messages that leave the wire format whole, so that what is behind the parser is reached."""

from __future__ import annotations

import copy
from typing import TYPE_CHECKING, TypeAlias

if TYPE_CHECKING:
    import random
    from collections.abc import Iterator

Value: TypeAlias = "int | bytes | list[Field]"


class Field:
    """A field of a message: its number, its wire type, and a number, bytes or the fields of a message."""

    def __init__(self, number: int, wire: int, value: Value) -> None:
        self.number = number
        self.wire = wire
        self.value = value


class _BrokenError(Exception):
    """The bytes are no message."""


_NUMBERS = (0, 1, 2, 7, 11, 16, 127, 255, 2**31 - 1, 2**31, 2**32, 2**40, 2**63 - 1, 2**63, 2**64 - 1)
_HIGHEST = 200
"""Larger field numbers say that bytes are no message."""
_DEEPEST = 30
_MOST = 100_000
"""Bytes that are looked into."""


def change_message(data: bytes, source: random.Random) -> bytes | None:
    """The message with one to three fields changed; None: it is no message."""
    try:
        fields = _parse(data, 0)
    except _BrokenError:
        return None
    for _ in range(source.randint(1, 3)):
        places = list(_places(fields))
        if not places:
            break
        holder, index = source.choice(places)
        _change(holder, index, source, places)
    return _encode(fields)


def _places(fields: list[Field]) -> Iterator[tuple[list[Field], int]]:
    for index, field in enumerate(fields):
        yield fields, index
        if isinstance(field.value, list):
            yield from _places(field.value)


def _change(holder: list[Field], index: int, source: random.Random, places: list[tuple[list[Field], int]]) -> None:
    field = holder[index]
    action = source.random()
    if action < 0.15:  # noqa: PLR2004 - shares of the kinds of change
        del holder[index]
    elif action < 0.25:  # noqa: PLR2004 - likewise
        holder[index:index] = [field] * source.choice((1, 2, 100))
    elif action < 0.35:  # noqa: PLR2004 - likewise
        other, place = source.choice(places)
        if place < len(other):
            holder[index] = Field(field.number, other[place].wire, copy.deepcopy(other[place].value))
    elif action < 0.4:  # noqa: PLR2004 - likewise
        field.number = source.randint(1, 30)
    elif isinstance(field.value, int):
        field.value = source.choice((*_NUMBERS, field.value + 1, max(0, field.value - 1)))
    elif isinstance(field.value, bytes):
        field.value = _other_bytes(field.value, source)
    else:
        source.shuffle(field.value)


def _other_bytes(value: bytes, source: random.Random) -> bytes:
    choice = source.randrange(5)
    if choice == 0:
        return b""
    if choice == 1:
        return value[: source.randrange(len(value) + 1)]
    if choice == 2:  # noqa: PLR2004 - one of five
        return value * source.choice((2, 50))
    if choice == 3:  # noqa: PLR2004 - likewise
        return source.randbytes(len(value) or 4)
    changed = bytearray(value or b"\0")
    changed[source.randrange(len(changed))] ^= 1 << source.randrange(8)
    return bytes(changed)


def _parse(data: bytes, depth: int) -> list[Field]:
    fields: list[Field] = []
    place = 0
    while place < len(data):
        tag, place = _varint(data, place)
        number, wire = tag >> 3, tag & 7
        if not 0 < number <= _HIGHEST:
            raise _BrokenError
        if wire == 0:
            value, place = _varint(data, place)
            fields.append(Field(number, wire, value))
            continue
        if wire == 2:  # noqa: PLR2004 - protobuf's wire type of bytes
            size, place = _varint(data, place)
        else:
            size = {1: 8, 5: 4}.get(wire, len(data) + 1)
        part = data[place : place + size]
        if len(part) != size:
            raise _BrokenError
        place += size
        fields.append(Field(number, wire, _inner(part, depth) if wire == 2 else part))  # noqa: PLR2004 - likewise
    return fields


def _inner(part: bytes, depth: int) -> Value:
    """The bytes as a message where they may be one and are no text."""
    if not part or len(part) > _MOST or depth > _DEEPEST or (part.isascii() and part.decode().isprintable()):
        return part
    try:
        return _parse(part, depth + 1)
    except _BrokenError:
        return part


def _varint(data: bytes, place: int) -> tuple[int, int]:
    value = shift = 0
    while True:
        if place >= len(data) or shift > 63:  # noqa: PLR2004 - no number has more bits
            raise _BrokenError
        byte = data[place]
        place += 1
        value |= (byte & 0x7F) << shift
        if byte < 0x80:  # noqa: PLR2004 - the bit that says that more follows
            return value, place
        shift += 7


def _encode(fields: list[Field]) -> bytes:
    parts = []
    for field in fields:
        parts.append(_number(field.number << 3 | field.wire))
        if isinstance(field.value, int):
            parts.append(_number(field.value))
        else:
            content = field.value if isinstance(field.value, bytes) else _encode(field.value)
            if field.wire == 2:  # noqa: PLR2004 - protobuf's wire type of bytes
                parts.append(_number(len(content)))
            parts.append(content)
    return b"".join(parts)


def _number(value: int) -> bytes:
    out = bytearray()
    value &= 2**64 - 1
    while value > 0x7F:  # noqa: PLR2004 - seven bits a byte
        out.append(value & 0x7F | 0x80)
        value >>= 7
    out.append(value)
    return bytes(out)
