from __future__ import annotations

from typing import TYPE_CHECKING

import pytest

from fleet.answers import chunk_path
from fleet.errors import FleetError, RefusedError
from fleet.publish import Address, check_rules, publish, trust_packer
from fleet.trust import Record
from fleet.workspace import create_workspace
from manifests.digests import digest_bytes
from manifests.errors import DigestMismatchError, LayoutError, UncheckableError
from manifests.release import decode_release
from manifests.signing import generate_key, public_pem, write_key

if TYPE_CHECKING:
    from collections.abc import Callable
    from pathlib import Path

    from fleet.store import Store
    from fleet.workspace import Workspace

    MakeBundle = Callable[..., Address]

NOW = 3_000.0


def listed(**custom: str | int) -> dict[str, str | int]:
    return {"model": "digits", "version": "1", "target": "cloud", "counter": 1, "bundle": "a"} | custom


def record(path: str, **custom: str | int) -> Record:
    return Record(path=path, data=b"", custom=listed(**custom))


def test_a_published_bundle_is_listed_with_every_byte_of_it(
    workspace: Workspace, database: Store, make_bundle: MakeBundle
) -> None:
    (published,) = publish(workspace, database, [make_bundle("3", 3)], now=NOW)
    assert published.new
    release = decode_release(workspace.repository.read_target("releases/digits/3/cloud.json"))
    assert (release.version, release.counter, release.bundle) == ("3", 3, published.release.bundle)
    for blob in release.blobs:
        chunks = [chunk_path(workspace.chunks, chunk).read_bytes() for chunk in blob.chunks]
        assert digest_bytes(b"".join(chunks)) == blob.digest
    assert max(len(blob.chunks) for blob in release.blobs) > 1
    (row,) = database.releases.all("digits")
    assert (row.labels, row.published, row.size) == (("zero", "one"), NOW, sum(blob.size for blob in release.blobs))
    baseline = database.releases.baseline(row.bundle)
    assert baseline is not None
    assert baseline.features[0].counts == (5, 5)
    custom = workspace.repository.targets()["releases/digits/3/cloud.json"].custom
    assert custom == {"model": "digits", "version": "3", "target": "cloud", "counter": 3, "bundle": row.bundle}


def test_publishing_again_changes_nothing(workspace: Workspace, database: Store, make_bundle: MakeBundle) -> None:
    address = make_bundle("3", 3)
    publish(workspace, database, [address], now=NOW)
    before = {path: path.read_bytes() for path in workspace.repository.folder.rglob("*") if path.is_file()}
    (again,) = publish(workspace, database, [address], now=NOW + 1)
    assert not again.new
    assert again.release.published == NOW
    assert before == {path: path.read_bytes() for path in workspace.repository.folder.rglob("*") if path.is_file()}


def test_a_crash_before_the_database_is_mended_by_publishing_again(
    workspace: Workspace, database: Store, make_bundle: MakeBundle, monkeypatch: pytest.MonkeyPatch
) -> None:
    address = make_bundle("3", 3)

    def cut(*_: object) -> bool:
        raise OSError("power cut")

    with monkeypatch.context() as patched:
        patched.setattr(database.releases, "add", cut)
        with pytest.raises(OSError, match="power cut"):
            publish(workspace, database, [address], now=NOW)
    assert database.releases.all() == []
    (mended,) = publish(workspace, database, [address], now=NOW)
    assert mended.new
    assert len(database.releases.all()) == 1


def test_an_unsigned_bundle_is_refused(workspace: Workspace, database: Store, make_bundle: MakeBundle) -> None:
    with pytest.raises(RefusedError, match="is not signed") as caught:
        publish(workspace, database, [make_bundle("3", 3, signers=())], now=NOW)
    assert (caught.value.code, caught.value.exit_code) == ("publish.unsigned", 5)
    assert caught.value.hint
    assert database.releases.all() == []


def test_a_bundle_signed_by_a_stranger_is_refused_until_he_is_trusted(
    workspace: Workspace, database: Store, make_bundle: MakeBundle, tmp_path: Path
) -> None:
    stranger = generate_key()
    address = make_bundle("3", 3, signers=(stranger,))
    with pytest.raises(RefusedError, match="not signed by a trusted packer"):
        publish(workspace, database, [address], now=NOW)
    trust_packer(workspace, write_key(stranger, tmp_path / "stranger.key"), name="", now=NOW)
    assert publish(workspace, database, [address], now=NOW)[0].new


def test_a_damaged_file_is_refused(workspace: Workspace, database: Store, make_bundle: MakeBundle) -> None:
    address = make_bundle("3", 3)
    blob = address.layout.blob_path(digest_bytes(b"weights" * 20_000 + b"3"))
    blob.write_bytes(b"WEIGHTS" * 20_000 + b"3")
    with pytest.raises(DigestMismatchError):
        publish(workspace, database, [address], now=NOW)
    assert database.releases.all() == []


