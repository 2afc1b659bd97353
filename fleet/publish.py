"""Publishing: signed bundles become releases that the targets role vouches for, and chunks that devices fetch.

The order is chunks, repository (all or nothing, `fleet.trust`), database, audit log. A crash in between is mended by
publishing the same bundles again.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

import msgspec

from fleet.answers import chunk_path
from fleet.errors import RefusedError
from fleet.store.releases import ReleaseRow
from fleet.trust import Record, utc
from manifests.attestation import BUNDLE_PREDICATE, envelopes
from manifests.bundle import Bundle, check_files, check_signature, read_bundle
from manifests.bundle import reference as reference_of
from manifests.digests import digest_bytes
from manifests.durable import write_durably
from manifests.errors import InvalidSignatureError
from manifests.layout import Layout
from manifests.release import (
    ASSIGNERS_PATH,
    RELEASE_VERSION,
    Release,
    describe_blob,
    encode_record,
    release_path,
    split_blob,
)
from manifests.signing import parse_public_key, public_pem, read_public_key

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence
    from pathlib import Path

    from securesystemslib.signer import Key
    from tuf.api.metadata import TargetFile

    from fleet.store import Store
    from fleet.workspace import Workspace


class Address(msgspec.Struct, frozen=True):
    """Where a bundle stands."""

    layout: Layout
    reference: str
    """A name or a digest in that layout."""


class Published(msgspec.Struct, frozen=True, kw_only=True):
    """What came of publishing one bundle."""

    reference: str
    release: ReleaseRow
    new: bool
    """False: it was published before."""


class _Candidate(msgspec.Struct, frozen=True, kw_only=True):
    layout: Layout
    bundle: Bundle
    release: Release

    @property
    def path(self) -> str:
        return release_path(self.release.name, self.release.version, self.release.target)

    @property
    def record(self) -> Record:
        custom: dict[str, str | int] = {
            "model": self.release.name,
            "version": self.release.version,
            "target": self.release.target,
            "counter": self.release.counter,
            "bundle": self.release.bundle,
        }
        return Record(path=self.path, data=encode_record(self.release), custom=custom)

    def row(self, now: float) -> ReleaseRow:
        return ReleaseRow(
            model=self.release.name,
            version=self.release.version,
            target=self.release.target,
            counter=self.release.counter,
            bundle=self.release.bundle,
            path=self.path,
            size=sum(blob.size for blob in self.release.blobs),
            published=now,
            source=self.bundle.manifest.model.source.digest,
            labels=self.bundle.manifest.model.task.labels,
        )


def publish(workspace: Workspace, store: Store, addresses: Sequence[Address], *, now: float) -> list[Published]:
    """Publish bundles, all of them or none; what was published before stays as it is.

    Raises:
        RefusedError: a bundle is not signed by a trusted packer, or its version or counter is taken, or a key of the
            workspace is not here.
        ManifestError: a bundle is missing or damaged.
    """
    packers = _packers(workspace)
    candidates = [_examine(address, packers) for address in addresses]
    with workspace.exclusive():
        listed = {path: _custom(target) for path, target in workspace.repository.targets().items()}
        for candidate in candidates:
            check_rules(listed, candidate.record)
            listed[candidate.path] = candidate.record.custom
        for candidate in candidates:
            _write_chunks(candidate, workspace.chunks)
        workspace.repository.publish(
            [candidate.record for candidate in candidates],
            workspace.targets_signer(),
            workspace.online_signers(),
            now=utc(now),
        )
        return [_note(workspace, store, candidate, now) for candidate in candidates]


def check_rules(listed: Mapping[str, Mapping[str, str | int]], record: Record) -> None:
    """Check that `record` may be published beside what is `listed`: TUF target path to its custom metadata.

    Raises:
        RefusedError: other content has its version, or its counter does not grow.
    """
    name = f"{record.custom['model']}:{record.custom['version']}@{record.custom['target']}"
    if record.path in listed:
        if listed[record.path].get("bundle") != record.custom["bundle"]:
            raise RefusedError(
                "publish.version",
                f"'{name}' is published already, with other content: "
                f"expected {listed[record.path].get('bundle')}, got {record.custom['bundle']}",
                hint="a version that devices may have is never replaced: give the model another version",
            )
        return
    kin = ("model", "target")
    counters = [
        int(custom.get("counter", 0))
        for custom in listed.values()
        if all(custom.get(field) == record.custom[field] for field in kin)
    ]
    if counters and int(record.custom["counter"]) <= max(counters):
        raise RefusedError(
            "publish.counter",
            f"release counter of '{name}' does not grow: "
            f"expected more than {max(counters)}, got {record.custom['counter']}",
            hint="devices take a lower counter for a downgrade: build it again with a higher one",
        )


def trust_packer(workspace: Workspace, path: Path, *, name: str, now: float) -> str:
    """Accept bundles that the public key in `path` signed, from now on; its key id is returned.

    Raises:
        UncheckableError: it can't be read as a key.
        RefusedError: a key of the workspace is not here, or the repository is damaged.
    """
    key = read_public_key(path)
    pem = public_pem(key)
    with workspace.exclusive():
        assigners = workspace.repository.assigners()
        if pem not in assigners.packers:
            changed = msgspec.structs.replace(assigners, packers=(*assigners.packers, pem))
            record = Record(path=ASSIGNERS_PATH, data=encode_record(changed))
            workspace.repository.publish([record], workspace.targets_signer(), workspace.online_signers(), now=utc(now))
            workspace.audit.append("trust", {"key": key.keyid, "name": name or path.name}, now=now)
    return str(key.keyid)


def _packers(workspace: Workspace) -> list[Key]:
    pems = workspace.repository.assigners().packers
    if not pems:
        raise RefusedError(
            "publish.no-packer",
            "no key is trusted to sign bundles yet",
            hint="pack-fleet trust KEY.pub, with the public key that pack keys generate wrote",
        )
    return [parse_public_key(pem.encode(), name="packer") for pem in pems]


def _examine(address: Address, packers: Sequence[Key]) -> _Candidate:
    bundle = read_bundle(address.layout, address.reference)
    signature = _signature(address.layout, bundle, packers)
    check_files(address.layout, bundle)
    manifest = bundle.manifest
    digests = [bundle.digest, bundle.image.config.digest, *(layer.digest for layer in bundle.image.layers)]
    release = Release(
        release=RELEASE_VERSION,
        name=manifest.bundle.name,
        version=manifest.bundle.version,
        counter=manifest.bundle.counter,
        target=manifest.bundle.target,
        bundle=bundle.digest,
        runtime=manifest.runtime,
        architectures=manifest.hardware.architectures,
        disk_bytes=manifest.resources.disk_bytes,
        blobs=tuple(describe_blob(address.layout.blob_path(digest), digest) for digest in dict.fromkeys(digests)),
        signature=signature.decode(),
    )
    return _Candidate(layout=address.layout, bundle=bundle, release=release)


def _signature(layout: Layout, bundle: Bundle, packers: Sequence[Key]) -> bytes:
    """The envelope by which a trusted packer signed the bundle; it goes into the release record."""
    found = envelopes(layout, bundle.descriptor, BUNDLE_PREDICATE)
    name = reference_of(bundle.manifest)
    problem: InvalidSignatureError | None = None
    for envelope in found:
        try:
            check_signature(envelope, bundle, packers)
        except InvalidSignatureError as error:
            problem = error
        else:
            return envelope
    if problem is None:
        raise RefusedError(
            "publish.unsigned", f"'{name}' is not signed", hint="pack signs what it builds once it has a key"
        )
    raise RefusedError(
        "publish.signature",
        f"'{name}' is not signed by a trusted packer: {problem}",
        hint="if its signer is to be trusted: pack-fleet trust KEY.pub",
    ) from problem


def _write_chunks(candidate: _Candidate, folder: Path) -> None:
    for blob in candidate.release.blobs:
        for chunk in split_blob(candidate.layout.blob_path(blob.digest)):
            path = chunk_path(folder, digest_bytes(chunk))
            if not path.exists():
                path.parent.mkdir(exist_ok=True)
                write_durably(path, chunk)


def _note(workspace: Workspace, store: Store, candidate: _Candidate, now: float) -> Published:
    bundle = candidate.bundle
    new = store.releases.add(candidate.row(now), bundle.manifest.baseline)
    release = store.releases.find(bundle.digest) or candidate.row(now)
    if new:
        details = {"release": candidate.path, "bundle": bundle.digest, "counter": str(release.counter)}
        workspace.audit.append("publish", details, now=now)
    return Published(reference=reference_of(bundle.manifest), release=release, new=new)


def _custom(target: TargetFile) -> dict[str, str | int]:
    return dict(target.custom or {})
