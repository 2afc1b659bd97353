"""The installed distributions that a server needs, file by file, checked against what their installer recorded."""

from __future__ import annotations

import base64
import hashlib
import importlib.metadata
from pathlib import Path
from typing import TYPE_CHECKING, NamedTuple

from packaging.requirements import Requirement
from packaging.utils import canonicalize_name

from packager.errors import ToolchainError

if TYPE_CHECKING:
    from collections.abc import Iterable, Mapping

_LOCAL = frozenset({"INSTALLER", "RECORD", "REQUESTED", "direct_url.json", "uv_build.json", "uv_cache.json"})
"""Files of a ``.dist-info`` folder that speak of this machine, not of the distribution."""
OWN = "packtrain"


class Distribution(NamedTuple):
    """One distribution, as it is installed here."""

    name: str
    version: str
    licence: str
    """An SPDX expression, or what its author wrote; empty: nothing is said."""
    homepage: str
    requires: tuple[str, ...]
    """Names of those that it needs."""
    files: tuple[tuple[str, Path], ...]
    """Path below the folder of packages, and the file."""


def find_distributions(extras: Iterable[str]) -> list[Distribution]:
    """Packtrain's own requirements with these extras, and all that those require, by name; not packtrain itself.

    Raises:
        ToolchainError: one is not installed, or a file of it is not what was installed (``container.modified``).
    """
    found: dict[str, Distribution] = {}
    waiting = _required(OWN, frozenset(extras))
    seen: set[tuple[str, frozenset[str]]] = set()
    while waiting:
        name, wanted = waiting.popitem()
        if (name, wanted) in seen:
            continue
        seen.add((name, wanted))
        needed = _required(name, wanted)
        names = {*needed, *(found[name].requires if name in found else ())}
        found[name] = _describe(name, sorted(names))
        waiting |= {other: asked | waiting.get(other, frozenset()) for other, asked in needed.items()}
    return [found[name] for name in sorted(found)]


def own_metadata() -> Mapping[str, bytes]:
    """The files of packtrain's own ``.dist-info`` folder, by path: its version and its entry points."""
    distribution = importlib.metadata.distribution(OWN)
    folder = f"{OWN}-{distribution.version}.dist-info"
    texts = {name: distribution.read_text(name) for name in ("METADATA", "entry_points.txt", "licenses/LICENSE")}
    return {f"{folder}/{name}": text.encode() for name, text in texts.items() if text is not None}


def licence_of(metadata: importlib.metadata.PackageMetadata) -> str:
    """What the distribution says of its licence, in as few words as it has."""
    said = _said(metadata, "License-Expression") or _said(metadata, "License")
    if said and "\n" not in said:
        return said
    classifiers = [entry for entry in metadata.get_all("Classifier") or () if entry.startswith("License ::")]
    return classifiers[0].rpartition(" :: ")[2] if classifiers else ""


def _required(name: str, extras: frozenset[str]) -> dict[str, frozenset[str]]:
    """What a distribution requires on this machine: name to extras."""
    try:
        written = importlib.metadata.requires(name) or ()
    except importlib.metadata.PackageNotFoundError as error:
        raise ToolchainError(
            "toolchain.missing",
            f"distribution '{name}' is needed and not installed here",
            hint=f"pip install {name}",
        ) from error
    needed: dict[str, frozenset[str]] = {}
    for requirement in map(Requirement, written):
        marker = requirement.marker
        if marker is not None and not any(marker.evaluate({"extra": extra}) for extra in {*extras, ""}):
            continue
        key = canonicalize_name(requirement.name)
        if key != OWN:
            needed[key] = needed.get(key, frozenset()) | requirement.extras
    return needed


def _describe(name: str, requires: list[str]) -> Distribution:
    distribution = importlib.metadata.distribution(name)
    if distribution.files is None:
        raise ToolchainError(
            "container.record", f"distribution '{name}' does not say which files it has", hint="install it with pip"
        )
    files = []
    for entry in sorted(distribution.files, key=str):
        skipped = entry.parts[0] == ".." or "__pycache__" in entry.parts
        if skipped or (entry.parts[0].endswith(".dist-info") and entry.name in _LOCAL):
            continue
        place = Path(str(entry.locate()))
        _check(name, entry, place)
        files.append((entry.as_posix(), place))
    links = dict(entry.split(", ", 1) for entry in distribution.metadata.get_all("Project-URL") or () if ", " in entry)
    return Distribution(
        name=name,
        version=distribution.version,
        licence=licence_of(distribution.metadata),
        homepage=_said(distribution.metadata, "Home-page") or links.get("Homepage", ""),
        requires=tuple(requires),
        files=tuple(files),
    )


def _said(metadata: importlib.metadata.PackageMetadata, field: str) -> str:
    return metadata[field] if field in metadata else ""  # noqa: SIM401 - what metadata promises has no get


def _check(name: str, entry: importlib.metadata.PackagePath, place: Path) -> None:
    if not place.is_file():
        raise ToolchainError("container.modified", f"file '{entry}' of distribution '{name}' is missing", hint=_AGAIN)
    if entry.hash is None or entry.hash.mode != "sha256":
        return
    digest = hashlib.sha256(place.read_bytes()).digest()
    if base64.urlsafe_b64encode(digest).rstrip(b"=").decode() != entry.hash.value:
        raise ToolchainError(
            "container.modified", f"file '{entry}' of distribution '{name}' is not what was installed", hint=_AGAIN
        )


_AGAIN = "install the distribution again"
