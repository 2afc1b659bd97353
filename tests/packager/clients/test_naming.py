from __future__ import annotations

import re
from typing import TYPE_CHECKING

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from packager.clients.languages._language import LanguageName, open_language
from packager.clients.naming import Names, one_line, words

if TYPE_CHECKING:
    from packager.clients.languages._language import Language

LANGUAGES = [open_language(name) for name in LanguageName]


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("conv2d/BiasAdd:0", ["conv", "2", "d", "bias", "add", "0"]),
        ("HTTPServer", ["http", "server"]),
        ("größe", ["gro", "e"]),
        ("形状", []),
        ("snake_case-name", ["snake", "case", "name"]),
    ],
)
def test_words_are_found_where_a_reader_sees_them(text: str, expected: list[str]) -> None:
    assert words(text) == expected


@pytest.mark.parametrize(
    ("language", "expected"),
    [
        (LanguageName.PYTHON, ["pixel_values", "class_", "x0", "input1_st"]),
        (LanguageName.CPP, ["pixel_values", "class_", "x0", "input1_st"]),
        (LanguageName.CSHARP, ["PixelValues", "Class", "X0", "Input1St"]),
        (LanguageName.SWIFT, ["pixelValues", "class_", "x0", "input1St"]),
        (LanguageName.KOTLIN, ["pixelValues", "class_", "x0", "input1St"]),
    ],
)
def test_fields_are_in_the_style_of_the_language(language: LanguageName, expected: list[str]) -> None:
    chosen = open_language(language)
    names = Names(chosen.reserved)
    given_names = ("pixel_values", "class", "x:0", "1st")
    assert [names.give(chosen.field(words(name)), chosen.input) for name in given_names] == expected


@pytest.mark.parametrize("language", LANGUAGES, ids=lambda language: language.name)
@settings(deadline=None)
@given(
    texts=st.lists(st.text() | st.sampled_from(["class", "int", "self", "x", "X", "1", "", "is", "Type"]), max_size=20)
)
def test_any_names_become_identifiers_none_twice_and_none_reserved(language: Language, texts: list[str]) -> None:
    names = Names(language.reserved)
    identifiers = [names.give(language.field(words(text)), language.input) for text in texts]
    assert all(re.fullmatch(r"[A-Za-z][A-Za-z0-9_]*", identifier) for identifier in identifiers)
    assert len(set(identifiers)) == len(identifiers)
    assert language.reserved.isdisjoint(identifiers)


@settings(deadline=None)
@given(st.text())
def test_a_shown_name_is_one_line_without_what_turns_or_hides_text(text: str) -> None:
    shown = one_line(text)
    assert len(shown.splitlines()) <= 1
    assert not set(shown) & set("\0\r\n\x0b\x0c\x1c\x85\u2028\u2029\u202e\u2066\u200b\ufeff\t")
