"""From a model to the vendor's project, proved by g++; and what runs that project on this machine."""

from __future__ import annotations

import tarfile
import tempfile
from pathlib import Path
from typing import TYPE_CHECKING, Literal, NamedTuple, TypeVar

import msgspec
import numpy as np

from manifests.digests import digest_file
from manifests.fpga import FpgaSection
from manifests.manifest import FileSection, QuantizationSection, ResourcesSection, RuntimeSection
from targets._target import Artifact, TargetError
from targets.fpga._vendor.emulation import Emulation, write_emulation
from targets.fpga._vendor.options import Vendor
from targets.fpga._vendor.synthesis import synthesise
from targets.fpga._vendor.vendors import COMPILERS, find_compiler

if TYPE_CHECKING:
    from numpy.typing import NDArray

    from manifests.manifest import SignatureSection
    from targets._target import Arrays, Fidelity
    from targets.fpga._vendor.options import Hls
    from targets.fpga._vendor.synthesis import Report
    from targets.fpga._vendor.vendors import Compiler

KIND = "hls4ml"
"""Of the bundle's runtime: no agent runs it, the vendor's tools bring it to the device."""
ENTRY = "project.tar"
_MODEL, _REPORT = "model.json", "report.json"
_NOT_SYNTHESISED = "project emitted, not synthesised"
_LIMIT = 0.05
"""Of the parity gate, on the root mean square; all numbers are rounded."""
_SAMPLES = 64
_CLOCK_DIGITS = 2
_Float = TypeVar("_Float", np.float32, np.float64)


class Described(msgspec.Struct, frozen=True, kw_only=True):
    """What the emulation must know of the project."""

    vendor: Vendor
    input_shape: tuple[int, ...]
    """As the source model's, with the batch, which is 1."""
    channels_last: bool
    """Whether the project takes (height, width, channels) where the input is (channels, height, width)."""
    output_shape: tuple[int, ...]
    """What the project gives, with the batch."""
    host: tuple[str, ...]
    """Operators that the host computes afterwards: ``Softmax``, ``ArgMax``, along the last axis."""


def convert_for_vendor(model: Path, vendor: Vendor, options: Hls, calibration: Arrays | None, out: Path) -> Artifact:
    """Write the project, what the emulation must know of it, and the compiler's report where it is here.

    Raises:
        TargetError: the model can't be taken (``fpga.vendor.source``, ``fpga.vendor.ports``), nothing was measured to
            choose types by (``fpga.vendor.calibration``), hls4ml fails (``fpga.vendor.project``,
            ``fpga.vendor.layers``), the compiler is required and missing (``fpga.vendor.missing``), or what it made
            is refused (see `synthesise`).
    """
    import onnx

    from targets._onnx.file import signature
    from targets._onnx.inputs import calls
    from targets.fpga._vendor.precision import layer_types
    from targets.fpga._vendor.project import write_project
    from targets.fpga._vendor.source import prepare

    compiler = COMPILERS[vendor]
    executable = _chosen(compiler, options)
    _check(compiler, options, calibration)
    source = onnx.load(model)
    shipped = signature(source)
    watched = calls(source, calibration, most=_SAMPLES)
    prepared = prepare(source, softmax_on_host=options.softmax == "host")
    described = Described(
        vendor=vendor,
        input_shape=_fixed(shipped),
        channels_last=prepared.channels_last,
        output_shape=tuple(dim.dim_value for dim in prepared.model.graph.output[0].type.tensor_type.shape.dim),
        host=prepared.host,
    )
    inputs = np.concatenate([call[shipped.inputs[0].name] for call in watched]).astype(np.float32)
    types = {} if options.precision else layer_types(prepared.model, _laid_out(inputs, described), options.bits)
    with tempfile.TemporaryDirectory(prefix="packtrain-hls-") as scratch:
        project = Path(scratch) / "project"
        write_project(prepared.model, vendor, compiler, options, types, project)
        write_emulation(vendor, project, inputs[0].size, int(np.prod(described.output_shape)))
        report = synthesise(vendor, compiler, executable, project, options) if executable is not None else None
        _pack(project, out / ENTRY)
    (out / _MODEL).write_bytes(msgspec.json.format(msgspec.json.encode(described), indent=1) + b"\n")
    if report is not None:
        (out / _REPORT).write_bytes(msgspec.json.format(msgspec.json.encode(report), indent=1) + b"\n")
    return _artifact(out, options, _Made(shipped, described, compiler, report, len(inputs) if types else 0))


