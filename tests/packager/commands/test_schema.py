from __future__ import annotations

import tomllib
from typing import TYPE_CHECKING

import jsonschema
import pytest

if TYPE_CHECKING:
    from pathlib import Path

    from tests.packager.conftest import Pack


def test_the_schema_takes_the_pack_toml_that_init_writes(pack: Pack, tmp_path: Path) -> None:
    schema = pack("schema").document
    assert pack("init", tmp_path / "new").code == 0
    jsonschema.validate(tomllib.loads((tmp_path / "new" / "pack.toml").read_text()), schema)


def test_the_schema_refuses_an_unknown_option_of_a_target(pack: Pack) -> None:
    schema = pack("schema").document
    document = {"model": {"name": "m", "source": "m.onnx"}, "targets": {"cloud": {"quantise": "int8"}}}
    with pytest.raises(jsonschema.ValidationError, match="quantise"):
        jsonschema.validate(document, schema)


def test_the_manifest_has_a_schema_too(pack: Pack) -> None:
    schema = pack("schema", "--manifest").document
    jsonschema.Draft202012Validator.check_schema(schema)
    assert "Manifest" in schema["$defs"]
