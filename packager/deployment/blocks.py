"""YAML in block style: JSON values, every text quoted, so that nothing is taken for a number or a date."""

from __future__ import annotations

import json
import re
from typing import TypeAlias

Value: TypeAlias = "dict[str, Value] | list[Value] | str | int | bool | None"
_UNPRINTABLE = re.compile("[^\t\n\r -~\xa0-\u2027\u202a-\ud7ff\ue000-\ufefe\uff00-\ufffd\U00010000-\U0010ffff]")
"""What YAML 1.2 does not print (production 1), the byte order mark, and what YAML 1.1 takes for the end of a line."""


def write_blocks(*documents: Value) -> bytes:
    """The documents, one after the other."""
    return "---\n".join("\n".join(_lines(document)) + "\n" for document in documents).encode()


def _lines(value: Value) -> list[str]:
    if isinstance(value, dict) and value:
        return [line for name, entry in value.items() for line in _entry(f"{name}:", entry)]
    if isinstance(value, list) and value:
        return [line for entry in value for line in _item(entry)]
    return [_UNPRINTABLE.sub(lambda found: f"\\u{ord(found[0]):04x}", json.dumps(value, ensure_ascii=False))]


def _entry(name: str, value: Value) -> list[str]:
    lines = _lines(value)
    if isinstance(value, dict | list) and value:
        return [name, *(f"  {line}" for line in lines)]
    return [f"{name} {lines[0]}"]


def _item(value: Value) -> list[str]:
    first, *others = _lines(value)
    return [f"- {first}", *(f"  {line}" for line in others)]
