"""What stands on the stack of a pickle that is followed without being run."""

from __future__ import annotations

from typing import NamedTuple, TypeAlias

from packager.errors import ConversionError

_ARRAY_STATE = frozenset({"shape", "dtype", "numpy_array_alignment_bytes"})
_MOST_DIGITS = 9
_DEEPEST = 8
_CHARACTER = 4
"""Bytes of one in an array of text."""


class Name(NamedTuple):
    """A global."""

    text: str


class Made:
    """What an instruction makes: of which class, from what, and with what state."""

    __slots__ = ("arguments", "kind", "state")

    def __init__(self, kind: Symbol, arguments: tuple[Symbol, ...]) -> None:
        self.kind = kind
        self.arguments = arguments
        self.state: Symbol = None


class Table:
    """A dictionary, of which only the entries are kept that say where an array ends."""

    __slots__ = ("entries", "objects")

    def __init__(self) -> None:
        self.entries: dict[str, Symbol] = {}
        self.objects = False
        """Whether a value has a dtype in it whose elements are Python objects."""

    def keep(self, pairs: list[Symbol]) -> None:
        """Keys and values in turn."""
        for key, value in zip(pairs[::2], pairs[1::2], strict=False):
            if isinstance(key, str) and key in _ARRAY_STATE:
                self.entries[key] = value
            self.objects = self.objects or has_objects(value)


Symbol: TypeAlias = "str | int | Name | Made | Table | tuple[Symbol, ...] | None"
"""None: something that does not matter."""


def item_size(dtype: Symbol) -> tuple[int, bool]:
    """Bytes of an array's element, and whether it is a Python object."""
    kind = dtype.kind.text if isinstance(dtype, Made) and isinstance(dtype.kind, Name) else ""
    word = dtype.arguments[0] if isinstance(dtype, Made) and dtype.arguments else None
    if kind != "numpy.dtype" or not isinstance(word, str):
        raise broken("an array has no dtype")
    if has_objects(dtype):
        return 0, True
    digits = word[1:]
    if word[:1] not in set("biufcSUVmM?") or (digits and not digits.isdecimal()) or len(digits) > _MOST_DIGITS:
        raise broken(f"an array has the dtype '{word[:20]}'")
    return int(digits or 1) * (_CHARACTER if word[0] == "U" else 1), False


def has_objects(symbol: Symbol, depth: int = 0) -> bool:
    """Whether it is, or has in it, a dtype of Python objects; the fields of a record stand in its state."""
    if depth > _DEEPEST:
        return True
    if isinstance(symbol, Made) and symbol.kind == Name("numpy.dtype"):
        word = symbol.arguments[0] if symbol.arguments else None
        if not isinstance(word, str) or word[:1] == "O":
            return True
        return word[:1] == "V" and has_objects(symbol.state, depth + 1)
    if isinstance(symbol, tuple):
        return any(has_objects(part, depth + 1) for part in symbol)
    return isinstance(symbol, Table) and symbol.objects


def broken(problem: str) -> ConversionError:
    """The error of a pickle that is none."""
    return ConversionError("import.pickle", f"not a pickle: {problem}")
