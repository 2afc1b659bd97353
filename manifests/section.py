"""What the parts of every document of ours have in common: strict structs, names, sizes and types of values."""

from __future__ import annotations

from typing import Annotated, Literal, TypeAlias

import msgspec

Name: TypeAlias = Annotated[str, msgspec.Meta(pattern=r"^[a-z0-9](?:[a-z0-9._-]{0,62}[a-z0-9])?$(?!\n)")]
"""A model's, version's, target's, fleet's or device's name: safe as a path part, an MQTT level and an OCI reference."""

Size: TypeAlias = Annotated[int, msgspec.Meta(ge=0)]
"""How many of something: bytes, samples, values in a bin."""

DType: TypeAlias = Literal[
    "float16", "float32", "float64", "int8", "int16", "int32", "int64", "uint8", "uint16", "uint32", "uint64", "bool",
    "string",
]  # fmt: skip


class Section(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True, omit_defaults=True):
    """What every part of the manifest has in common: frozen, and strict about its fields (SPEC 2.2.1)."""
