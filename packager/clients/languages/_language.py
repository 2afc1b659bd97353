"""What a language is to the generator, and how one is found by its name."""

from __future__ import annotations

import importlib
from dataclasses import dataclass
from enum import StrEnum
from typing import TYPE_CHECKING, cast

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Mapping


class LanguageName(StrEnum):
    """The modules of this folder."""

    PYTHON = "python"
    CSHARP = "csharp"
    CPP = "cpp"
    SWIFT = "swift"
    KOTLIN = "kotlin"


@dataclass(frozen=True)
class Language:
    """Facts of a language; what its code looks like stands in its templates alone."""

    name: LanguageName
    reserved: frozenset[str]
    """Words that can't name a field: the language's own, and what the templates use."""
    package: Callable[[list[str]], str]
    """The package, namespace or module of a model, from the words of its name."""
    type_name: Callable[[list[str]], str]
    """What the names of its types begin with."""
    field: Callable[[Iterable[str]], str]
    """A field, from its words; may be empty, or no identifier yet."""
    input: str
    """The name of an input whose own says nothing in ASCII letters."""
    output: str
    literal: Callable[[str], str]
    """A text as the language writes it, whatever stands in it."""
    comment: Callable[[str], str]
    """A line as it may stand in a comment."""
    types: Mapping[str, str]
    """What holds one element of each dtype; float16 goes by float32."""
    files: Mapping[str, str]
    """Template to the path of the file; ``{type}`` and ``{package}`` are filled in."""
    backends: Mapping[str, tuple[str, str]]
    """Kind of a runtime to the template of what calls it and the path of its file."""
    test: str
    """The command that runs the golden test, in the client's folder."""
    golden: str = "golden.bin"
    """Path of the golden vectors."""
    model: str = "model"
    """Folder of the shipped files."""


def open_language(name: LanguageName) -> Language:
    """The language of that name."""
    module = importlib.import_module(f"packager.clients.languages.{name.value}")
    return cast("Language", module.language)


def escaped(text: str, special: Mapping[str, str], escape: Callable[[str], str]) -> str:
    """The text between double quotes: printable ASCII as it is, `special` as it says, anything else by `escape`."""
    return '"' + "".join(special.get(each) or (each if " " <= each <= "~" else escape(each)) for each in text) + '"'


def utf16_escape(character: str) -> str:
    r"""A character as ``\uXXXX``, twice where it takes two units."""
    data = character.encode("utf-16-be")
    return "".join(f"\\u{data[index : index + 2].hex()}" for index in range(0, len(data), 2))
