"""Bundles to and from Debian's docker-registry."""

from __future__ import annotations

import json
from typing import TYPE_CHECKING

import msgspec
import oras.provider
import pytest

from manifests.attestation import TEST_RESULT_PREDICATE, attest
from manifests.layout import IMAGE_MEDIA_TYPE, Layout
from tests.packager.servers import REGISTRY_PASSWORD, REGISTRY_USER, docker_registry, free_port

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

    from tests.packager.commands.conftest import Stored
    from tests.packager.conftest import Pack
    from tests.packager.servers import Address


@pytest.fixture(scope="module")
def registry(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Address]:
    with docker_registry(tmp_path_factory.mktemp("registry")) as address:
        yield address


@pytest.fixture(scope="module")
def guarded(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Address]:
    with docker_registry(tmp_path_factory.mktemp("guarded"), guarded=True) as address:
        yield address


@pytest.fixture(autouse=True)
def home(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A home folder without anybody's credentials."""
    for name in ("DOCKER_AUTH_CONFIG", "DOCKER_CONFIG", "NETRC", "REGISTRY_AUTH_FILE", "XDG_RUNTIME_DIR"):
        monkeypatch.delenv(name, raising=False)
    folder = tmp_path / "home"
    (folder / ".docker").mkdir(parents=True)
    monkeypatch.setenv("HOME", str(folder))
    return folder


def place(address: Address, name: str = "team/digits", tag: str = ":3") -> str:
    return f"oci://127.0.0.1:{address.port}/{name}{tag}"


def blobs(store: Path) -> dict[str, bytes]:
    return {path.name: path.read_bytes() for path in (store / "blobs" / "sha256").iterdir()}


def test_a_bundle_comes_back_with_its_attestations_byte_for_byte(
    registry: Address, pack: Pack, stored: Stored, tmp_path: Path
) -> None:
    attest(
        stored.layout,
        stored.bundle.descriptor,
        name=stored.bundle.reference,
        predicate_type=TEST_RESULT_PREDICATE,
        predicate={"result": "PASSED"},
        signers=[stored.signer],
    )
    pushed = pack("push", "digits:3@edge-arm", place(registry), "-o", "json", at=stored.project)
    assert (pushed.code, pushed.document["attestations"]) == (0, 2)
    pulled = pack("pull", place(registry), "--to", tmp_path / "other", "-o", "json")
    assert (pulled.code, pulled.document["attestations"]) == (0, 2)
    assert pulled.document["digest"] == pushed.document["digest"] == stored.bundle.digest
    assert blobs(tmp_path / "other") == blobs(stored.layout.folder)
    assert Layout.open(tmp_path / "other").index() == stored.layout.index()
    there = f"oci:{tmp_path / 'other'}"
    assert pack("verify", there, "--key", stored.key.with_suffix(".pub")).code == 0


def test_what_is_there_already_is_neither_sent_nor_received_again(
    registry: Address, pack: Pack, stored: Stored, tmp_path: Path
) -> None:
    where = place(registry, "twice/digits")
    assert pack("push", "digits:3@edge-arm", where, at=stored.project).code == 0
    assert pack("push", "digits:3@edge-arm", where, "-o", "json", at=stored.project).document["sent_bytes"] == 0
    pack("pull", where, "--to", tmp_path / "other")
    again = pack("pull", where, "--to", tmp_path / "other", "-o", "json")
    assert (again.document["received_bytes"], again.document["attestations"]) == (0, 1)
    # A tag that clients keep for referrers lists each one once.
    index = oras.provider.Registry(insecure=True).get_manifest(
        f"127.0.0.1:{registry.port}/twice/digits:{stored.bundle.digest.replace(':', '-')}",
        allowed_media_type=["application/vnd.oci.image.index.v1+json"],
    )
    assert len(index["manifests"]) == 1


def test_a_bundle_without_a_tag_goes_by_version_and_target_and_by_its_digest(
    registry: Address, pack: Pack, stored: Stored, tmp_path: Path
) -> None:
    tagged = pack("push", "digits:3@edge-arm", place(registry, "untagged", ""), "-o", "tag", at=stored.project)
    assert tagged.out.strip() == f"oci://127.0.0.1:{registry.port}/untagged@{stored.bundle.digest}"
    assert pack("pull", place(registry, "untagged", ":3-edge-arm"), "--to", tmp_path / "one").code == 0
    assert pack("pull", tagged.out.strip(), "--to", tmp_path / "two", "-o", "tag").out == "digits:3@edge-arm\n"


def test_oras_reads_what_was_pushed(registry: Address, pack: Pack, stored: Stored, tmp_path: Path) -> None:
    assert pack("push", "digits:3@edge-arm", place(registry, "peer"), at=stored.project).code == 0
    client = oras.provider.Registry(insecure=True)
    container = f"127.0.0.1:{registry.port}/peer:3"
    manifest = client.get_manifest(container)
    assert manifest == json.loads(stored.layout.read_bytes(stored.bundle.descriptor))
    layer = manifest["layers"][0]
    client.download_blob(container, layer["digest"], str(tmp_path / "model"))
    assert (tmp_path / "model").read_bytes() == b"weights"


def test_credentials_come_from_dockers_configuration_and_stay_there(
    guarded: Address, pack: Pack, stored: Stored, home: Path
) -> None:
    where = place(guarded)
    refused = pack("push", "digits:3@edge-arm", where, at=stored.project)
    assert (refused.code, f"docker login 127.0.0.1:{guarded.port}" in refused.err) == (6, True)
    import base64

    auth = base64.b64encode(f"{REGISTRY_USER}:{REGISTRY_PASSWORD}".encode()).decode()
    (home / ".docker" / "config.json").write_text(json.dumps({"auths": {f"127.0.0.1:{guarded.port}": {"auth": auth}}}))
    pushed = pack("push", "digits:3@edge-arm", where, at=stored.project)
    assert pushed.code == 0
    assert not [text for text in (auth, REGISTRY_PASSWORD) if text in pushed.out + pushed.err]


@pytest.mark.parametrize("kind", ["helper", "environment", "netrc"])
def test_credentials_come_from_helpers_the_environment_and_netrc(
    kind: str, guarded: Address, pack: Pack, stored: Stored, home: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    host = f"127.0.0.1:{guarded.port}"
    if kind == "helper":
        answer = json.dumps({"ServerURL": host, "Username": REGISTRY_USER, "Secret": REGISTRY_PASSWORD})
        helper = home / "docker-credential-test"
        helper.write_text(f"#!/bin/sh\nread server\n[ \"$server\" = '{host}' ] && echo '{answer}'\n")
        helper.chmod(0o700)
        monkeypatch.setenv("PATH", str(home), prepend=":")
        (home / ".docker" / "config.json").write_text(json.dumps({"credHelpers": {host: "test"}}))
    elif kind == "environment":
        auth = {"username": REGISTRY_USER, "password": REGISTRY_PASSWORD}
        monkeypatch.setenv("DOCKER_AUTH_CONFIG", json.dumps({"auths": {host: auth}}))
    else:
        (home / ".netrc").write_text(f"machine 127.0.0.1 login {REGISTRY_USER} password {REGISTRY_PASSWORD}\n")
        (home / ".netrc").chmod(0o600)
    assert pack("push", "digits:3@edge-arm", place(guarded, kind), at=stored.project).code == 0


def test_a_wrong_password_is_not_shown(guarded: Address, pack: Pack, stored: Stored, home: Path) -> None:
    (home / ".netrc").write_text("machine 127.0.0.1 login trainer password planted-wrong-password\n")
    (home / ".netrc").chmod(0o600)
    refused = pack("push", "digits:3@edge-arm", place(guarded), at=stored.project)
    assert refused.code == 6
    assert "refuses who you are" in refused.err
    assert "planted-wrong-password" not in refused.err


def test_a_password_in_a_reference_is_refused_and_not_shown(pack: Pack, stored: Stored) -> None:
    refused = pack("push", "digits:3@edge-arm", "oci://me:planted-password@127.0.0.1/x:1", at=stored.project)
    assert (refused.code, "planted-password" in refused.err) == (2, False)


def test_a_bundle_in_a_registry_is_not_inspected_from_afar(pack: Pack, stored: Stored) -> None:
    refused = pack("inspect", "oci://127.0.0.1:5000/x:1", at=stored.project)
    assert (refused.code, "pack pull" in refused.err) == (2, True)


def test_a_registry_that_is_not_there_is_a_network_error(pack: Pack, stored: Stored) -> None:
    refused = pack("push", "digits:3@edge-arm", f"oci://127.0.0.1:{free_port()}/x:1", at=stored.project)
    assert (refused.code, "can't be reached" in refused.err) == (6, True)


def test_a_damaged_bundle_is_not_pushed(registry: Address, pack: Pack, stored: Stored) -> None:
    stored.layout.blob_path(stored.bundle.image.layers[0].digest).write_bytes(b"WEIGHTS")
    refused = pack("push", "digits:3@edge-arm", place(registry, "damaged"), at=stored.project)
    assert (refused.code, "does not match" in refused.err) == (5, True)


def test_a_bundle_above_the_limit_is_not_fetched(registry: Address, pack: Pack, stored: Stored, tmp_path: Path) -> None:
    assert pack("push", "digits:3@edge-arm", place(registry, "large"), at=stored.project).code == 0
    refused = pack("pull", place(registry, "large"), "--to", tmp_path / "other", "--size-limit", "100 B")
    assert (refused.code, "too large" in refused.err) == (3, True)
    assert blobs(tmp_path / "other") == {}


def test_a_statement_about_another_bundle_is_not_taken(
    registry: Address, pack: Pack, stored: Stored, tmp_path: Path
) -> None:
    from packager.oci.reference import parse_reference
    from packager.oci.registry import Repository

    where = place(registry, "foreign")
    assert pack("push", "digits:3@edge-arm", where, at=stored.project).code == 0
    ((statement, image),) = stored.layout.referrers(stored.bundle.digest)
    assert image.subject is not None
    other = msgspec.structs.replace(image, subject=msgspec.structs.replace(image.subject, digest="sha256:" + "0" * 64))
    foreign = stored.layout.add_image(other)
    with Repository(parse_reference(where)) as repository:
        repository.put_manifest(stored.layout.read_bytes(foreign), foreign.digest, IMAGE_MEDIA_TYPE)
        repository.list_referrer(stored.bundle.digest, foreign)
    pulled = pack("pull", where, "--to", tmp_path / "other", "-o", "json")
    assert (pulled.document["attestations"], pulled.document["skipped"]) == (1, 1)
    found = Layout.open(tmp_path / "other").referrers(stored.bundle.digest)
    assert [entry.digest for entry, _ in found] == [statement.digest]
