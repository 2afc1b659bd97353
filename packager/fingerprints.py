"""What of this machine takes part in a result: versions of distributions, and the digest of our own code."""

from __future__ import annotations

import platform
from pathlib import Path
from typing import TYPE_CHECKING

from manifests.canonical import canonical_json
from manifests.digests import digest_bytes, digest_file, digest_tree
from packager.errors import ToolchainError
from packager.registry import installed_version

if TYPE_CHECKING:
    from collections.abc import Iterable, Mapping

ROOT = Path(__file__).parent.parent
OWN_DISTRIBUTIONS = ("numpy", "onnx", "onnxruntime")
"""What takes part in every import and conversion."""
_CODE = (
    "packager/declarations.py",
    "packager/fusing.py",
    "packager/hub",
    "packager/importers",
    "packager/inputs.py",
    "packager/intake.py",
    "packager/jobs",
    "packager/measures",
    "packager/oci",
    "packager/pipeline.py",
    "packager/preparation.py",
    "packager/samples.py",
    "packager/signatures.py",
    "packager/sources",
    "manifests/manifest.py",
    "manifests/pipeline.py",
    "agent/runtimes",
    "targets/_target.py",
)
"""The code that runs in workers and has a say in what comes out."""


def versions(distributions: Iterable[str], *, extra: str) -> dict[str, str]:
    """Distribution to version, sorted, with the interpreter's.

    Raises:
        ToolchainError: one is not installed; the hint names the extra that brings it.
    """
    found = {"python": platform.python_version()}
    for name in sorted({*distributions, *OWN_DISTRIBUTIONS}):
        version = installed_version(name)
        if version is None:
            raise ToolchainError(
                "toolchain.missing",
                f"distribution '{name}' is needed and not installed here",
                hint=f"pip install 'packtrain[{extra}]'",
            )
        found[name] = version
    return found


def code_digest(*more: Path) -> str:
    """The digest of our code that runs in workers, and of the files or folders `more`."""
    places = [ROOT / name for name in _CODE] + list(more)
    found: dict[str, str] = {}
    for number, place in enumerate(places):
        for path in sorted(place.rglob("*.py")) if place.is_dir() else [place]:
            found[f"{number}/{path.relative_to(place.parent).as_posix()}"] = digest_file(path)
    return mapping_digest(found)


def mapping_digest(mapping: Mapping[str, str]) -> str:
    """The digest of a mapping, whatever its order."""
    return digest_bytes(canonical_json(dict(mapping)))


def content_digest(path: Path) -> str:
    """The digest of a file, or of a folder's files."""
    return digest_tree(path) if path.is_dir() else digest_file(path)
