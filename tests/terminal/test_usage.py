from __future__ import annotations

from typing import TYPE_CHECKING

import pytest

if TYPE_CHECKING:
    from tests.terminal.conftest import Run


@pytest.mark.parametrize(
    ("typed", "message", "hint"),
    [
        ("wrok", "no such command 'wrok'", "did you mean 'work'?"),
        ("zzz", "no such command 'zzz'", "toy --help shows what it takes"),
        ("help", "no such command 'help'", "toy --help"),
        ("work --levle 1", "no such option: --levle", "did you mean '--level'?"),
        ("work --zzz", "no such option: --zzz", "toy work --help shows what it takes"),
        ("--level 1 work", "no such option: --level", "it stands behind the command: toy COMMAND --level ..."),
        ("work --level", "option '--level' requires an argument", "toy --help shows what it takes"),
        ("work --form xml", "--form: 'xml' is not one of 'text', 'json'", "toy work --help shows what it takes"),
        ("", "missing command", "toy --help shows what it takes"),
    ],
)
def test_what_was_typed_wrong_is_an_error_with_a_hint(toy: Run, typed: str, message: str, hint: str) -> None:
    assert toy(*typed.split()) == (2, "", f"error: {message} [usage]\nhint: {hint}\n")
