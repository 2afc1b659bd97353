"""An OCI image layout on disk: blobs by digest, an index of names, and referrers.

SPEC 5.1. OCI image specification 1.1: image-layout.md, manifest.md, image-index.md, descriptor.md.
"""

from __future__ import annotations

import fcntl
import io
from contextlib import contextmanager
from typing import TYPE_CHECKING, Annotated, BinaryIO

import msgspec

from manifests.canonical import canonical_json, parse_json
from manifests.digests import Digest, copy_stream, digest_bytes, digest_file, is_digest
from manifests.durable import durable_stream, write_durably
from manifests.errors import DigestMismatchError, LayoutError

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

IMAGE_MEDIA_TYPE = "application/vnd.oci.image.manifest.v1+json"
INDEX_MEDIA_TYPE = "application/vnd.oci.image.index.v1+json"
EMPTY_MEDIA_TYPE = "application/vnd.oci.empty.v1+json"
REFERENCE_ANNOTATION = "org.opencontainers.image.ref.name"
DOCUMENT_LIMIT = 4 << 20
"""Largest index or image manifest that is parsed, in bytes: what registries accept (SPEC 5.1.4)."""
LAYOUT_VERSION = "1.0.0"


class Descriptor(msgspec.Struct, frozen=True, kw_only=True, rename="camel", omit_defaults=True):
    """Points at a blob: OCI descriptor.md."""

    media_type: str
    digest: Digest
    size: Annotated[int, msgspec.Meta(ge=0)]
    artifact_type: str | None = None
    annotations: dict[str, str] = {}


class Image(msgspec.Struct, frozen=True, kw_only=True, rename="camel", omit_defaults=True):
    """An OCI image manifest, used as an artifact: manifest.md."""

    schema_version: int
    media_type: str
    artifact_type: str | None = None
    config: Descriptor
    layers: tuple[Descriptor, ...]
    subject: Descriptor | None = None
    annotations: dict[str, str] = {}


class Index(msgspec.Struct, frozen=True, kw_only=True, rename="camel"):
    """``index.json``: image-index.md."""

    schema_version: int
    media_type: str = INDEX_MEDIA_TYPE
    manifests: tuple[Descriptor, ...]


class _Marker(msgspec.Struct, frozen=True, kw_only=True, rename="camel"):
    """``oci-layout``: image-layout.md."""

    image_layout_version: str


