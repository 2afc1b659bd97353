"""Which interpreter does a job: ours where what it needs is installed, else that of a toolchain's environment."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING

import msgspec

from packager.config import toolchains_folder
from packager.errors import ToolchainError
from packager.fingerprints import OWN_DISTRIBUTIONS, versions
from packager.registry import installed_version
from packager.toolchains.environments import find_environment, normalised
from packager.toolchains.locks import open_lock

if TYPE_CHECKING:
    from collections.abc import Iterable

    from packager.toolchains.environments import Environment


class Interpreter(msgspec.Struct, frozen=True, kw_only=True):
    """Who does a job."""

    versions: dict[str, str]
    """Of Python and the distributions that have a part in it, and the digest of a toolchain's lock."""
    path: Path | None = None
    """The Python of the toolchain's environment; None: our own."""


def choose_interpreter(distributions: Iterable[str], *, extra: str, toolchain: str) -> Interpreter:
    """Ours where all `distributions` are installed, else that of the `toolchain`; empty: there is none.

    Raises:
        ToolchainError: neither has them; the hint says how to get them.
    """
    wanted = tuple(distributions)
    missing = [name for name in wanted if installed_version(name) is None]
    if not missing or not toolchain:
        return Interpreter(versions=versions(wanted, extra=extra))
    environment = find_toolchain(toolchain)
    if environment is None:
        raise ToolchainError(
            "toolchain.missing",
            f"{', '.join(missing)} is needed and not installed here",
            hint=f"pack toolchain install {toolchain}",
        )
    found = {name: environment.distributions.get(normalised(name), "") for name in {*wanted, *OWN_DISTRIBUTIONS}}
    absent = sorted(name for name, version in found.items() if not version)
    if absent:
        raise ToolchainError(
            "toolchain.damaged",
            f"the toolchain '{toolchain}' has no {', '.join(absent)}",
            hint=f"pack toolchain remove {toolchain} && pack toolchain install {toolchain}",
        )
    found |= {"python": environment.python, f"{toolchain}.lock": environment.lock}
    return Interpreter(versions=dict(sorted(found.items())), path=environment.interpreter)


def find_toolchain(name: str) -> Environment | None:
    """The environment of that toolchain and of the lock that this packtrain ships; None: it is not installed."""
    return find_environment(open_lock(name), toolchains_folder())
