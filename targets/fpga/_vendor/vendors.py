"""The vendors' compilers: what hls4ml calls them, how their projects are emulated, started and read."""

from __future__ import annotations

import shutil
from collections.abc import Mapping
from pathlib import Path

import msgspec

PROJECT = "network"
"""hls4ml's name for the project, its top function and its sources."""


class Compiler(msgspec.Struct, frozen=True, kw_only=True):
    """One vendor's compiler."""

    backend: str
    """hls4ml's name for it."""
    title: str
    executables: tuple[str, ...]
    """Any of these on PATH means that the compiler is here; the first found is started."""
    commands: Mapping[str, tuple[str, ...]]
    """For each executable, what starts the synthesis in the project's folder; ``{}`` stands for the executable."""
    includes: tuple[str, ...]
    """Folders below the project whose headers the emulation needs."""
    standard: str
    """Of C++, for the emulation."""
    io: tuple[str, ...] = ("parallel", "stream")
    """What of `Hls.io` hls4ml writes for it without a fault that we know."""
    sources: tuple[str, ...] = (f"firmware/{PROJECT}.cpp", f"{PROJECT}_bridge.cpp")


_TCL = "reset=1 csim=0 synth=1 cosim=0 validation=0 export=0 vsynth=0 fifo_opt=0"
COMPILERS: dict[str, Compiler] = {
    "vitis": Compiler(
        backend="Vitis",
        title="AMD Vitis HLS",
        executables=("vitis-run", "vitis_hls"),
        commands={
            "vitis-run": ("{}", "--tcl", "build_prj.tcl", "--mode", "hls"),
            "vitis_hls": ("{}", "-f", "build_prj.tcl"),
        },
        includes=("firmware/ap_types",),
        standard="c++14",
    ),
    "quartus": Compiler(
        backend="Quartus",
        title="Intel HLS Compiler",
        executables=("i++",),
        commands={"i++": ("make", f"{PROJECT}-fpga", "CXX={}")},
        includes=("firmware/ac_types", "firmware/ap_types"),
        standard="c++14",
    ),
    "oneapi": Compiler(
        backend="oneAPI",
        title="Intel oneAPI DPC++",
        executables=("icpx",),
        commands={
            "icpx": ("sh", "-ec", "mkdir -p build && cd build && cmake -DCMAKE_CXX_COMPILER={} .. && make report")
        },
        includes=("emulation", "emulation/types", "src"),
        standard="c++17",
        sources=(f"src/firmware/{PROJECT}.cpp", "emulation/bridge.cpp"),
    ),
    "catapult": Compiler(
        backend="Catapult",
        title="Siemens Catapult",
        executables=("catapult",),
        commands={
            "catapult": (
                "{}",
                "-product",
                "ultra",
                "-shell",
                "-f",
                "build_prj.tcl",
                "-eval",
                f"set ::argv {{{_TCL}}}",
            )
        },
        includes=(
            "firmware/ac_types/include",
            "firmware/ac_math/include",
            "firmware/ac_simutils/include",
            "firmware/nnet_utils",
        ),
        standard="c++14",
    ),
    "libero": Compiler(
        backend="Libero",
        title="Microchip SmartHLS",
        executables=("shls",),
        commands={"shls": ("sh", "-ec", "{} -a hw && {} -a rtl_synth")},
        includes=("emulation", "emulation/types"),
        standard="c++14",
        io=("parallel",),
    ),
}
"""By the value of the option ``vendor``."""


def find_compiler(compiler: Compiler, path: str | None = None) -> Path | None:
    """Its executable on PATH, or on `path`; None: it is not here."""
    for name in compiler.executables:
        found = shutil.which(name, path=path)
        if found is not None:
            return Path(found)
    return None
