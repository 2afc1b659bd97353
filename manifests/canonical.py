"""The one canonical encoding: RFC 8785 JSON, so that equal content has equal bytes; and the one way to parse JSON."""

from __future__ import annotations

from typing import TypeVar

import msgspec
import rfc8785

from manifests.errors import InvalidManifestError

Parsed = TypeVar("Parsed")


def canonical_json(value: object) -> bytes:
    """The RFC 8785 encoding of a struct, or of plain JSON values (SPEC 2.1).

    Raises:
        InvalidManifestError: a value has no such encoding (NaN, infinity, an integer past 2**53, a lone surrogate).
    """
    try:
        return rfc8785.dumps(plain(value))  # type: ignore[arg-type]  # `plain` yields JSON values alone
    except rfc8785.CanonicalizationError as error:
        raise InvalidManifestError("canonical.value", f"content has no canonical encoding: {error}") from error


def plain(value: object) -> object:
    """The JSON values that stand for `value`, without the fields that equal their default (SPEC 2.1.3).

    msgspec omits only what is identical to the default, so that ``HardwareSection()`` would be written when it was
    given and left out when it was not: two encodings of one content.
    """
    if isinstance(value, msgspec.Struct):
        omitting = value.__struct_config__.omit_defaults
        pairs = ((field, getattr(value, field.name)) for field in msgspec.structs.fields(value))
        return {
            field.encode_name: plain(content)
            for field, content in pairs
            if not (omitting and content == _default(field))
        }
    if isinstance(value, dict):
        return {key: plain(content) for key, content in value.items()}
    if isinstance(value, list | tuple):
        return [plain(content) for content in value]
    return value


def parse_json(data: bytes, kind: type[Parsed]) -> Parsed:
    """The value of that type in `data`.

    Raises:
        msgspec.DecodeError: not UTF-8, not JSON, nested too deeply, or not of that type; nothing else is raised.
    """
    try:
        # msgspec by itself lets bytes that are not UTF-8 through in the fields that it skips.
        return msgspec.json.decode(data.decode("utf-8"), type=kind)
    except UnicodeDecodeError as error:
        raise msgspec.DecodeError(f"JSON is not in UTF-8: {error}") from error
    except RecursionError as error:
        raise msgspec.DecodeError("JSON is nested too deeply") from error


def _default(field: msgspec.structs.FieldInfo) -> object:
    if field.default_factory is not msgspec.NODEFAULT:
        return field.default_factory()
    return field.default
