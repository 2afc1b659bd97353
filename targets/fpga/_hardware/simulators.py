"""The simulators of Verilog: Icarus Verilog and Verilator, compiled and run as programs of their own."""

from __future__ import annotations

import functools
import os
import shutil
import subprocess
from pathlib import Path
from typing import TYPE_CHECKING, Literal

import msgspec

from targets._target import TargetError

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

Simulator = Literal["iverilog", "verilator"]

_SECONDS = 1800
"""After so long, a simulation is given up."""
_SHOWN = 1500
"""Characters of a compiler's complaint that are repeated."""


class Design(msgspec.Struct, frozen=True, kw_only=True):
    """Sources with their testbench."""

    top: str
    """The testbench's module."""
    files: tuple[Path, ...]
    parameters: dict[str, int]
    """Of the testbench."""
    folder: Path
    """Working folder of the run, from which ``$readmemh`` reads."""
    seconds: int = _SECONDS


@functools.cache
def simulator_version(simulator: Simulator) -> str:
    """Name and version, such as ``iverilog 12.0``; empty where it is not installed."""
    program = shutil.which("vvp" if simulator == "iverilog" else simulator)
    if program is None or shutil.which(simulator) is None:
        return ""
    flag = "-V" if simulator == "iverilog" else "--version"
    told = subprocess.run([program, flag], capture_output=True, text=True, check=False)  # noqa: S603 - found on PATH
    words = (told.stdout + told.stderr).split()
    number = next((word for word in words if word[0].isdigit()), "")
    return f"{simulator} {number}".strip()


def simulated(design: Design, simulator: Simulator, scratch: Path, plusargs: Mapping[str, Path]) -> None:
    """Compile the design in `scratch`, an empty folder, and run it to its end.

    The testbench ends what it writes to `plusargs`' file ``out`` with a line that starts with ``#``.

    Raises:
        TargetError: the simulator is missing, refuses the sources, fails, or takes too long.
    """
    if not simulator_version(simulator):
        raise TargetError(
            "fpga.simulator",
            f"simulator '{simulator}' is not installed",
            hint=f"install {simulator}, such as by 'apt install {simulator}': no core is believed without a simulation",
        )
    program = _compile_icarus(design, scratch) if simulator == "iverilog" else _compile_verilator(design, scratch)
    options = [f"+{name}={path}" for name, path in plusargs.items()]
    ran = _run([*program, *options], design.folder, design.seconds, "fpga.simulation-time")
    written = plusargs["out"].read_text(encoding="ascii") if plusargs["out"].is_file() else ""
    if ran.returncode or "\n#" not in f"\n{written}":
        raise TargetError("fpga.simulation", f"{simulator} ended without a verdict: {_told(ran)}")


def _compile_icarus(design: Design, scratch: Path) -> list[str]:
    image = scratch / "design.vvp"
    command = ["iverilog", "-g2005-sv", "-s", design.top, "-o", str(image)]
    command += [f"-P{design.top}.{name}={value}" for name, value in design.parameters.items()]
    compiled = _run([*command, *map(str, design.files)], design.folder, design.seconds, "fpga.simulation-time")
    if compiled.returncode:
        raise TargetError("fpga.verilog", f"iverilog refuses the sources: {_told(compiled)}")
    return ["vvp", "-n", str(image)]


def _compile_verilator(design: Design, scratch: Path) -> list[str]:
    command = ["verilator", "--binary", "--timing", "-Wno-fatal", "-O3", "--Mdir", str(scratch / "obj")]
    command += ["--top-module", design.top, "-j", str(os.cpu_count() or 1), "-o", "design"]
    command += [f"-G{name}={value}" for name, value in design.parameters.items()]
    compiled = _run([*command, *map(str, design.files)], design.folder, design.seconds, "fpga.simulation-time")
    if compiled.returncode:
        raise TargetError("fpga.verilog", f"verilator refuses the sources: {_told(compiled)}")
    return [str(scratch / "obj" / "design")]


def _run(command: Sequence[str], folder: Path, seconds: int, code: str) -> subprocess.CompletedProcess[str]:
    try:
        return subprocess.run(  # noqa: S603 - simulators, and what they compiled of our own sources
            command, cwd=folder, capture_output=True, text=True, check=False, stdin=subprocess.DEVNULL, timeout=seconds
        )
    except subprocess.TimeoutExpired as error:
        raise TargetError(
            code,
            f"'{Path(command[0]).name}' did not end within {seconds} s",
            hint="give fewer vectors, or install verilator, which is some hundred times as fast",
        ) from error


def _told(ran: subprocess.CompletedProcess[str]) -> str:
    return (ran.stderr + ran.stdout).strip()[:_SHOWN]
