"""The repository against python-tuf's own client, which reads it from files."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import TYPE_CHECKING

import pytest
from tuf.api.exceptions import DownloadHTTPError, RepositoryError
from tuf.ngclient import FetcherInterface, Updater

from fleet.errors import FleetError, RefusedError
from fleet.trust import LIFETIMES, OnlineSigners, Record, Repository, Signers
from manifests.release import ASSIGNERS_PATH, Assigners, decode_assigners
from manifests.signing import generate_key

if TYPE_CHECKING:
    from collections.abc import Iterator

NOW = datetime.now(tz=UTC).replace(microsecond=0)
ASSIGNERS = Assigners(assigners=("one",), packers=("two",))
RECORD = Record(path="releases/digits/3/cloud.json", data=b"{}", custom={"counter": 3})


class Files(FetcherInterface):
    """Fetches from a folder, as a mirror would serve it."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        self.fetched: list[str] = []

    def _fetch(self, url: str) -> Iterator[bytes]:
        self.fetched.append(url)
        path = self.folder / url
        if not path.is_file():
            raise DownloadHTTPError("not found", 404)
        return iter([path.read_bytes()])


@pytest.fixture
def signers() -> Signers:
    return Signers(root=generate_key(), targets=generate_key(), snapshot=generate_key(), timestamp=generate_key())


@pytest.fixture
def repository(tmp_path: Path, signers: Signers) -> Repository:
    return Repository.create(tmp_path / "repository", signers, ASSIGNERS, now=NOW)


def online(signers: Signers) -> OnlineSigners:
    return OnlineSigners(snapshot=signers.snapshot, timestamp=signers.timestamp)


def client(repository: Repository, root: bytes, folder: Path) -> Updater:
    (folder / "metadata").mkdir(parents=True, exist_ok=True)
    (folder / "targets").mkdir(exist_ok=True)
    return Updater(
        str(folder / "metadata"),
        "metadata/",
        str(folder / "targets"),
        "targets/",
        fetcher=Files(repository.folder),
        bootstrap=root,
    )


def download(updater: Updater, path: str) -> bytes:
    info = updater.get_targetinfo(path)
    assert info is not None
    return Path(updater.download_target(info)).read_bytes()


def test_a_client_gets_the_assigners_of_a_new_repository(repository: Repository, tmp_path: Path) -> None:
    updater = client(repository, repository.root_bytes(), tmp_path / "device")
    updater.refresh()
    assert decode_assigners(download(updater, ASSIGNERS_PATH)) == ASSIGNERS
    assert repository.assigners() == ASSIGNERS


def test_a_client_that_knows_an_older_state_gets_what_was_published_since(
    repository: Repository, signers: Signers, tmp_path: Path
) -> None:
    root = repository.root_bytes()
    client(repository, root, tmp_path / "device").refresh()
    assert repository.publish([RECORD], signers.targets, online(signers), now=NOW)
    updater = client(repository, root, tmp_path / "device")
    assert download(updater, RECORD.path) == b"{}"
    info = updater.get_targetinfo(RECORD.path)
    assert info is not None
    assert info.custom == {"counter": 3}


def test_publishing_the_same_again_writes_nothing(repository: Repository, signers: Signers) -> None:
    repository.publish([RECORD], signers.targets, online(signers), now=NOW)
    before = {path: path.read_bytes() for path in repository.folder.rglob("*.json")}
    assert not repository.publish([RECORD], signers.targets, online(signers), now=NOW + timedelta(days=1))
    assert before == {path: path.read_bytes() for path in repository.folder.rglob("*.json")}


def test_a_crash_before_the_timestamp_leaves_the_repository_as_it_was(
    repository: Repository, signers: Signers, tmp_path: Path
) -> None:
    timestamp = repository.folder / "metadata" / "timestamp.json"
    before = timestamp.read_bytes()
    repository.publish([RECORD], signers.targets, online(signers), now=NOW)
    timestamp.write_bytes(before)
    updater = client(repository, repository.root_bytes(), tmp_path / "device")
    assert updater.get_targetinfo(RECORD.path) is None
    other = Record(path="releases/digits/4/cloud.json", data=b"[]")
    assert repository.publish([other], signers.targets, online(signers), now=NOW)
    updater = client(repository, repository.root_bytes(), tmp_path / "device")
    assert download(updater, other.path) == b"[]"
    assert updater.get_targetinfo(RECORD.path) is None


def test_refreshing_renews_what_has_less_than_half_its_life_left(repository: Repository, signers: Signers) -> None:
    assert repository.refresh(online(signers), now=NOW) == ()
    later = NOW + LIFETIMES["timestamp"] * 0.6
    assert repository.refresh(online(signers), now=later) == ("timestamp",)
    assert repository.expiries()["timestamp"] == later + LIFETIMES["timestamp"]
    much_later = NOW + LIFETIMES["snapshot"] * 0.6
    assert repository.refresh(online(signers), now=much_later) == ("snapshot", "timestamp")


def test_a_client_follows_a_refresh_and_a_renewal(repository: Repository, signers: Signers, tmp_path: Path) -> None:
    root = repository.root_bytes()
    client(repository, root, tmp_path / "device").refresh()
    repository.refresh(online(signers), now=NOW + LIFETIMES["snapshot"] * 0.6)
    client(repository, root, tmp_path / "device").refresh()
    repository.renew_offline(signers, now=NOW + timedelta(days=80))
    updater = client(repository, root, tmp_path / "device")
    updater.refresh()
    assert download(updater, ASSIGNERS_PATH)
    assert repository.expiries()["targets"] == NOW + timedelta(days=80) + LIFETIMES["targets"]


def test_online_keys_alone_vouch_for_nothing_new(repository: Repository, signers: Signers) -> None:
    with pytest.raises(RefusedError, match="not one of the targets role's"):
        repository.publish([RECORD], signers.timestamp, online(signers), now=NOW)
    assert RECORD.path not in repository.targets()


def test_a_client_refuses_targets_signed_by_another_key(
    repository: Repository, signers: Signers, tmp_path: Path
) -> None:
    repository.publish([RECORD], signers.targets, online(signers), now=NOW)
    root = repository.root_bytes()
    path = repository.folder / "metadata" / "2.targets.json"
    path.write_bytes(path.read_bytes().replace(b'"counter":3', b'"counter":9'))
    with pytest.raises(RepositoryError):
        client(repository, root, tmp_path / "device").refresh()
    with pytest.raises(RefusedError, match="badly signed"):
        repository.targets()


def test_a_target_file_that_was_changed_is_refused(repository: Repository) -> None:
    (stored,) = repository.folder.glob("targets/trust/*.assigners.json")
    stored.write_bytes(b"{}")
    with pytest.raises(RefusedError, match="damaged"):
        repository.assigners()


def test_a_target_that_nobody_published_is_not_there(repository: Repository) -> None:
    with pytest.raises(FleetError, match="no target"):
        repository.read_target("releases/none.json")
