"""What this device is, and whether a bundle can run on it. Runs in short-lived processes, not in the daemon."""

from __future__ import annotations

import os
import platform
from importlib import metadata
from typing import TYPE_CHECKING

from agent.errors import IncompatibleError
from agent.runtimes._runtime import KINDS, installed_version
from wire.messages import Inventory, RuntimeInventory

if TYPE_CHECKING:
    from collections.abc import Iterable, Mapping
    from pathlib import Path

    from manifests.release import Release

DISK_MARGIN = 1 << 20
"""Bytes that an update leaves free."""


def take_inventory(targets: tuple[str, ...], labels: Mapping[str, str], state: Path) -> Inventory:
    """What the device is now."""
    runtimes = ((kind, installed_version(kind)) for kind in KINDS)
    return Inventory(
        agent=metadata.version("packtrain"),
        architecture=platform.machine(),
        python=platform.python_version(),
        targets=targets,
        runtimes=tuple(RuntimeInventory(kind=kind, version=version) for kind, version in runtimes if version),
        disk_free_bytes=disk_free(state),
        labels=dict(labels),
    )


def disk_free(folder: Path) -> int:
    """Bytes that this process may still write below `folder`."""
    disk = os.statvfs(folder)
    return disk.f_bavail * disk.f_frsize


def check_compatibility(release: Release, inventory: Inventory, *, needed: int) -> None:
    """See that the bundle can run here; `needed` bytes of it are not on the disk yet.

    Raises:
        IncompatibleError: it can't; the code says why.
    """
    _listed("target", release.target, inventory.targets)
    if release.architectures:
        _listed("architecture", inventory.architecture, release.architectures)
    kind, minimum = release.runtime.kind, release.runtime.minimum
    versions = {runtime.kind: runtime.version for runtime in inventory.runtimes}
    if kind not in versions:
        raise IncompatibleError(
            "agent.runtime-missing",
            f"runtime '{kind}' is not installed: expected one of {', '.join(versions) or 'nothing'}",
            hint=f"pip install packtrain[{kind}]",
        )
    if _numbers(versions[kind]) < _numbers(minimum):
        raise IncompatibleError(
            "agent.runtime-version",
            f"runtime '{kind}' is too old: expected {minimum} or newer, got {versions[kind]}",
            hint=f"pip install --upgrade packtrain[{kind}]",
        )
    free = inventory.disk_free_bytes - DISK_MARGIN
    if needed > free:
        raise IncompatibleError(
            "agent.disk", f"too little room on the disk: expected {needed} bytes, got {max(0, free)}"
        )


def _listed(what: str, value: str, expected: Iterable[str]) -> None:
    if value not in expected:
        raise IncompatibleError(
            f"agent.{what}", f"{what} does not match: expected one of {', '.join(expected)}, got {value}"
        )


def _numbers(version: str) -> tuple[int, ...]:
    """The leading numbers of a version: ``2.1.0rc1`` is (2, 1), ``ios17`` is (17,)."""
    numbers: list[int] = []
    for part in version.lstrip("abcdefghijklmnopqrstuvwxyz").split("."):
        digits = part[: len(part) - len(part.lstrip("0123456789"))]
        if not digits:
            break
        numbers.append(int(digits))
    while numbers and numbers[-1] == 0:
        numbers.pop()
    return tuple(numbers)
