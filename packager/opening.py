"""A bundle, verified, unpacked and opened as often as there are workers."""

from __future__ import annotations

import tempfile
from pathlib import Path
from typing import TYPE_CHECKING, NamedTuple

from manifests.bundle import read_bundle, unpack
from manifests.errors import ManifestError
from manifests.manifest import encode_manifest
from packager.availability import require
from packager.errors import SignatureError
from packager.registry import find_target
from packager.store import bundles, find_layout
from packager.verification import check_bundle
from targets._target import Artifact

if TYPE_CHECKING:
    from collections.abc import Sequence

    from securesystemslib.signer import Key

    from manifests.manifest import Manifest
    from targets._target import Runner


class Packed(NamedTuple):
    """A verified bundle as bytes, which any machine can open."""

    digest: str
    manifest: bytes
    files: dict[str, bytes]


class Opened:
    """A bundle that is ready to run; its files stand in a folder of its own until it is closed."""

    def __init__(self, manifest: Manifest, digest: str, files: tempfile.TemporaryDirectory[str], workers: int) -> None:
        """Opens the shipped file `workers` times."""
        _, target = find_target(manifest.bundle.target)
        require(target)
        self.manifest = manifest
        self.digest = digest
        self._files = files
        artifact = artifact_of(manifest)
        folder = Path(files.name)
        self.runners: list[Runner] = [target.runner(artifact, folder) for _ in range(workers)]

    @property
    def reference(self) -> str:
        """``name:version@target``."""
        bundle = self.manifest.bundle
        return f"{bundle.name}:{bundle.version}@{bundle.target}"

    def packed(self) -> Packed:
        """The bundle as bytes, for workers that do not see these files."""
        files = {entry.path: Path(self._files.name, entry.path).read_bytes() for entry in self.manifest.files}
        return Packed(self.digest, encode_manifest(self.manifest), files)

    def close(self) -> None:
        """Give back what the runtime holds, and remove the files."""
        for runner in self.runners:
            runner.close()
        self._files.cleanup()


def artifact_of(manifest: Manifest) -> Artifact:
    """What the target made, as the manifest describes it."""
    return Artifact(
        files=tuple(entry for entry in manifest.files if entry.role != "golden"),
        signature=manifest.signature,
        runtime=manifest.runtime,
        resources=manifest.resources,
        hardware=manifest.hardware,
        quantization=manifest.quantization,
        golden_tolerance=(manifest.golden.rtol, manifest.golden.atol),
    )


def newest_reference(name: str, store: Path) -> str:
    """The reference of the newest release, where `name` leaves out the version (``digits@cloud``); else `name`.

    Raises:
        SignatureError: a bundle of the store is damaged.
    """
    model, at, target = name.partition("@")
    if not at or ":" in model:
        return name
    found = [
        entry
        for entry in bundles(store)
        if (entry.manifest.bundle.name, entry.manifest.bundle.target) == (model, target)
    ]
    return max(found, key=lambda entry: entry.manifest.bundle.counter).reference if found else name


def open_bundle(name: str, store: Path, keys: Sequence[Key], *, workers: int) -> Opened:
    """The bundle, verified by one of `keys` before anything of it is parsed, and opened.

    Raises:
        ConfigError: there is no such bundle.
        SignatureError: no key vouches for it, or a file is damaged.
        ToolchainError: what runs it is not installed.
        ValueError: the runtime can't load it.
    """
    layout, reference = find_layout(newest_reference(name, store), store)
    files = tempfile.TemporaryDirectory(prefix="pack-serve-")
    try:
        verdict = check_bundle(layout, reference, keys)
        bundle = read_bundle(layout, verdict.digest)
        unpack(layout, bundle, Path(files.name))
        return Opened(bundle.manifest, verdict.digest, files, workers)
    except ManifestError as error:
        files.cleanup()
        raise SignatureError(error.code, str(error), hint=error.hint) from error
    except BaseException:
        files.cleanup()
        raise
