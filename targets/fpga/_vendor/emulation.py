"""The shipped project, compiled by g++ and run: the vendor's number types compute every bit as the device will."""

from __future__ import annotations

import ctypes
import re
import shutil
import subprocess
import tempfile
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np

from targets._target import TargetError
from targets.fpga._vendor.vendors import PROJECT

if TYPE_CHECKING:
    from typing import Self

    from numpy.typing import NDArray

    from targets.fpga._vendor.options import Vendor
    from targets.fpga._vendor.vendors import Compiler

_SHIMS = Path(__file__).parent / "shims"
_TYPES = {"oneapi": "quartus/ac_types", "libero": "vivado/ap_types"}
"""Number types that a vendor's own compiler brings; the emulation takes hls4ml's copy of what they are made after."""
_FOLDER = "emulation"
_SECONDS = 900
_TAIL = 12
_PIPE = re.compile(r"^using (\w+Pipe) =", re.MULTILINE)
_LITERAL = re.compile(r"\bconstexpr (?P<rest>(?:auto padds|\w+_t \w+) =)")
_BRIDGE = """// The emulation's way in and out.
#include "firmware/{project}.h"
#include <cstddef>
#include <tuple>

template <class Pipe> using value_of = typename nnet::ExtractPipeType<Pipe>::value_type;

extern "C" void {project}_double(double *source, double *result) {{
    constexpr std::size_t wide = std::tuple_size<value_of<{entry}>>::value;
    for (std::size_t i = 0; i < {inputs}; i += wide) {{
        value_of<{entry}> beat;
        for (std::size_t j = 0; j < wide; j++)
            beat[j] = source[i + j];
        {entry}::write(beat);
    }}
    {kernel}{{}}();
    constexpr std::size_t narrow = std::tuple_size<value_of<{exit}>>::value;
    for (std::size_t i = 0; i < {outputs}; i += narrow) {{
        auto beat = {exit}::read();
        for (std::size_t j = 0; j < narrow; j++)
            result[i + j] = beat[j].to_double();
    }}
}}
"""


def write_emulation(vendor: Vendor, project: Path, inputs: int, outputs: int) -> None:
    """Put beside the project what g++ needs and the vendor's compiler would bring; nothing where it needs nothing.

    inputs, outputs: how many numbers go in and out.
    """
    if vendor not in _TYPES:
        return
    import hls4ml

    templates = Path(hls4ml.__file__).parent / "templates"
    folder = project / _FOLDER
    shutil.copytree(_SHIMS / vendor, folder)
    shutil.copytree(templates / _TYPES[vendor], folder / "types")
    if vendor == "oneapi":
        entry, exit_ = _PIPE.findall((project / "src" / "firmware" / f"{PROJECT}.h").read_text())
        (folder / "bridge.cpp").write_text(
            _BRIDGE.format(
                project=PROJECT,
                kernel=PROJECT.capitalize(),
                entry=entry,
                exit=exit_,
                inputs=inputs,
                outputs=outputs,
            )
        )


class Emulation:
    """The project's top function, by g++; a context manager.

    Raises:
        TargetError: there is no g++ (``fpga.vendor.compiler``), or it can't compile the project
            (``fpga.vendor.emulation``).
    """

    def __init__(self, compiler: Compiler, project: Path, inputs: int, outputs: int) -> None:
        self._inputs, self._outputs = inputs, outputs
        self._scratch = tempfile.TemporaryDirectory(prefix="packtrain-hls-")
        try:
            library = _compile(compiler, project, Path(self._scratch.name))
            function = getattr(ctypes.CDLL(str(library)), f"{PROJECT}_double")
        except BaseException:
            self._scratch.cleanup()
            raise
        function.argtypes = [ctypes.POINTER(ctypes.c_double)] * 2
        function.restype = None
        self._function = function

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()

    def run(self, values: NDArray[np.float64]) -> NDArray[np.float64]:
        """The outputs, shape (samples, outputs), for inputs of shape (samples, inputs)."""
        values = np.ascontiguousarray(values, np.float64)
        if values.ndim != 2 or values.shape[1] != self._inputs:  # noqa: PLR2004 - samples and inputs
            raise ValueError(f"expected shape (samples, {self._inputs}), got {values.shape}")
        results = np.zeros((len(values), self._outputs))
        for sample, result in zip(values, results, strict=True):
            self._function(_pointer(sample), _pointer(result))
        return results

    def close(self) -> None:
        """Remove what was compiled."""
        self._scratch.cleanup()


def _pointer(array: NDArray[np.float64]) -> ctypes._Pointer[ctypes.c_double]:
    return array.ctypes.data_as(ctypes.POINTER(ctypes.c_double))


def _without_literals(project: Path, copy: Path) -> Path:
    """A copy whose fixed-point constants are ``const``: only DPC++'s ac_types are literal types.

    That changes when they are computed, not what they are.
    """
    shutil.copytree(project, copy)
    for header in (copy / "src").rglob("*.h"):
        header.write_text(_LITERAL.sub(r"const \g<rest>", header.read_text()))
    return copy


def _compile(compiler: Compiler, project: Path, scratch: Path) -> Path:
    gxx = shutil.which("g++")
    if gxx is None:
        raise TargetError(
            "fpga.vendor.compiler",
            "no g++, which emulates the project",
            hint="apt-get install g++, or your system's like",
        )
    library = scratch / f"{PROJECT}.so"
    if compiler.backend == "oneAPI":
        project = _without_literals(project, scratch / "project")
    weights = project.resolve() / "firmware" / "weights"
    command = [gxx, f"-std={compiler.standard}", "-O1", "-fPIC", "-shared", "-w", f'-DWEIGHTS_DIR="{weights}"']
    command += [f"-I{project / folder}" for folder in (*compiler.includes, ".")]
    command += [str(project / source) for source in compiler.sources]
    command += ["-o", str(library)]
    try:
        ran = subprocess.run(  # noqa: S603 - the compiler from PATH, on files that hls4ml wrote
            command, capture_output=True, text=True, timeout=_SECONDS, check=False
        )
    except subprocess.TimeoutExpired as error:
        raise TargetError(
            "fpga.vendor.emulation",
            f"g++ took more than {_SECONDS} s",
            hint='io = "stream" and strategy = "resource" make far less code of a large network',
        ) from error
    if ran.returncode:
        problems = [line for line in ran.stderr.splitlines() if "error" in line] or ran.stderr.splitlines()
        raise TargetError(
            "fpga.vendor.emulation",
            "g++ can't compile the project: " + "; ".join(problems[:_TAIL])[:2000],
            hint='softmax = "host", another `io`, or another vendor',
        )
    return library
