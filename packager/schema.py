"""The JSON Schema of ``pack.toml``."""

from __future__ import annotations

from typing import TYPE_CHECKING, cast

import msgspec

from packager.config import FILE_NAME
from packager.registry import open_target, registrations
from packager.tables import Document, GatesTable

if TYPE_CHECKING:
    from collections.abc import Mapping


def project_schema() -> dict[str, object]:
    """The JSON Schema (2020-12) of ``pack.toml``, with the options of every target that is registered here."""
    targets = {name: open_target(entry).Options for name, entry in registrations().items()}
    (document, gates, *options), components = msgspec.json.schema_components(
        (Document, GatesTable, *targets.values()), ref_template="#/$defs/{name}"
    )
    properties: dict[str, object] = {}
    for name, reference in zip(targets, options, strict=True):
        table = _resolved(reference, components)
        fields = cast("dict[str, object]", table.get("properties", {})) | {"gates": gates}
        properties[name] = {"type": "object", "properties": fields, "additionalProperties": False}
    root = dict(_resolved(document, components))
    root["properties"] = cast("dict[str, object]", root["properties"]) | {
        "targets": {"type": "object", "properties": properties, "additionalProperties": False, "minProperties": 1}
    }
    used = {name: body for name, body in components.items() if f"#/$defs/{name}" not in str([document, *options])}
    return {
        "$schema": "https://json-schema.org/draft/2020-12/schema",
        **root,
        "title": FILE_NAME,
        "$defs": used,
    }


def _resolved(reference: object, components: Mapping[str, object]) -> dict[str, object]:
    name = cast("dict[str, str]", reference)["$ref"].rpartition("/")[2]
    return cast("dict[str, object]", components[name])
