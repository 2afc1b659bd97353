"""Models in Debian's docker-registry, as ModelPack artifacts and ModelKits."""

from __future__ import annotations

import gzip
import io
import json
import tarfile
import threading
from contextlib import contextmanager
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import TYPE_CHECKING

import pytest
import requests
import zstandard

from manifests.canonical import canonical_json
from manifests.digests import digest_bytes
from manifests.layout import EMPTY_MEDIA_TYPE, IMAGE_MEDIA_TYPE, Descriptor, Image
from packager.errors import ConfigError, ConversionError, NetworkError
from packager.oci.reference import parse_reference
from packager.oci.registry import Repository
from tests.packager.servers import docker_registry, free_port

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

    from tests.packager.servers import Address
    from tests.packager.sources.conftest import Fetch

WEIGHTS = b"weights of a model " * 200_000
PACK = "application/vnd.cncf.model"
KIT = "application/vnd.kitops.modelkit"
FILEPATH = "org.cncf.model.filepath"


@pytest.fixture(scope="module")
def storage(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return tmp_path_factory.mktemp("registry")


@pytest.fixture(scope="module")
def registry(storage: Path) -> Iterator[Address]:
    with docker_registry(storage) as address:
        yield address


@pytest.fixture(autouse=True)
def nobody(project: Path) -> None:
    """Nobody's credentials."""
    del project


class Place:
    """A tag in a registry that artifacts are put under."""

    def __init__(self, address: Address, folder: Path, name: str) -> None:
        self.reference = f"oci://127.0.0.1:{address.port}/{name}:1"
        self._folder = folder

    def put(
        self,
        layers: list[tuple[str, bytes, str]],
        *,
        artifact_type: str = f"{PACK}.manifest.v1+json",
        config: tuple[str, bytes] = (f"{PACK}.config.v1+json", b"{}"),
    ) -> str:
        """Put layers (media type, content, path) under the tag; the manifest's digest is returned."""
        place = parse_reference(self.reference)
        with Repository(place) as repository:
            described = []
            for kind, content, path in [(*config, ""), *layers]:
                blob = Descriptor(
                    media_type=kind,
                    digest=digest_bytes(content),
                    size=len(content),
                    annotations={FILEPATH: path} if path else {},
                )
                (self._folder / "blob").write_bytes(content)
                repository.upload(self._folder / "blob", blob)
                described.append(blob)
            image = Image(
                schema_version=2,
                media_type=IMAGE_MEDIA_TYPE,
                artifact_type=artifact_type,
                config=described[0],
                layers=tuple(described[1:]),
            )
            data = canonical_json(image)
            repository.put_manifest(data, place.tag, IMAGE_MEDIA_TYPE)
        return digest_bytes(data)


@pytest.fixture
def place(registry: Address, tmp_path: Path, request: pytest.FixtureRequest) -> Place:
    name = "".join(letter if letter.isalnum() else "-" for letter in request.node.name.lower())
    return Place(registry, tmp_path, "-".join(filter(None, name.split("-"))))


def tar(*members: tuple[str, bytes | str]) -> bytes:
    """An archive of files (name, content) and of symbolic links (name, target)."""
    buffer = io.BytesIO()
    with tarfile.open(fileobj=buffer, mode="w") as archive:
        for name, content in members:
            member = tarfile.TarInfo(name)
            if isinstance(content, str):
                member.type, member.linkname = tarfile.SYMTYPE, content
                archive.addfile(member)
            else:
                member.size = len(content)
                archive.addfile(member, io.BytesIO(content))
    return buffer.getvalue()


def test_of_a_modelpack_the_weights_come_and_documents_stay(place: Place, fetch: Fetch) -> None:
    place.put(
        [
            (f"{PACK}.weight.v1.raw", WEIGHTS, "net.onnx"),
            (f"{PACK}.weight.config.v1.raw", b"{}", "config.json"),
            (f"{PACK}.doc.v1.raw", b"read me", "README.md"),
            (f"{PACK}.dataset.v1.tar", b"", "data"),
        ]
    )
    fetched = fetch(place.reference)
    assert sorted(path.name for path in fetched.path.iterdir()) == ["config.json", "net.onnx"]
    assert (fetched.path / "net.onnx").read_bytes() == WEIGHTS
    assert (fetched.version, fetched.reference) == ("1", place.reference)


@pytest.mark.parametrize("compression", ["", "+gzip", "+zstd"])
def test_an_archive_is_unpacked_however_it_is_compressed(compression: str, place: Place, fetch: Fetch) -> None:
    archive = tar(("model/net.onnx", WEIGHTS))
    if compression == "+gzip":
        archive = gzip.compress(archive)
    elif compression == "+zstd":
        archive = zstandard.compress(archive)
    place.put([(f"{PACK}.weight.v1.tar{compression}", archive, "model/net.onnx")])
    fetched = fetch(place.reference)
    assert (fetched.path.name, fetched.digest) == ("net.onnx", digest_bytes(WEIGHTS))


@pytest.mark.parametrize("kind", ["tar", "raw"])
def test_a_modelkit_is_read_with_the_paths_of_its_kitfile(kind: str, place: Place, fetch: Fetch) -> None:
    content = tar(("models/net.onnx", b"net")) if kind == "tar" else b"net"
    part = tar(("models/labels.txt", b"part")) if kind == "tar" else b"part"
    kitfile = {"model": {"path": "models/net.onnx", "parts": [{"path": "models/labels.txt"}]}}
    place.put(
        [
            (f"{KIT}.model.v1.{kind}", content, ""),
            (f"{KIT}.modelpart.v1.{kind}", part, ""),
            (f"{KIT}.code.v1.tar", tar(("train.py", b"")), ""),
        ],
        artifact_type=f"{KIT}.manifest.v1+json",
        config=(f"{KIT}.config.v1+json", json.dumps(kitfile).encode()),
    )
    fetched = fetch(place.reference)
    assert {path.name: path.read_bytes() for path in fetched.path.iterdir()} == {
        "net.onnx": b"net",
        "labels.txt": b"part",
    }


def test_a_layer_without_a_path_goes_by_its_digest(place: Place, fetch: Fetch) -> None:
    place.put([(f"{PACK}.weight.v1.raw", b"net", "")])
    assert fetch(place.reference).path.name == digest_bytes(b"net").removeprefix("sha256:")


def test_a_digest_is_asked_for_once_and_a_tag_follows(place: Place, fetch: Fetch) -> None:
    first = place.put([(f"{PACK}.weight.v1.raw", b"one", "net.onnx")])
    assert fetch(place.reference).path.read_bytes() == b"one"
    pinned = place.reference.removesuffix(":1") + f"@{first}"
    assert fetch(pinned).cached
    place.put([(f"{PACK}.weight.v1.raw", b"two", "net.onnx")])
    assert fetch(place.reference).path.read_bytes() == b"two"
    assert fetch(pinned).path.read_bytes() == b"one"


def test_a_model_that_is_not_the_approved_one_is_refused(place: Place, fetch: Fetch) -> None:
    place.put([(f"{PACK}.weight.v1.raw", b"one", "net.onnx")])
    assert fetch(place.reference, f'digest = "{digest_bytes(b"one")}"').path.read_bytes() == b"one"
    with pytest.raises(ConversionError, match=r"does not match 'model.digest'"):
        fetch(place.reference, f'digest = "{digest_bytes(b"two")}"')


@pytest.mark.parametrize(
    "member", [("../net.onnx", b"x"), ("/net.onnx", b"x"), ("a/../../net.onnx", b"x"), ("net.onnx", "/etc/passwd")]
)
def test_an_archive_that_leads_out_of_its_folder_is_refused(
    member: tuple[str, bytes | str], place: Place, fetch: Fetch, tmp_path: Path
) -> None:
    place.put([(f"{PACK}.weight.v1.tar", tar(member), "net.onnx")])
    with pytest.raises(ConversionError, match=r"leads out of|neither a file nor a folder"):
        fetch(place.reference)
    assert not list(tmp_path.rglob("net.onnx"))


def test_a_path_in_an_annotation_that_leads_out_is_refused(place: Place, fetch: Fetch) -> None:
    place.put([(f"{PACK}.weight.v1.raw", b"x", "../../net.onnx")])
    with pytest.raises(ConversionError, match="leads out of"):
        fetch(place.reference)


def test_too_much_is_refused_before_it_is_fetched_and_while_it_is_unpacked(place: Place, fetch: Fetch) -> None:
    place.put([(f"{PACK}.weight.v1.raw", WEIGHTS, "net.onnx")])
    with pytest.raises(ConversionError, match=f"expected at most 1000 bytes, got {len(WEIGHTS)}"):
        fetch(place.reference, "size_limit = 1000")
    place.put([(f"{PACK}.weight.v1.tar+gzip", gzip.compress(tar(("net.onnx", WEIGHTS))), "net.onnx")])
    with pytest.raises(ConversionError, match="too large: expected at most 100000 bytes"):
        fetch(place.reference, 'size_limit = "100 KB"')


def test_a_bundle_and_an_image_are_no_models(place: Place, fetch: Fetch) -> None:
    place.put([], artifact_type="", config=("application/vnd.packtrain.manifest.v1+json", b"{}"))
    with pytest.raises(ConfigError, match="is a bundle, not a model"):
        fetch(place.reference)
    place.put([("application/vnd.oci.image.layer.v1.tar", b"", "")], artifact_type="", config=(EMPTY_MEDIA_TYPE, b"{}"))
    with pytest.raises(ConversionError, match="is no model"):
        fetch(place.reference)
    with pytest.raises(ConfigError, match="no 'other'"):
        fetch(place.reference.removesuffix(":1") + ":other")


def test_a_blob_that_was_changed_in_the_registry_is_refused(place: Place, fetch: Fetch, storage: Path) -> None:
    content = b"to be changed"
    place.put([(f"{PACK}.weight.v1.raw", content, "net.onnx")])
    hexadecimal = digest_bytes(content).removeprefix("sha256:")
    (storage / "storage/docker/registry/v2/blobs/sha256" / hexadecimal[:2] / hexadecimal / "data").write_bytes(
        b"to be CHANGED"
    )
    with pytest.raises(ConversionError, match=r"digest of .* does not match"):
        fetch(place.reference)


def test_a_registry_that_is_not_there_is_a_network_error(fetch: Fetch) -> None:
    with pytest.raises(NetworkError, match="can't be reached"):
        fetch(f"oci://127.0.0.1:{free_port()}/net:1")


@pytest.mark.parametrize(
    "source", ["oci:net", "oci://host", "oci://host/net", "oci://host/NET:1", "oci://host/net:1@x"]
)
def test_what_is_no_reference_is_refused(source: str, fetch: Fetch) -> None:
    with pytest.raises(ConfigError, match="expected oci://HOST/NAME:TAG"):
        fetch(source)


@contextmanager
def cutting(address: Address, *after: int) -> Iterator[tuple[int, list[str]]]:
    """A proxy that cuts off the first answers with blobs, each after so many bytes: its port, and the asked ranges."""
    ranges: list[str] = []
    left = list(after)

    class Proxy(BaseHTTPRequestHandler):
        protocol_version = "HTTP/1.1"

        def do_GET(self) -> None:
            asked = {name: self.headers[name] for name in ("Accept", "Range") if name in self.headers}
            large = "/blobs/" in self.path
            if large:
                ranges.append(self.headers.get("Range", ""))
            answer = requests.get(address.url + self.path, headers=asked, timeout=10)
            content = answer.content
            self.send_response(answer.status_code)
            for name in ("Content-Type", "Content-Length", "Content-Range"):
                if name in answer.headers:
                    self.send_header(name, answer.headers[name])
            self.end_headers()
            if large and left:
                content = content[: left.pop(0)]
                self.close_connection = True
            self.wfile.write(content)

        def log_message(self, format: str, *arguments: object) -> None:  # noqa: A002 - the name is the library's
            """Nothing."""

    server = ThreadingHTTPServer(("127.0.0.1", 0), Proxy)
    thread = threading.Thread(target=server.serve_forever)
    thread.start()
    try:
        yield server.server_port, ranges
    finally:
        server.shutdown()
        thread.join()
        server.server_close()


def test_an_interrupted_download_goes_on_where_it_stopped(registry: Address, place: Place, fetch: Fetch) -> None:
    place.put([(f"{PACK}.weight.v1.raw", WEIGHTS, "net.onnx")])
    with cutting(registry, 1 << 20, 1 << 20) as (port, ranges):
        fetched = fetch(place.reference.replace(str(registry.port), str(port)))
    assert fetched.digest == digest_bytes(WEIGHTS)
    assert ranges == ["", f"bytes={1 << 20}-", f"bytes={2 << 20}-"]


def test_a_download_that_failed_goes_on_in_the_next_run(registry: Address, place: Place, fetch: Fetch) -> None:
    content = WEIGHTS + b"of another"
    place.put([(f"{PACK}.weight.v1.raw", content, "net.onnx")])
    with cutting(registry, 1 << 16, 0, 0, 0, 0) as (port, ranges):
        reference = place.reference.replace(str(registry.port), str(port))
        with pytest.raises(NetworkError, match=r"interrupted|can't be reached"):
            fetch(reference)
        assert fetch(reference).digest == digest_bytes(content)
    assert ranges == ["", *[f"bytes={1 << 16}-"] * 5]
