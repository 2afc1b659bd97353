"""Bad bundles, made on purpose: one that is damaged on its way, and one that no device will compute as it says."""

from __future__ import annotations

import io
import tempfile
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING

import msgspec
import numpy as np

from manifests.bundle import read_bundle, sign_bundle, unpack, write_bundle
from manifests.digests import digest_bytes
from manifests.layout import Layout
from manifests.signing import read_private_key

if TYPE_CHECKING:
    from collections.abc import Iterator

    from manifests.bundle import Bundle


@contextmanager
def damaged(repository: Path, store: Path, reference: str) -> Iterator[Path]:
    """Flip one bit of the server's copy of the bundle's model while the block runs."""
    bundle = read_bundle(Layout.open(store), reference)
    model = Layout.open(store).blob_path(bundle.manifest.file(bundle.manifest.runtime.entry).digest).read_bytes()
    copies = [path for path in repository.rglob("*") if path.is_file() and path.read_bytes() == model[: 64 << 10]]
    (copy,) = copies
    good = copy.read_bytes()
    copy.write_bytes(good[:100] + bytes([good[100] ^ 1]) + good[101:])
    try:
        yield copy
    finally:
        copy.write_bytes(good)


def write_failing_bundle(store: Path, reference: str, *, version: str, key: Path) -> Bundle:
    """A copy of the bundle under another version, signed, whose golden outputs are not what its model computes.

    It stands for a model that computes otherwise on a device than where it was built.
    """
    layout = Layout.open(store)
    bundle = read_bundle(layout, reference)
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        unpack(layout, bundle, folder)
        entry = bundle.manifest.golden_file()
        golden = spoil_golden((folder / entry.path).read_bytes())
        (folder / entry.path).write_bytes(golden)
        spoiled = msgspec.structs.replace(entry, digest=digest_bytes(golden), size=len(golden))
        manifest = msgspec.structs.replace(
            bundle.manifest,
            bundle=msgspec.structs.replace(bundle.manifest.bundle, version=version, counter=int(version)),
            files=tuple(spoiled if file.path == entry.path else file for file in bundle.manifest.files),
        )
        failing = write_bundle(layout, manifest, folder)
    sign_bundle(layout, failing, [read_private_key(key)])
    return failing


def spoil_golden(data: bytes) -> bytes:
    """Golden samples whose expected outputs are in reverse order along their last axis."""
    with np.load(io.BytesIO(data), allow_pickle=False) as arrays:
        spoiled = {name: arrays[name][..., ::-1] if name.startswith("expected.") else arrays[name] for name in arrays}
    stream = io.BytesIO()
    np.savez(stream, allow_pickle=False, **spoiled)
    return stream.getvalue()
