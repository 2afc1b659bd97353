"""``python -m agent.updater``: verifies an assignment, or brings one bundle into the idle slot, and ends.

A process of its own with its own connection, so that the daemon never loads python-tuf and cryptography, and so that
whatever a hostile answer does to a parser, it does it here.
"""

from __future__ import annotations

import fcntl
import random
import shutil
import time
from contextlib import contextmanager
from pathlib import Path
from queue import SimpleQueue
from typing import TYPE_CHECKING

import msgspec

from agent.config import read_config
from agent.download import Progress, fetch_blob, missing_bytes
from agent.errors import AgentError, RefusedError, UnreachableError
from agent.inventory import check_compatibility, take_inventory
from agent.jobs import Done, Failed, Sign, Staged, Verified, Verify, read_job, write_line
from agent.mqtt import client_id, connect
from agent.slots import Content, Slots
from agent.source import Source
from agent.trust import Trust, accept_assignment, check_release, keys
from manifests.bundle import check_signature, parse_bundle
from manifests.digests import digest_bytes
from manifests.errors import ManifestError
from wire.messages import Fault, Running, Step
from wire.topics import device_topic

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator
    from typing import Literal

    from agent.config import AgentConfig
    from agent.jobs import AnyLine, Fetch
    from manifests.bundle import Bundle
    from manifests.release import Assigners, Release
    from wire.messages import Assignment

    StepName = Literal["assignment", "compatibility", "metadata", "download", "stage"]


class Update:
    """One run: the trust chain first, each link of it once."""

    def __init__(self, config: AgentConfig, source: Source, tell: Callable[[AnyLine], None]) -> None:
        self._config = config
        self._source = source
        self._tell = tell
        self._slots = Slots(config.state)

    def verify(self, job: Verify) -> Assignment:
        """The assignment in the job's envelope, once it is seen to count.

        Raises:
            RefusedError, UnreachableError: see `agent.trust`.
        """
        trust = self._trust()
        trust.refresh()
        return self._accept(job, trust.assigners())

    def fetch(self, job: Fetch) -> Progress:
        """Fill the job's slot; each step is told as it ends.

        Raises:
            RefusedError, IncompatibleError, UnreachableError: the step that failed was told with it.
        """
        trust = self._trust()
        with self._step(job, "metadata"):
            trust.refresh()
            assigners = trust.assigners()
        with self._step(job, "assignment"):
            assignment = self._accept(job, assigners)
            if job.desired not in assignment.models:
                raise RefusedError("assignment.model", f"assignment does not name model '{job.desired.model}' so")
            release = trust.release(job.desired.release)
            check_release(release, job.desired)
        staging = self._config.state / "staging" / release.bundle.removeprefix("sha256:")
        with self._step(job, "compatibility"):
            inventory = take_inventory(self._config.targets, self._config.labels, self._config.state)
            check_compatibility(release, inventory, needed=missing_bytes(release.blobs, staging))
        with self._step(job, "download"):
            blobs, progress = self._download(release, staging)
        with self._step(job, "stage"):
            self._stage(job, release, assigners, blobs)
            shutil.rmtree(staging)
        return progress

    def _trust(self) -> Trust:
        try:
            root = self._config.root.read_bytes()
        except OSError as error:
            raise UnreachableError(
                "metadata.root", f"root of trust '{self._config.root}' can't be read: {error.strerror}"
            ) from error
        return Trust(root, self._config.state / "trust", self._source)

    def _accept(self, job: Verify | Fetch, assigners: Assigners) -> Assignment:
        config = self._config
        return accept_assignment(job.envelope, assigners, fleet=config.fleet, device=config.device, newest=job.newest)

    def _download(self, release: Release, staging: Path) -> tuple[dict[str, Path], Progress]:
        for other in staging.parent.glob("*"):
            if other != staging:
                shutil.rmtree(other)  # of an update that was given up
        staging.mkdir(parents=True, exist_ok=True)
        progress = Progress()
        installed = self._installed()
        blobs = {
            blob.digest: fetch_blob(blob, staging, self._source, progress, installed)
            for blob in {blob.digest: blob for blob in release.blobs}.values()
        }
        return blobs, progress

    def _installed(self) -> dict[str, Path]:
        found = {}
        for opened in self._slots.installed():
            for path in opened.files.rglob("*"):
                if path.is_file():
                    found[_file_digest(opened.manifest, path.relative_to(opened.files).as_posix())] = path
        return found

    def _stage(self, job: Fetch, release: Release, assigners: Assigners, blobs: dict[str, Path]) -> None:
        bundle = _parse(release, blobs)
        try:
            check_signature(release.signature.encode(), bundle, keys(assigners.packers, "packer"))
        except ManifestError as error:
            raise RefusedError(error.code, str(error), hint=error.hint) from error
        _check_described(bundle, release)
        desired = job.desired
        running = Running(
            version=desired.version, counter=desired.counter, target=desired.target, bundle=desired.bundle
        )
        manifest = blobs[bundle.image.config.digest].read_bytes()
        self._slots.stage(
            desired.model,
            job.slot,
            Content(running=running, manifest=digest_bytes(manifest)),
            manifest,
            [(entry.path, blobs[entry.digest]) for entry in bundle.manifest.files],
        )

    @contextmanager
    def _step(self, job: Fetch, name: StepName) -> Iterator[None]:
        start = time.monotonic()
        fault = None
        try:
            yield
        except AgentError as error:
            fault = Fault(code=error.code, message=str(error), hint=error.hint)
            raise
        except OSError as error:
            fault = Fault(code=f"{name}.disk", message=f"{error.strerror}: '{error.filename}'")
            raise UnreachableError(fault.code, fault.message) from error
        finally:
            desired = job.desired
            step = Step(
                model=desired.model,
                version=desired.version,
                bundle=desired.bundle,
                step=name,
                fault=fault,
                seconds=time.monotonic() - start,
                time=time.time(),
            )
            self._tell(Done(step=step))