class EmulatedProject:
    """The shipped project in g++."""

    fidelity: Fidelity = "emulated"

    def __init__(self, artifact: Artifact, folder: Path) -> None:
        """Unpack and compile it.

        Raises:
            TargetError: g++ is missing or fails.
        """
        self._signature = artifact.signature
        self._described = msgspec.json.decode((folder / _MODEL).read_bytes(), type=Described)
        self._scratch = tempfile.TemporaryDirectory(prefix="packtrain-hls-")
        compiler = COMPILERS[self._described.vendor]
        sizes = [int(np.prod(shape)) for shape in (self._described.input_shape, self._described.output_shape)]
        try:
            with tarfile.open(folder / ENTRY) as packed:
                packed.extractall(self._scratch.name, filter="data")
            self._emulation = Emulation(compiler, Path(self._scratch.name), *sizes)
        except BaseException:
            self._scratch.cleanup()
            raise

    def run(self, inputs: Arrays) -> dict[str, NDArray[np.generic]]:
        """Outputs by name, for one call."""
        (entry,), (result,) = self._signature.inputs, self._signature.outputs
        values = _laid_out(np.asarray(inputs[entry.name], np.float64), self._described)
        found = self._emulation.run(values.reshape(len(values), -1)).reshape(self._described.output_shape)
        for step in self._described.host:
            found = _HOST[step](found)
        shape = tuple(size for size in result.shape if isinstance(size, int))
        return {result.name: found.astype(result.dtype).reshape(shape)}

    def close(self) -> None:
        """Remove what was unpacked and compiled."""
        self._emulation.close()
        self._scratch.cleanup()


def _softmax(values: NDArray[np.float64]) -> NDArray[np.float64]:
    powers = np.exp(values - values.max(axis=-1, keepdims=True))
    shares: NDArray[np.float64] = powers / powers.sum(axis=-1, keepdims=True)
    return shares


def _argmax(values: NDArray[np.float64]) -> NDArray[np.float64]:
    places: NDArray[np.float64] = values.argmax(axis=-1).astype(np.float64)
    return places


_HOST = {"Softmax": _softmax, "ArgMax": _argmax}


def _chosen(compiler: Compiler, options: Hls) -> Path | None:
    executable = None if options.synthesis == "never" else find_compiler(compiler)
    if executable is None and options.synthesis == "require":
        raise TargetError(
            "fpga.vendor.missing",
            f"{compiler.title} is required and not on PATH: expected {' or '.join(compiler.executables)}",
            hint='install it and put it on PATH, or synthesis = "auto"',
        )
    return executable


def _check(compiler: Compiler, options: Hls, calibration: Arrays | None) -> None:
    if options.io not in compiler.io:
        raise TargetError(
            "fpga.vendor.io",
            f'hls4ml writes no sound project for {compiler.title} with io = "{options.io}"',
            hint=f'io = "{compiler.io[0]}"',
        )
    if calibration is None and not options.precision:
        raise TargetError(
            "fpga.vendor.calibration",
            "fixed-point types are chosen by what passes through the network, and there is no calibration data",
            hint='give `calibration` in [data], or one type for everything: precision = "fixed<16,6>"',
        )


