"""Models in OCI registries: ``oci://HOST/NAME:TAG`` and ``oci://HOST/NAME@DIGEST``."""

from __future__ import annotations

import re
from typing import TYPE_CHECKING

import msgspec

from manifests.digests import digest_bytes
from manifests.manifest import LineageSection
from packager.oci.reference import parse_reference
from packager.sources._remote import Request, fetch_remote
from packager.sources._source import Identity

if TYPE_CHECKING:
    from pathlib import Path

    from packager.cache import Cache
    from packager.config import Project
    from packager.oci.reference import Reference
    from packager.sources._source import Bounds, Fetched
    from packager.worker import Workers

DISTRIBUTIONS = ("requests", "zstandard")
EXTRA = "oci"

_VERSION = re.compile(r"[a-z0-9](?:[a-z0-9._-]{0,62}[a-z0-9])?")


class Order(msgspec.Struct, frozen=True, kw_only=True):
    """A model in a registry."""

    reference: str


def matches(reference: str) -> bool:
    """``oci:...``."""
    return reference.startswith("oci:")


def fetch(project: Project, cache: Cache, workers: Workers) -> Fetched:
    """The model's files; the tag, where it can be a version, is one."""
    reference = parse_reference(project.model.source)
    request = Request(
        source="oci",
        order=Order(reference=str(reference)),
        distributions=DISTRIBUTIONS,
        extra=EXTRA,
        identity=reference.digest,
        version=_version(reference),
    )
    return fetch_remote(request, project, cache, workers)


def identify(order: Order) -> Identity:
    """The digest of the manifest."""
    from packager.oci.registry import Repository

    reference = parse_reference(order.reference)
    version = _version(reference)
    if reference.digest:
        return Identity(text=reference.digest, version=version)
    with Repository(reference) as repository:
        return Identity(text=digest_bytes(repository.manifest(reference.tag)), version=version)


def download(order: Order, identity: Identity, out: Path, bounds: Bounds) -> LineageSection:
    """The files of a CNCF ModelPack artifact or a KitOps ModelKit."""
    from packager.oci.artifact import fetch_artifact
    from packager.oci.registry import Repository

    reference = parse_reference(order.reference)
    with Repository(reference) as repository:
        fetch_artifact(repository, repository.manifest(identity.text), str(reference), out, bounds)
    return LineageSection()


def _version(reference: Reference) -> str:
    """The tag, where it says which version it is."""
    return reference.tag if _VERSION.fullmatch(reference.tag) and reference.tag != "latest" else ""