def main() -> None:
    """Do the job on standard input."""
    job = read_job()
    if isinstance(job, Sign):
        raise TypeError("this job is not the updater's")
    try:
        line = _run(job)
    except UnreachableError as error:
        line = Failed(outcome="unreachable", fault=_fault(error))
    except (AgentError, ManifestError) as error:
        line = Failed(outcome="refused", fault=_fault(error))
    write_line(line)


def _run(job: Verify | Fetch) -> AnyLine:
    config = read_config(Path(job.config))
    with _alone(config.state), _source(config) as source:
        update = Update(config, source, write_line)
        if isinstance(job, Verify):
            return Verified(assignment=update.verify(job))
        progress = update.fetch(job)
        return Staged(fetched=progress.fetched, kept=progress.kept)


@contextmanager
def _source(config: AgentConfig) -> Iterator[Source]:
    link = connect(config.broker, client_id(config.device, "updater"), SimpleQueue(), random=random.random)
    link.subscribe(device_topic(config.fleet, config.device, "data"))
    link.open()
    try:
        yield Source(link, topic=device_topic(config.fleet, config.device, "get"), clock=time.monotonic)
    finally:
        link.close()


@contextmanager
def _alone(state: Path) -> Iterator[None]:
    """python-tuf and the staging folder want one writer; another one can only be an orphan that is about to end."""
    with (state / "updater.lock").open("w") as lock:
        fcntl.flock(lock, fcntl.LOCK_EX)
        yield


def _parse(release: Release, blobs: dict[str, Path]) -> Bundle:
    if len(release.blobs) < 2:  # noqa: PLR2004 - the OCI manifest and the packtrain manifest
        raise RefusedError("release.blobs", f"release record lists too few blobs: got {len(release.blobs)}")
    image, config = release.blobs[0], release.blobs[1]
    try:
        bundle = parse_bundle(blobs[image.digest].read_bytes(), blobs[config.digest].read_bytes())
    except ManifestError as error:
        raise RefusedError(error.code, str(error), hint=error.hint) from error
    listed = {blob.digest for blob in release.blobs}
    for entry in bundle.manifest.files:
        if entry.digest not in listed:
            raise RefusedError("release.blobs", f"release record does not list file '{entry.path}' of the bundle")
    return bundle


def _check_described(bundle: Bundle, release: Release) -> None:
    """The record is what compatibility was judged by, so it must not say other than the signed manifest."""
    section = bundle.manifest.bundle
    said = (release.name, release.version, release.counter, release.target)
    if said != (section.name, section.version, section.counter, section.target):
        raise RefusedError("release.mismatch", "release record and the bundle's manifest name different bundles")
    if release.runtime != bundle.manifest.runtime or release.architectures != bundle.manifest.hardware.architectures:
        raise RefusedError("release.mismatch", "release record and the bundle's manifest ask for different runtimes")


def _file_digest(manifest: bytes, path: str) -> str:
    for entry in msgspec.json.decode(manifest, type=_Files).files:
        if entry.path == path:
            return entry.digest
    return ""


class _File(msgspec.Struct):
    path: str
    digest: str


class _Files(msgspec.Struct):
    """The only part of an installed manifest that the updater reads; what it says is checked against the bytes."""

    files: tuple[_File, ...]


def _fault(error: AgentError | ManifestError) -> Fault:
    return Fault(code=error.code, message=str(error), hint=error.hint)


if __name__ == "__main__":
    main()
