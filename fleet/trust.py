"""The TUF repository: what exists (offline keys: root, targets) and what is fresh (online keys: snapshot, timestamp).

The TUF specification 1.0, section 4 (documents) and 6.2 (consistent snapshots). The order of writing is that of its
section 5 backwards: target files, targets, snapshot, and timestamp last. What the timestamp leads to is the
repository; a crash before it is written leaves files that nothing names, which the next publication overwrites.
"""

from __future__ import annotations

import fcntl
from contextlib import contextmanager
from datetime import UTC, datetime, timedelta
from typing import TYPE_CHECKING, TypeVar

import msgspec
from securesystemslib.signer import CryptoSigner
from tuf.api.exceptions import RepositoryError
from tuf.api.metadata import Metadata, MetaFile, Root, Snapshot, TargetFile, Targets, Timestamp
from tuf.api.serialization import DeserializationError

from fleet.errors import FleetError, RefusedError
from manifests.digests import check_bytes
from manifests.durable import write_durably
from manifests.errors import DigestMismatchError
from manifests.release import ASSIGNERS_PATH, decode_assigners, encode_record

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping
    from pathlib import Path

    from manifests.release import Assigners

LIFETIMES = {
    "root": timedelta(days=365),
    "targets": timedelta(days=90),
    "snapshot": timedelta(days=7),
    "timestamp": timedelta(days=1),
}
"""How long each role's metadata holds. The online roles are renewed when less than half of it is left."""

_RESTORE = "restore the repository from a copy"

Role = TypeVar("Role", Root, Targets, Snapshot, Timestamp)


class Signers(msgspec.Struct, frozen=True, kw_only=True):
    """The private keys of the four roles."""

    root: CryptoSigner
    targets: CryptoSigner
    snapshot: CryptoSigner
    timestamp: CryptoSigner


class OnlineSigners(msgspec.Struct, frozen=True, kw_only=True):
    """The private keys of the roles that the server may hold."""

    snapshot: CryptoSigner
    timestamp: CryptoSigner


class Record(msgspec.Struct, frozen=True, kw_only=True):
    """A target file to be vouched for."""

    path: str
    data: bytes
    custom: dict[str, str | int] = {}


