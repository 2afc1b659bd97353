"""Universal Binary JSON as XGBoost writes it (its ``.ubj``), with limits: https://ubjson.org/ and its typed arrays."""

from __future__ import annotations

import struct
from typing import TypeAlias

from packager.errors import ConversionError

Value: TypeAlias = "str | int | float | bool | list[Value] | dict[str, Value] | None"

DEEPEST = 32
"""XGBoost nests some eight levels."""
_NUMBERS = {"i": "b", "U": "B", "I": "h", "l": "i", "L": "q", "d": "f", "D": "d"}
"""Type marker to the code of `struct`; all are big-endian."""
_WORDS: dict[str, bool | None] = {"Z": None, "T": True, "F": False}


class _Reader:
    def __init__(self, data: bytes) -> None:
        self._data = data
        self._at = 0

    def document(self) -> Value:
        value = self._value(self._marker(), 0)
        if self._at != len(self._data):
            raise _broken(f"{len(self._data) - self._at} bytes too many")
        return value

    def _take(self, size: int) -> bytes:
        part = self._data[self._at : self._at + size]
        if size < 0 or len(part) != size:
            raise _broken(f"it ends {size - len(part)} bytes early")
        self._at += size
        return part

    def _marker(self) -> str:
        return self._take(1).decode("latin-1")

    def _number(self, kind: str) -> int | float:
        code = ">" + _NUMBERS[kind]
        number: int | float = struct.unpack(code, self._take(struct.calcsize(code)))[0]
        return number

    def _length(self) -> int:
        kind = self._marker()
        if kind not in _NUMBERS:
            raise _broken(f"a length of the type '{kind}'")
        return int(self._number(kind))

    def _text(self) -> str:
        data = self._take(self._length())
        try:
            return data.decode()
        except UnicodeDecodeError as error:
            raise _broken("a text is not UTF-8") from error

    def _value(self, kind: str, depth: int) -> Value:
        if depth > DEEPEST:
            raise _broken(f"it is nested more than {DEEPEST} levels deep")
        if kind in _NUMBERS:
            return self._number(kind)
        if kind in _WORDS:
            return _WORDS[kind]
        if kind == "S":
            return self._text()
        if kind == "C":
            return self._marker()
        if kind == "[":
            return self._array(depth)
        if kind == "{":
            return self._object(depth)
        raise _broken(f"the type '{kind}' is not known")

    def _array(self, depth: int) -> list[Value]:
        kind = self._marker()
        if kind == "$":
            inner = self._marker()
            if inner not in _NUMBERS or self._marker() != "#":
                raise _broken("an array of one type without a length")
            return self._numbers(inner, self._length())
        if kind == "#":
            count = self._length()
            if count > len(self._data) - self._at:
                raise _broken("an array is longer than the file")
            return [self._value(self._marker(), depth + 1) for _ in range(count)]
        found: list[Value] = []
        while kind != "]":
            found.append(self._value(kind, depth + 1))
            kind = self._marker()
        return found

    def _numbers(self, kind: str, count: int) -> list[Value]:
        import numpy as np

        dtype = np.dtype(">" + _NUMBERS[kind])
        values: list[Value] = np.frombuffer(self._take(count * dtype.itemsize), dtype=dtype).tolist()
        return values

    def _object(self, depth: int) -> dict[str, Value]:
        found: dict[str, Value] = {}
        kind = self._marker()
        while kind != "}":
            if kind not in _NUMBERS:
                raise _broken(f"a name whose length is of the type '{kind}'")
            name = self._take(int(self._number(kind))).decode(errors="replace")
            found[name] = self._value(self._marker(), depth + 1)
            kind = self._marker()
        return found


def parse_ubjson(data: bytes) -> Value:
    """The value in `data`.

    Raises:
        ConversionError: it is none, or nested too deeply.
    """
    return _Reader(data).document()


def _broken(problem: str) -> ConversionError:
    return ConversionError("import.ubjson", f"not valid UBJSON: {problem}")
