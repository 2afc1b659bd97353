"""Makes a toolchain's virtual environment with pip, which takes the user's own indexes and wheels into account."""

from __future__ import annotations

import json
import re
import subprocess
import sys
from typing import TYPE_CHECKING

from packager.errors import NetworkError, ToolchainError
from packager.toolchains.environments import (
    discard,
    environment_folder,
    find_environment,
    finish,
    held,
    interpreter_of,
)

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence
    from pathlib import Path

    from packager.toolchains.environments import Environment
    from packager.toolchains.locks import Lock

_TAIL_LINES = 15
_GPU = re.compile(r"(?:nvidia-|cuda-|triton)")
"""How the names of distributions begin that only a GPU needs."""
_UNREACHABLE = ("Failed to establish a new connection", "Temporary failure in name resolution", "timed out")
"""What pip says of an index that it can't reach."""


def install(lock: Lock, root: Path, tell: Callable[[str], None]) -> Environment:
    """The toolchain's environment below `root`, made now unless it is there.

    Two at once are safe: the second waits for the first. What an interrupted one left is removed first. `tell` gets
    what the user should know before it begins: where it goes, and whether libraries for GPUs come with it.

    Raises:
        ToolchainError: it can't be made.
        NetworkError: no package index can be reached.
    """
    folder = environment_folder(lock, root)
    found = find_environment(lock, root)
    if found is not None:
        return found
    with held(folder, wait=True) as descriptor:
        found = find_environment(lock, root)  # whoever held it may have made it
        if found is not None:
            return found
        discard(folder)
        tell(f"installing {lock.name} into {folder}")
        try:
            _make(lock, folder, descriptor, tell)
            return finish(lock, folder)
        except BaseException:
            discard(folder)
            raise


def _make(lock: Lock, folder: Path, descriptor: int, tell: Callable[[str], None]) -> None:
    _run([sys.executable, "-I", "-m", "venv", str(folder)], descriptor, "the virtual environment can't be made")
    pip = [str(interpreter_of(folder)), "-I", "-m", "pip", "--no-input", "--disable-pip-version-check", "install"]
    if lock.cpu:
        _tell_of_gpus(lock, pip, descriptor, tell)
    # Python compiles what is imported when it is imported first; compiling everything takes longer than unpacking it.
    command = [*pip, "--quiet", "--no-compile", "-r", str(lock.wanted), "-c", str(lock.pins)]
    _run(command, descriptor, f"pip can't install {lock.name}")


def _tell_of_gpus(lock: Lock, pip: Sequence[str], descriptor: int, tell: Callable[[str], None]) -> None:
    """Ask pip which build it would take, before gigabytes are on their way."""
    name, _, index = lock.cpu.partition(" ")
    command = [*pip, "--quiet", "--dry-run", "--no-deps", "--report", "-", name, "-c", str(lock.pins)]
    report = json.loads(_run(command, descriptor, f"pip can't find {name}"))
    for entry in report["install"]:
        metadata = entry["metadata"]
        needed = [word for word in metadata.get("requires_dist", ()) if _GPU.match(word) and "extra ==" not in word]
        if needed and sys.platform == "linux":
            tell(
                f"the build of {name} {metadata['version']} that pip finds brings libraries for GPUs, several GB; "
                f"interrupt this, and for a build without them: "
                f"PIP_EXTRA_INDEX_URL={index} pack toolchain install {lock.name}"
            )


def _run(command: list[str], descriptor: int, failure: str) -> str:
    """What the command prints; it holds the lock as long as it runs, even when we are killed.

    Raises:
        ToolchainError: it failed; the hint is the end of what it said.
        NetworkError: it could not reach an index.
    """
    with subprocess.Popen(  # noqa: S603 - our own interpreter, or the one that it has just made
        command, stdin=subprocess.DEVNULL, stdout=subprocess.PIPE, stderr=subprocess.PIPE, pass_fds=[descriptor]
    ) as process:
        try:
            out, err = process.communicate()
        except BaseException:
            process.kill()
            raise
    if process.returncode == 0:
        return out.decode()
    said = (out + err).decode(errors="replace").strip()
    tail = "\n".join(said.splitlines()[-_TAIL_LINES:])
    if any(words in said for words in _UNREACHABLE):
        raise NetworkError("toolchain.index", f"{failure}: a package index can't be reached", hint=tail)
    raise ToolchainError("toolchain.install", failure, hint=tail)