class Repository:
    """A TUF repository in a folder: ``metadata/``, and ``targets/`` with hash prefixes.

    Safe for several processes at once: who writes holds a lock.
    """

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        self._metadata = folder / "metadata"
        self._targets = folder / "targets"

    @classmethod
    def create(cls, folder: Path, signers: Signers, assigners: Assigners, *, now: datetime) -> Repository:
        """A new repository that vouches for `assigners` and nothing else yet."""
        repository = cls(folder)
        for place in (repository._metadata, repository._targets):
            place.mkdir(parents=True)
        root = Root(version=1, expires=_expiry("root", now), consistent_snapshot=True)
        for role in LIFETIMES:
            root.add_key(getattr(signers, role).public_key, role)
        with repository._locked():
            repository._write("1.root.json", Metadata(root), signers.root)
            record = Record(path=ASSIGNERS_PATH, data=encode_record(assigners))
            targets = Targets(version=1, expires=_expiry("targets", now))
            repository._add(targets, record)
            snapshot = Snapshot(version=1, expires=_expiry("snapshot", now))
            timestamp = Timestamp(version=1, expires=_expiry("timestamp", now))
            repository._write("1.targets.json", Metadata(targets), signers.targets)
            repository._write("1.snapshot.json", Metadata(snapshot), signers.snapshot)
            repository._write("timestamp.json", Metadata(timestamp), signers.timestamp)
        return repository

    def root_bytes(self) -> bytes:
        """The newest root metadata: what a device is given to trust."""
        return self._path(f"{self._newest_root()}.root.json").read_bytes()

    def targets(self) -> Mapping[str, TargetFile]:
        """What the repository vouches for, by TUF target path.

        Raises:
            RefusedError: the metadata is damaged or badly signed.
        """
        _, _, targets = self._load()
        return targets.signed.targets

    def read_target(self, path: str) -> bytes:
        """A target file's bytes, checked against the signed metadata.

        Raises:
            FleetError: the repository doesn't vouch for that path.
            RefusedError: the metadata or the file is damaged.
        """
        target = self.targets().get(path)
        if target is None:
            raise FleetError("fleet.target", f"repository has no target '{path}'")
        stored = self._target_path(target)
        try:
            return check_bytes(stored.read_bytes(), f"sha256:{target.hashes['sha256']}", what=path)
        except (OSError, DigestMismatchError) as error:
            raise RefusedError("fleet.repository", f"target '{path}' is damaged: {error}") from error

    def assigners(self) -> Assigners:
        """Whose assignments and whose bundles are accepted.

        Raises:
            RefusedError: the metadata or the list is damaged.
        """
        return decode_assigners(self.read_target(ASSIGNERS_PATH))

    def publish(
        self, records: list[Record], targets_signer: CryptoSigner, online: OnlineSigners, *, now: datetime
    ) -> bool:
        """Vouch for `records`, all at once; False: it did already, nothing was written.

        Raises:
            RefusedError: the metadata is damaged or badly signed, or the key is not the role's.
        """
        with self._locked():
            timestamp, snapshot, targets = self._load()
            fresh = [record for record in records if not self._has(targets.signed, record)]
            if not fresh:
                return False
            for record in fresh:
                self._add(targets.signed, record)
            self._renew("targets", targets, targets_signer, now)
            snapshot.signed.meta["targets.json"] = MetaFile(version=targets.signed.version)
            self._renew("snapshot", snapshot, online.snapshot, now)
            timestamp.signed.snapshot_meta = MetaFile(version=snapshot.signed.version)
            self._renew("timestamp", timestamp, online.timestamp, now)
            return True

    def refresh(self, online: OnlineSigners, *, now: datetime) -> tuple[str, ...]:
        """Renew the online roles that have less than half of their life left; the names of those renewed.

        Raises:
            RefusedError: the metadata is damaged or badly signed, or a key is not its role's.
        """
        with self._locked():
            timestamp, snapshot, _ = self._load()
            renewed = []
            if _is_due("snapshot", snapshot.signed, now):
                self._renew("snapshot", snapshot, online.snapshot, now)
                timestamp.signed.snapshot_meta = MetaFile(version=snapshot.signed.version)
                renewed.append("snapshot")
            if renewed or _is_due("timestamp", timestamp.signed, now):
                self._renew("timestamp", timestamp, online.timestamp, now)
                renewed.append("timestamp")
            return tuple(renewed)

    def renew_offline(self, signers: Signers, *, now: datetime) -> None:
        """Sign root and targets anew, so that they hold for their whole life again.

        Raises:
            RefusedError: the metadata is damaged or badly signed, or a key is not its role's.
        """
        with self._locked():
            timestamp, snapshot, targets = self._load()
            root = self._read_root()
            self._renew("root", root, signers.root, now)
            self._renew("targets", targets, signers.targets, now)
            snapshot.signed.meta["targets.json"] = MetaFile(version=targets.signed.version)
            self._renew("snapshot", snapshot, signers.snapshot, now)
            timestamp.signed.snapshot_meta = MetaFile(version=snapshot.signed.version)
            self._renew("timestamp", timestamp, signers.timestamp, now)

    def expiries(self) -> dict[str, datetime]:
        """When each role's metadata stops to hold.

        Raises:
            RefusedError: the metadata is damaged or badly signed.
        """
        timestamp, snapshot, targets = self._load()
        return {
            "root": self._read_root().signed.expires,
            "targets": targets.signed.expires,
            "snapshot": snapshot.signed.expires,
            "timestamp": timestamp.signed.expires,
        }

    def _load(self) -> tuple[Metadata[Timestamp], Metadata[Snapshot], Metadata[Targets]]:
        root = self._read_root().signed
        timestamp = self._read("timestamp.json", Timestamp, root)
        snapshot = self._read(f"{timestamp.signed.snapshot_meta.version}.snapshot.json", Snapshot, root)
        targets = self._read(f"{snapshot.signed.meta['targets.json'].version}.targets.json", Targets, root)
        return timestamp, snapshot, targets

    def _read_root(self) -> Metadata[Root]:
        root = self._parse(f"{self._newest_root()}.root.json", Root)
        return self._verify(root, root.signed)

    def _read(self, name: str, kind: type[Role], root: Root) -> Metadata[Role]:
        return self._verify(self._parse(name, kind), root)

    def _parse(self, name: str, kind: type[Role]) -> Metadata[Role]:
        try:
            found = Metadata[Role].from_bytes(self._path(name).read_bytes())
        except (OSError, DeserializationError) as error:
            raise RefusedError("fleet.repository", f"'{name}' can't be read: {error}", hint=_RESTORE) from error
        if not isinstance(found.signed, kind):
            raise RefusedError("fleet.repository", f"'{name}' is metadata of another role", hint=_RESTORE)
        return found

    def _verify(self, found: Metadata[Role], root: Root) -> Metadata[Role]:
        role = found.signed.type
        try:
            root.verify_delegate(role, found.signed_bytes, found.signatures)
        except RepositoryError as error:
            raise RefusedError("fleet.repository", f"the {role} metadata is badly signed", hint=_RESTORE) from error
        return found

    def _renew(self, role: str, metadata: Metadata[Role], signer: CryptoSigner, now: datetime) -> None:
        metadata.signed.version += 1
        metadata.signed.expires = _expiry(role, now)
        name = "timestamp.json" if role == "timestamp" else f"{metadata.signed.version}.{role}.json"
        if role != "root" and signer.public_key.keyid not in self._read_root().signed.roles[role].keyids:
            raise RefusedError("fleet.key", f"key {signer.public_key.keyid[:12]} is not one of the {role} role's")
        self._write(name, metadata, signer)

    def _write(self, name: str, metadata: Metadata[Role], signer: CryptoSigner) -> None:
        metadata.sign(signer)
        write_durably(self._path(name), metadata.to_bytes())

    def _add(self, targets: Targets, record: Record) -> None:
        target = _describe(record)
        stored = self._target_path(target)
        stored.parent.mkdir(parents=True, exist_ok=True)
        write_durably(stored, record.data)
        targets.targets[record.path] = target

    def _has(self, targets: Targets, record: Record) -> bool:
        known = targets.targets.get(record.path)
        return known == _describe(record) and self._target_path(known).is_file()

    def _target_path(self, target: TargetFile) -> Path:
        folder, _, name = target.path.rpartition("/")
        return self._targets / folder / f"{target.hashes['sha256']}.{name}"

    def _path(self, name: str) -> Path:
        return self._metadata / name

    def _newest_root(self) -> int:
        versions = [int(path.name.partition(".")[0]) for path in self._metadata.glob("*.root.json")]
        if not versions:
            raise RefusedError("fleet.repository", f"'{self.folder}' has no root metadata")
        return max(versions)

    @contextmanager
    def _locked(self) -> Iterator[None]:
        with (self.folder / ".lock").open("w") as lock:
            fcntl.flock(lock, fcntl.LOCK_EX)
            yield


def utc(now: float) -> datetime:
    """Unix time as TUF wants it: UTC, whole seconds."""
    return datetime.fromtimestamp(int(now), tz=UTC)


def _describe(record: Record) -> TargetFile:
    target = TargetFile.from_data(record.path, record.data, ["sha256"])
    if record.custom:
        target.unrecognized_fields["custom"] = dict(record.custom)
    return target


def _expiry(role: str, now: datetime) -> datetime:
    return now + LIFETIMES[role]


def _is_due(role: str, signed: Snapshot | Timestamp, now: datetime) -> bool:
    return signed.expires - now < LIFETIMES[role] / 2
