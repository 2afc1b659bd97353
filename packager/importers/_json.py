"""JSON from a stranger: its size and depth are bounded before it is parsed."""

from __future__ import annotations

import json
import re

from packager.errors import ConversionError

_STRING = re.compile(rb'"(?:[^"\\]|\\.)*"', re.DOTALL)
_BRACKETS = re.compile(rb"[\[\]{}]")


def parse_bounded(encoded: bytes, what: str, *, size: int, depth: int) -> object:
    """The document, which is `what` in errors.

    Raises:
        ConversionError: it has more than `size` bytes, is nested deeper than `depth`, or is not JSON.
    """
    if len(encoded) > size:
        raise ConversionError("import.size", f"{what} is too large: expected at most {size} bytes, got {len(encoded)}")
    found = _depth(encoded)
    if found > depth:
        raise ConversionError("import.depth", f"{what} is nested too deeply: expected at most {depth}, got {found}")
    try:
        return json.loads(encoded)
    except ValueError as error:
        raise ConversionError("import.json", f"{what} is not JSON: {error}") from error


def _depth(encoded: bytes) -> int:
    depth = deepest = 0
    for bracket in _BRACKETS.findall(_STRING.sub(b"", encoded)):
        depth += 1 if bracket in b"[{" else -1
        deepest = max(deepest, depth)
    return deepest
