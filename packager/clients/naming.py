"""Identifiers out of names that a model's author chose: any text at all, in the style of a language."""

from __future__ import annotations

import re
import unicodedata
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Collection, Iterable

_LONGEST = 60
"""Characters of an identifier before it is made unlike others."""
_WORD = re.compile(r"[A-Z]+(?![a-z])|[A-Z]?[a-z]+|[0-9]+")


def words(text: str) -> list[str]:
    """The words of a name in lower case, ASCII alone: ``conv2d/BiasAdd:0`` is conv, 2, d, bias, add, 0."""
    plain = unicodedata.normalize("NFKD", text)
    return [word.lower() for word in _WORD.findall(plain)]


def snake(parts: Iterable[str]) -> str:
    """Words as ``two_words``; numbers stay with the word before them."""
    return re.sub(r"_(?=[0-9])", "", "_".join(parts))


def pascal(parts: Iterable[str]) -> str:
    """Words as ``TwoWords``."""
    return "".join(part.capitalize() for part in parts)


def camel(parts: Iterable[str]) -> str:
    """Words as ``twoWords``."""
    joined = pascal(parts)
    return joined[:1].lower() + joined[1:]


class Names:
    """Gives identifiers, none twice and none that is reserved."""

    def __init__(self, reserved: Collection[str]) -> None:
        self._reserved = frozenset(reserved)
        self._given: set[str] = set()

    def give(self, written: str, fallback: str) -> str:
        """The identifier that is nearest to `written`, itself in the language's style; `fallback` where it is empty."""
        name = written[:_LONGEST].rstrip("_") or fallback
        if not (name[0].isalpha() or name[0] == "_"):
            name = fallback + name
        if name in self._reserved:
            name += "_"
        chosen, number = name, 2
        while chosen in self._given or chosen in self._reserved:
            chosen, number = f"{name.rstrip('_')}_{number}", number + 1
        self._given.add(chosen)
        return chosen


def one_line(text: str) -> str:
    """A name as a comment may show it: on one line, with nothing that is invisible or turns the direction of text."""
    return "".join(each if _is_plain(each) else f"U+{ord(each):04X}" for each in text)


def _is_plain(character: str) -> bool:
    return character == " " or (character.isprintable() and unicodedata.category(character) not in {"Cf", "Zs", "Mn"})