class Layout:
    """A folder that is an OCI image layout; made where there is none.

    Safe for several processes at once: blobs are written under their digest by a rename, and the index under a lock.
    """

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        self._blobs = folder / "blobs" / "sha256"

    @classmethod
    def create(cls, folder: Path) -> Layout:
        """The layout in `folder`, which is made if need be.

        Raises:
            LayoutError: the folder holds something else.
        """
        layout = cls(folder)
        marker = folder / "oci-layout"
        if folder.exists() and not marker.exists() and any(_is_foreign(entry) for entry in folder.iterdir()):
            raise LayoutError("layout.foreign", f"'{folder}' holds something that is not an OCI image layout")
        layout._blobs.mkdir(parents=True, exist_ok=True)
        if not marker.exists():
            write_durably(marker, canonical_json(_Marker(image_layout_version=LAYOUT_VERSION)))
        return cls.open(folder)

    @classmethod
    def open(cls, folder: Path) -> Layout:
        """The layout in `folder`.

        Raises:
            LayoutError: there is none, or it is of a version that is not known.
        """
        try:
            with (folder / "oci-layout").open("rb") as stream:
                marker = parse_json(stream.read(DOCUMENT_LIMIT), _Marker)
        except (OSError, msgspec.DecodeError) as error:
            raise LayoutError(
                "layout.missing", f"'{folder}' is not an OCI image layout", hint="pack writes one"
            ) from error
        if marker.image_layout_version != LAYOUT_VERSION:
            raise LayoutError(
                "layout.version",
                f"image layout '{folder}' can't be read: expected version {LAYOUT_VERSION}, "
                f"got {marker.image_layout_version}",
            )
        return cls(folder)

    def blob_path(self, digest: str) -> Path:
        """Where the blob of that digest stands, or would.

        Raises:
            LayoutError: it is no digest; nothing else may become a path (SPEC 5.1.3).
        """
        if not is_digest(digest):
            raise LayoutError("layout.digest", f"not a digest: expected sha256:<64 hex digits>, got '{digest[:80]}'")
        return self._blobs / digest.removeprefix("sha256:")

    def add_bytes(self, data: bytes, media_type: str, *, annotations: dict[str, str] | None = None) -> Descriptor:
        """Store a blob; what is there already stays, unless it is damaged."""
        digest = digest_bytes(data)
        path = self.blob_path(digest)
        if not _holds(path, digest):
            write_durably(path, data)
        return Descriptor(media_type=media_type, digest=digest, size=len(data), annotations=annotations or {})

    def add_file(self, source: Path, media_type: str, *, annotations: dict[str, str] | None = None) -> Descriptor:
        """Store a copy of a file as a blob.

        Raises:
            DigestMismatchError: the file was changed meanwhile.
        """
        digest = digest_file(source)
        path = self.blob_path(digest)
        if not _holds(path, digest):
            with source.open("rb") as stream, durable_stream(path) as sink:
                _expect(copy_stream(stream, sink)[0], digest, what=source.name)
        return Descriptor(media_type=media_type, digest=digest, size=path.stat().st_size, annotations=annotations or {})

    def add_image(self, image: Image) -> Descriptor:
        """Store an image manifest in its canonical bytes."""
        stored = self.add_bytes(canonical_json(image), IMAGE_MEDIA_TYPE)
        return msgspec.structs.replace(stored, artifact_type=image.artifact_type)

    def read_bytes(self, descriptor: Descriptor, *, limit: int = DOCUMENT_LIMIT) -> bytes:
        """A blob's bytes, whose size and digest are checked.

        Raises:
            LayoutError: it is missing, larger than `limit`, or of another size than its descriptor says.
            DigestMismatchError: it is not what its digest says.
        """
        if descriptor.size > limit:
            raise LayoutError(
                "layout.size",
                f"blob {descriptor.digest} is too large: expected at most {limit} bytes, got {descriptor.size}",
            )
        data = io.BytesIO()
        self.copy_blob(descriptor, data)
        return data.getvalue()

    def copy_blob(self, descriptor: Descriptor, sink: BinaryIO | None) -> None:
        """Copy a blob to `sink` block by block, and check its size and digest on the way; without a sink, check it.

        What is in the sink may be used only when nothing was raised.

        Raises:
            LayoutError: it is missing, or of another size than its descriptor says.
            DigestMismatchError: it is not what its digest says.
        """
        path = self.blob_path(descriptor.digest)
        try:
            stream = path.open("rb")
        except OSError as error:
            raise LayoutError(
                "layout.blob", f"blob {descriptor.digest} can't be read in '{self.folder}': {error.strerror}"
            ) from error
        with stream:
            got, size = copy_stream(stream, sink, limit=descriptor.size)
        if size != descriptor.size:
            raise LayoutError(
                "layout.size",
                f"size of blob {descriptor.digest} does not match its descriptor: "
                f"expected {descriptor.size} bytes, got {path.stat().st_size}",
            )
        _expect(got, descriptor.digest, what=descriptor.digest)

    def read_image(self, descriptor: Descriptor) -> Image:
        """The image manifest that `descriptor` points at.

        Raises:
            LayoutError: it is missing, too large, or not an image manifest.
            DigestMismatchError: it is not what its digest says.
        """
        return parse_image(self.read_bytes(descriptor))

    def index(self) -> Index:
        """What the layout names.

        Raises:
            LayoutError: the index is damaged.
        """
        path = self.folder / "index.json"
        try:
            with path.open("rb") as stream:
                data = stream.read(DOCUMENT_LIMIT + 1)
        except FileNotFoundError:
            return Index(schema_version=2, manifests=())
        if len(data) > DOCUMENT_LIMIT:
            raise LayoutError("layout.size", f"'{path}' is too large: expected at most {DOCUMENT_LIMIT} bytes")
        try:
            return parse_json(data, Index)
        except msgspec.DecodeError as error:
            raise LayoutError("layout.index", f"'{path}' is not an OCI index: {error}") from error

    def name(self, reference: str, descriptor: Descriptor) -> None:
        """Let `reference` stand for the image, and no longer for another."""
        named = msgspec.structs.replace(descriptor, annotations={REFERENCE_ANNOTATION: reference})
        with self._locked():
            kept = [
                entry for entry in self.index().manifests if entry.annotations.get(REFERENCE_ANNOTATION) != reference
            ]
            self._write_index([*kept, named])

    def attach(self, image: Descriptor) -> None:
        """List an image that has a subject, so that `referrers` finds it."""
        with self._locked():
            entries = self.index().manifests
            if all(entry.digest != image.digest for entry in entries):
                self._write_index([*entries, image])

    def resolve(self, reference: str) -> Descriptor:
        """The image that `reference`, a name or a digest, stands for.

        Raises:
            LayoutError: nothing goes by that name.
        """
        for entry in self.index().manifests:
            if reference in (entry.annotations.get(REFERENCE_ANNOTATION), entry.digest):
                return entry
        known = ", ".join(self.references()) or "nothing"
        raise LayoutError("layout.reference", f"no bundle '{reference}' in '{self.folder}'", hint=f"it holds: {known}")

    def references(self) -> list[str]:
        """All names, sorted."""
        names = (entry.annotations.get(REFERENCE_ANNOTATION) for entry in self.index().manifests)
        return sorted(name for name in names if name)

    def referrers(self, subject: str) -> list[tuple[Descriptor, Image]]:
        """The images whose subject has that digest.

        What can't be read is passed over, for a layout holds other bundles' images too: a signature that is passed over
        is one that is missing. Only where the damaged bytes still name the subject is the damage told.

        Raises:
            LayoutError, DigestMismatchError: an image is damaged, and names this subject.
        """
        found = []
        for entry in self.index().manifests:
            if entry.media_type != IMAGE_MEDIA_TYPE or entry.digest == subject:
                continue
            try:
                image = self.read_image(entry)
            except (LayoutError, DigestMismatchError):
                if self._names(entry, subject):
                    raise
                continue
            if image.subject is not None and image.subject.digest == subject:
                found.append((entry, image))
        return found

    def _names(self, entry: Descriptor, subject: str) -> bool:
        """Whether that digest stands somewhere in a blob that is not what its descriptor says."""
        try:
            with self.blob_path(entry.digest).open("rb") as stream:
                return subject.encode() in stream.read(DOCUMENT_LIMIT)
        except OSError:
            return False

    def _write_index(self, entries: list[Descriptor]) -> None:
        ordered = sorted(entries, key=lambda entry: (entry.annotations.get(REFERENCE_ANNOTATION, ""), entry.digest))
        index = Index(schema_version=2, media_type=INDEX_MEDIA_TYPE, manifests=tuple(ordered))
        write_durably(self.folder / "index.json", canonical_json(index))

    @contextmanager
    def _locked(self) -> Iterator[None]:
        with (self.folder / ".lock").open("w") as lock:
            fcntl.flock(lock, fcntl.LOCK_EX)
            yield


def parse_image(data: bytes) -> Image:
    """The image manifest in `data`.

    Raises:
        LayoutError: it is none.
    """
    try:
        image = parse_json(data, Image)
    except msgspec.DecodeError as error:
        raise LayoutError("layout.image", f"not an OCI image manifest: {error}") from error
    if image.media_type != IMAGE_MEDIA_TYPE:
        raise LayoutError("layout.image", f"expected media type {IMAGE_MEDIA_TYPE}, got {image.media_type}")
    return image


def _holds(path: Path, digest: str) -> bool:
    return path.is_file() and digest_file(path) == digest


def _expect(got: str, expected: str, *, what: str) -> None:
    if got != expected:
        raise DigestMismatchError(what, expected=expected, got=got)


def _is_foreign(entry: Path) -> bool:
    """Another process may be making the same layout just now, or died while it did."""
    return entry.name not in ("blobs", "index.json", ".lock", "oci-layout") and entry.suffix != ".partial"
