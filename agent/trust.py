"""Whom a device believes, and in which order: nothing is used before the step above it has vouched for it.

1. The root of trust that came with the enrolment vouches for newer roots, each signed by the one before it.
2. Roots vouch for timestamp, snapshot and targets, which may expire and may never go back (TUF 5).
3. The targets name the list of assigners, by digest. Assigners vouch for assignments, packers for bundles.
4. An assignment counts when an assigner signed it for this fleet and this device, and it is no older than the newest
   one that was accepted.
5. The targets name the release record, by digest; it must say what the assignment says.
6. The record names the bundle's blobs and their chunks by digest, and carries the bundle's signature by a packer.

So whoever holds the server's online keys can withhold, but can't make a device run what no packer signed and what the
offline targets role did not list.
"""

from __future__ import annotations

import os
from typing import TYPE_CHECKING, TypeVar

from tuf.api.exceptions import (
    BadVersionNumberError,
    DownloadError,
    DownloadHTTPError,
    ExpiredMetadataError,
    LengthOrHashMismatchError,
    RepositoryError,
    UnsignedMetadataError,
)
from tuf.ngclient import FetcherInterface, Updater

from agent.errors import AgentError, RefusedError, UnreachableError
from agent.source import MissingError
from manifests.durable import sync_folder
from manifests.errors import ManifestError
from manifests.release import ASSIGNERS_PATH, decode_assigners, decode_release
from manifests.signing import parse_public_key, verify
from wire.errors import WireError
from wire.messages import ASSIGNMENT_TYPE, Assignment, decode_signed

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator
    from pathlib import Path

    from securesystemslib.signer import Key

    from agent.source import Source
    from manifests.release import Assigners, Release
    from wire.messages import Desired

Result = TypeVar("Result")

_CODES = {
    ExpiredMetadataError: "metadata.expired",
    BadVersionNumberError: "metadata.downgrade",
    UnsignedMetadataError: "metadata.signature",
    LengthOrHashMismatchError: "metadata.digest",
    DownloadError: "metadata.download",
    RepositoryError: "metadata.invalid",
}


class _Fetcher(FetcherInterface):
    """python-tuf's downloads, over a source. The scheme of its addresses is the kind of request."""

    def __init__(self, source: Source) -> None:
        self._source = source

    def _fetch(self, url: str) -> Iterator[bytes]:
        kind, _, name = url.partition(":/")
        try:
            return iter([self._source.get("metadata" if kind == "metadata" else "target", name)])
        except MissingError as error:
            raise DownloadHTTPError(str(error), 404) from error


class Trust:
    """The trust metadata of one device, kept below its state folder."""

    def __init__(self, root: bytes, folder: Path, source: Source) -> None:
        metadata, targets = folder / "metadata", folder / "targets"
        metadata.mkdir(parents=True, exist_ok=True)
        targets.mkdir(exist_ok=True)
        self._metadata = metadata
        self._source = source
        self._updater = _as_fault(
            lambda: Updater(
                str(metadata),
                "metadata:",
                target_dir=str(targets),
                target_base_url="target:",
                fetcher=_Fetcher(source),
                bootstrap=root,
            )
        )

    def refresh(self) -> None:
        """Bring the metadata up to date.

        Raises:
            UnreachableError: it could not be had, or what was sent is expired, older than before, or badly signed. The
                next answer may be better, so trying again later may help; nothing that was sent is used.
        """
        _as_fault(self._updater.refresh)
        # python-tuf renames without flushing; without this, a power cut could forget the newest versions seen.
        for path in self._metadata.rglob("*.json"):
            with path.open("rb") as stream:
                os.fsync(stream.fileno())
        sync_folder(self._metadata)

    def assigners(self) -> Assigners:
        """Who may assign, and who may sign bundles.

        Raises:
            RefusedError: the targets role lists no assigners, or the list is not one.
            UnreachableError: as `refresh`.
        """
        return _refused(lambda: decode_assigners(self._target(ASSIGNERS_PATH)))

    def release(self, path: str) -> Release:
        """The release record of that TUF path.

        Raises:
            RefusedError: the targets role does not list it, or it is not one.
            UnreachableError: as `refresh`.
        """
        return _refused(lambda: decode_release(self._target(path)))

    def _target(self, path: str) -> bytes:
        info = _as_fault(lambda: self._updater.get_targetinfo(path))
        if info is None:
            raise RefusedError(
                "metadata.target", f"the targets role does not list '{path}'", hint="pack-fleet publish lists it"
            )
        cached = self._updater.find_cached_target(info)
        place = cached or _as_fault(lambda: self._updater.download_target(info))
        with open(place, "rb") as stream:  # noqa: PTH123 - python-tuf gives a str
            return stream.read()


def accept_assignment(envelope: bytes, assigners: Assigners, *, fleet: str, device: str, newest: int) -> Assignment:
    """The assignment in `envelope`, once it is seen to be meant for this device by one who may.

    Raises:
        RefusedError: it is not.
    """

    def opened() -> Assignment:
        return decode_signed(verify(envelope, ASSIGNMENT_TYPE, keys(assigners.assigners, "assigner")), Assignment)

    assignment = _refused(opened)
    for what, expected, got in (("fleet", fleet, assignment.fleet), ("device", device, assignment.device)):
        if expected != got:
            raise RefusedError(
                f"assignment.{what}", f"assignment is for another {what}: expected '{expected}', got '{got}'"
            )
    if assignment.sequence < newest:
        raise RefusedError(
            "assignment.replayed",
            f"assignment is older than the newest accepted: expected {newest} or more, got {assignment.sequence}",
        )
    if len({desired.model for desired in assignment.models}) != len(assignment.models):
        raise RefusedError("assignment.twice", "assignment names a model twice")
    return assignment


def check_release(release: Release, desired: Desired) -> None:
    """See that the offline keys' word and the online keys' word are the same.

    Raises:
        RefusedError: they are not.
    """
    pairs = (
        ("model", desired.model, release.name),
        ("version", desired.version, release.version),
        ("counter", desired.counter, release.counter),
        ("target", desired.target, release.target),
        ("bundle", desired.bundle, release.bundle),
    )
    for what, expected, got in pairs:
        if expected != got:
            raise RefusedError(
                "release.mismatch",
                f"{what} of release record '{desired.release}' does not match the assignment: "
                f"expected '{expected}', got '{got}'",
            )


def keys(pems: tuple[str, ...], name: str) -> list[Key]:
    """The public keys.

    Raises:
        UncheckableError: one is not a key.
    """
    return [parse_public_key(pem.encode(), name=name) for pem in pems]


def _refused(call: Callable[[], Result]) -> Result:
    try:
        return call()
    except ManifestError as error:
        raise RefusedError(error.code, str(error), hint=error.hint) from error
    except WireError as error:
        raise RefusedError(error.code, str(error)) from error


def _as_fault(call: Callable[[], Result]) -> Result:
    try:
        return call()
    except (RepositoryError, DownloadError) as error:
        cause = error.__cause__
        if isinstance(cause, AgentError):
            raise cause from error
        code = next(code for kind, code in _CODES.items() if isinstance(error, kind))
        raise UnreachableError(code, f"trust metadata can't be used: {error}") from error
