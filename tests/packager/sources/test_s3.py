"""Object stores: moto's S3 server."""

from __future__ import annotations

import sys
from typing import TYPE_CHECKING

import pytest

from manifests.digests import digest_bytes
from packager.errors import ConfigError, ConversionError, NetworkError, ToolchainError
from tests.packager.servers import free_port, locked, served

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

    from s3fs import S3FileSystem

    from tests.packager.servers import Address
    from tests.packager.sources.conftest import Fetch

WEIGHTS = b"weights of a model " * 1_000_000
"""Three blocks."""


@pytest.fixture(scope="module")
def server(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Address]:
    port = free_port()
    command = locked("moto_server", "-H", "127.0.0.1", "-p", str(port))
    with served(command, port, tmp_path_factory.mktemp("moto")) as address:
        yield address


@pytest.fixture
def store(server: Address, project: Path, monkeypatch: pytest.MonkeyPatch) -> S3FileSystem:
    """The bucket 'models', with the credentials for it in the environment."""
    del project
    import s3fs

    monkeypatch.setenv("AWS_ACCESS_KEY_ID", "planted-access-key")
    monkeypatch.setenv("AWS_SECRET_ACCESS_KEY", "planted-secret-key")
    monkeypatch.setenv("AWS_DEFAULT_REGION", "us-east-1")
    monkeypatch.setenv("AWS_ENDPOINT_URL", server.url)
    store = s3fs.S3FileSystem(skip_instance_cache=True, use_listings_cache=False)
    if not store.exists("models"):
        store.mkdir("models")
    return store


def test_a_file_is_fetched_in_blocks_and_again_when_it_changes(store: S3FileSystem, fetch: Fetch) -> None:
    store.pipe("models/one/net.onnx", WEIGHTS)
    first = fetch("s3://models/one/net.onnx")
    assert (first.path.name, first.digest) == ("net.onnx", digest_bytes(WEIGHTS))
    assert fetch("s3://models/one/net.onnx").path == first.path
    store.pipe("models/one/net.onnx", b"another")
    assert fetch("s3://models/one/net.onnx").path.read_bytes() == b"another"


def test_a_folder_is_fetched_with_all_below_it(store: S3FileSystem, fetch: Fetch) -> None:
    store.pipe({"models/folder/net.onnx": b"net", "models/folder/parts/net.data": b"data"})
    fetched = fetch("s3://models/folder/")
    found = {path.relative_to(fetched.path).as_posix() for path in fetched.path.rglob("*") if path.is_file()}
    assert found == {"net.onnx", "parts/net.data"}
    with pytest.raises(ConversionError, match="expected at most 6 bytes, got 7"):
        fetch("s3://models/folder", "size_limit = 6")


def test_an_object_whose_name_leads_out_of_the_folder_is_refused(
    store: S3FileSystem, fetch: Fetch, tmp_path: Path
) -> None:
    store.pipe("models/bad/../../evil.onnx", b"evil")
    with pytest.raises(ConversionError, match="leads out of"):
        fetch("s3://models/bad")
    assert not list(tmp_path.rglob("evil.onnx"))


def test_what_is_not_there_is_refused(store: S3FileSystem, fetch: Fetch) -> None:
    del store
    for source in ("s3://models/nothing.onnx", "s3://nowhere/net.onnx"):
        with pytest.raises(ConfigError, match="no model at"):
            fetch(source)
    with pytest.raises(ConfigError, match="expected s3://BUCKET/PATH"):
        fetch("s3://models")


def test_a_store_that_is_not_there_is_a_network_error(
    store: S3FileSystem, fetch: Fetch, monkeypatch: pytest.MonkeyPatch
) -> None:
    del store
    monkeypatch.setenv("AWS_ENDPOINT_URL", f"http://127.0.0.1:{free_port()}")
    monkeypatch.setenv("AWS_MAX_ATTEMPTS", "1")
    with pytest.raises(NetworkError, match="can't be fetched") as caught:
        fetch("s3://models/one/net.onnx")
    assert "AWS_PROFILE" in caught.value.hint
    assert "planted" not in f"{caught.value} {caught.value.hint}"


@pytest.mark.parametrize(("source", "extra"), [("gs://models/net.onnx", "gs"), ("az://models/net.onnx", "az")])
def test_a_client_that_is_not_installed_is_named_with_its_extra(
    source: str, extra: str, fetch: Fetch, monkeypatch: pytest.MonkeyPatch
) -> None:
    # As in an environment without that extra.
    for name in ("adlfs", "gcsfs"):
        monkeypatch.setitem(sys.modules, name, None)
    monkeypatch.setattr("packager.fingerprints.installed_version", lambda name: None if "fs" in name else "1")
    with pytest.raises(ToolchainError) as caught:
        fetch(source)
    assert caught.value.hint == f"pip install 'packtrain[{extra}]'"