def test_a_bundle_that_is_not_there_is_named(workspace: Workspace, database: Store, make_bundle: MakeBundle) -> None:
    layout = make_bundle("3", 3).layout
    with pytest.raises(LayoutError, match="no bundle 'digits:9@cloud'"):
        publish(workspace, database, [Address(layout, "digits:9@cloud")], now=NOW)


def test_of_several_bundles_none_is_published_when_one_is_refused(
    workspace: Workspace, database: Store, make_bundle: MakeBundle
) -> None:
    good, bad = make_bundle("3", 3), make_bundle("3", 3, target="edge-arm", signers=())
    with pytest.raises(RefusedError):
        publish(workspace, database, [good, bad], now=NOW)
    assert database.releases.all() == []
    assert set(workspace.repository.targets()) == {"trust/assigners.json"}


def test_a_workspace_without_a_packer_says_how_to_trust_one(workspace: Workspace, database: Store) -> None:
    with pytest.raises(RefusedError, match="no key is trusted") as caught:
        publish(workspace, database, [], now=NOW)
    assert "pack-fleet trust" in caught.value.hint


def test_without_the_offline_key_nothing_is_published(
    workspace: Workspace, database: Store, make_bundle: MakeBundle
) -> None:
    (workspace.folder / "keys" / "offline" / "targets.key").unlink()
    with pytest.raises(RefusedError, match="no key for the targets role"):
        publish(workspace, database, [make_bundle("3", 3)], now=NOW)
    assert set(workspace.repository.targets()) == {"trust/assigners.json"}


@pytest.mark.parametrize("counter", [0, 4, 5])
def test_a_counter_must_grow(counter: int) -> None:
    before = {"releases/digits/1/cloud.json": listed(counter=5)}
    with pytest.raises(RefusedError, match="expected more than 5") as caught:
        check_rules(before, record("releases/digits/2/cloud.json", version="2", counter=counter, bundle="b"))
    assert caught.value.code == "publish.counter"


def test_counters_of_other_models_and_targets_do_not_matter() -> None:
    before = {
        "releases/digits/1/edge-arm.json": listed(counter=9, target="edge-arm"),
        "releases/faces/1/cloud.json": listed(counter=9, model="faces"),
        "trust/assigners.json": {},
    }
    check_rules(before, record("releases/digits/2/cloud.json", version="2", counter=2, bundle="b"))


def test_a_version_is_never_replaced() -> None:
    before = {"releases/digits/1/cloud.json": listed()}
    check_rules(before, record("releases/digits/1/cloud.json"))
    with pytest.raises(RefusedError, match="with other content") as caught:
        check_rules(before, record("releases/digits/1/cloud.json", bundle="b", counter=2))
    assert caught.value.code == "publish.version"


def test_trusting_a_key_twice_lists_it_once(workspace: Workspace, tmp_path: Path) -> None:
    key = generate_key()
    public = write_key(key, tmp_path / "key.key")
    for _ in range(2):
        assert trust_packer(workspace, public, name="me", now=NOW) == key.public_key.keyid
    assert workspace.repository.assigners().packers == (public_pem(key.public_key),)


def test_what_is_no_key_is_not_trusted(workspace: Workspace, tmp_path: Path) -> None:
    (tmp_path / "key.pub").write_text("nonsense")
    with pytest.raises(UncheckableError):
        trust_packer(workspace, tmp_path / "key.pub", name="", now=NOW)


def test_what_was_done_stands_in_the_audit_log(workspace: Workspace, database: Store, make_bundle: MakeBundle) -> None:
    publish(workspace, database, [make_bundle("3", 3)], now=NOW)
    assert [entry.action for entry in workspace.audit.entries()] == ["init", "trust", "publish"]
    assert workspace.audit.verify()[0] == 3


def test_a_workspace_is_not_made_over_something_else(tmp_path: Path) -> None:
    (tmp_path / "mine").write_text("")
    with pytest.raises(FleetError, match="is not empty"):
        create_workspace(tmp_path, "demo", broker_port=0, api_port=0, now=NOW)
    with pytest.raises(FleetError, match="'Demo' is no name"):
        create_workspace(tmp_path / "new", "Demo", broker_port=0, api_port=0, now=NOW)
    assert not (tmp_path / "new").exists()


def test_private_keys_are_their_owners_alone(workspace: Workspace) -> None:
    keys = sorted(workspace.folder.glob("keys/*/*.key"))
    assert [key.stat().st_mode & 0o777 for key in keys] == [0o600] * 5