def _fixed(shipped: SignatureSection) -> tuple[int, ...]:
    shape = shipped.inputs[0].shape
    if len(shipped.inputs) != 1 or not all(isinstance(size, int) for size in shape) or shape[:1] != (1,):
        raise TargetError(
            "fpga.vendor.ports", f"expected one input of fixed shape with a batch of 1, got {list(shape)}"
        )
    return tuple(int(size) for size in shape)


def _laid_out(values: NDArray[_Float], described: Described) -> NDArray[_Float]:
    return np.moveaxis(values, 1, -1) if described.channels_last else values


def _pack(project: Path, path: Path) -> None:
    """The project as one file, the same bytes whatever day and folder it comes from."""
    with tarfile.open(path, "w", format=tarfile.PAX_FORMAT) as packed:
        for file in sorted(project.rglob("*")):
            if file.is_file():
                entry = tarfile.TarInfo(file.relative_to(project).as_posix())
                entry.size = file.stat().st_size
                entry.mode = 0o755 if file.suffix == ".sh" else 0o644
                with file.open("rb") as content:
                    packed.addfile(entry, content)


class _Made(NamedTuple):
    """What stands in the folder."""

    shipped: SignatureSection
    described: Described
    compiler: Compiler
    report: Report | None
    watched: int
    """Samples that types were chosen by."""


def _artifact(out: Path, options: Hls, made: _Made) -> Artifact:
    from importlib.metadata import version

    roles: dict[str, tuple[Literal["model", "other"], str]] = {
        ENTRY: ("model", "application/x-tar"),
        _MODEL: ("other", "application/json"),
    }
    if made.report is not None:
        roles[_REPORT] = ("other", "application/json")
    files = tuple(
        FileSection(
            path=name, role=role, digest=digest_file(out / name), size=(out / name).stat().st_size, media_type=kind
        )
        for name, (role, kind) in roles.items()
    )
    return Artifact(
        files=files,
        signature=made.shipped,
        runtime=RuntimeSection(kind=KIND, minimum=version("hls4ml"), entry=ENTRY),
        resources=ResourcesSection(
            disk_bytes=sum(file.size for file in files),
            fpga=_figures(made.report, options) if made.report is not None else None,
        ),
        quantization=QuantizationSection(
            scheme=options.precision or f"fixed-{options.bits}", calibration_samples=made.watched
        ),
        golden_tolerance=(1e-6, 1e-9),
        parity_limit=_LIMIT,
        parity_measure="rms",
        notes=tuple(_notes(made.described, made.compiler, made.report)),
    )


def _figures(report: Report, options: Hls) -> FpgaSection:
    """What the manifest says of the design; no Verilog of it was simulated."""
    from importlib.metadata import version

    return FpgaSection(
        device=options.part,
        architecture=f"{options.strategy}, {options.io}",
        basis="synthesised",
        clock_goal_mhz=round(report.clock_goal_mhz, _CLOCK_DIGITS),
        clock_mhz=None if report.clock_mhz is None else round(report.clock_mhz, _CLOCK_DIGITS),
        cells=report.used,
        latency_cycles=report.latency_cycles,
        interval_cycles=report.interval_cycles,
        tools={report.tool: report.version, "hls4ml": version("hls4ml")},
    )


def _notes(described: Described, compiler: Compiler, report: Report | None) -> list[str]:
    notes = [f"project for {compiler.title}, by hls4ml; its arithmetic was emulated by g++, bit for bit"]
    if described.channels_last:
        notes.append("the project takes channels last")
    if described.host:
        notes.append(f"the host computes {', '.join(described.host)}")
    if report is None:
        return [*notes, _NOT_SYNTHESISED]
    facts = [] if report.clock_mhz is None else [f"{report.clock_mhz:.1f} MHz of {report.clock_goal_mhz:g} MHz"]
    facts += [] if report.latency_cycles is None else [f"{report.latency_cycles} cycles"]
    facts += [f"{count} {name}" for name, count in report.used.items()]
    return [*notes, f"{report.tool} {report.version}".strip() + f" says: {', '.join(facts)}"]
