"""The one canonical encoding: RFC 8785 JSON, so that equal content has equal bytes."""

from __future__ import annotations

import msgspec
import rfc8785


def canonical_json(value: object) -> bytes:
    """The RFC 8785 encoding of a struct, or of plain JSON values.

    Raises:
        rfc8785.CanonicalizationError: a value has no such encoding (NaN, infinity, an integer past 2**53).
    """
    plain: object = msgspec.to_builtins(value)
    return rfc8785.dumps(plain)  # type: ignore[arg-type]  # to_builtins yields JSON values alone
