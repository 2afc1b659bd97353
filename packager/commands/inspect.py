"""`pack inspect`: what a bundle says of itself."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Annotated, TypeAlias, cast

import typer

from packager.commands.layers import show_layers, summary
from packager.commands.options import BundleName, Folder, Form
from packager.console import Output, console, headline
from packager.errors import ExitCode
from terminal.tables import indented, pairs, table

if TYPE_CHECKING:
    from collections.abc import Iterable

    from rich.console import RenderableType

    from manifests.bundle import Bundle
    from manifests.fpga import FpgaSection
    from manifests.manifest import FeatureBaseline, HardwareSection, Manifest, ResourcesSection, TensorSection
    from manifests.pipeline import InputPipeline, OutputPipeline
    from packager.quantities import Unit
    from targets._composition import Composition

Layers: TypeAlias = Annotated[
    bool, typer.Option("--layers", help="Every layer of the shipped file instead, the largest first.")
]

_SHOWN = 6
"""Entries of a long list that people are shown; ``--output json`` has all."""

_DIGEST = len("sha256:") + 12
"""Characters of a digest that people tell it by."""


def inspect(bundle: BundleName, *, folder: Folder = Path(), layers: Layers = False, output: Form = Output.TEXT) -> int:
    """Show what a bundle says of itself, and what its file is made of.

    Nothing is verified: see pack verify.
    """
    from packager.composition import composition_of
    from packager.config import STORE
    from packager.store import find_bundle

    layout, found = find_bundle(bundle, folder / STORE)
    if layers:
        show_layers(composition_of(layout, found), found, output)
    elif output is Output.JSON:
        from manifests.manifest import encode_manifest

        console.print_encoded(encode_manifest(found.manifest))
    elif output is Output.TAG:
        console.print_line(found.reference)
    else:
        console.print_result(*_sections(found, composition_of(layout, found)))
    return ExitCode.OK


def _sections(bundle: Bundle, composition: Composition | None) -> Iterable[RenderableType]:
    manifest = bundle.manifest
    yield from headline(bundle.reference, bundle.digest)
    yield from _section("model", [*_origin(manifest), *_model(manifest)])
    yield from _section("runs on", _runtime(manifest))
    if composition is not None:
        yield from _section("made of", summary(composition))
    yield from _section("files", [(entry.path, f"{_size(entry.size)}, {entry.role}") for entry in manifest.files])
    yield from _gates(manifest)
    yield from _section("parity", _parity(manifest))
    yield from _section("baseline", _baseline(manifest))
    yield from _section("lineage", _lineage(manifest))
    yield from _section("build", _build(manifest))


def _section(title: str, rows: Iterable[tuple[str, RenderableType]]) -> Iterable[RenderableType]:
    """A heading and its rows, indented; nothing where no row says anything."""
    from rich.text import Text

    kept = [(name, value) for name, value in rows if value != ""]
    if kept:
        yield Text(title, style="bold")
        yield indented(pairs(kept))


def _origin(manifest: Manifest) -> Iterable[tuple[str, str]]:
    source = manifest.model.source
    yield "source", source.reference
    yield "made with", f"{source.framework}, {source.digest[:_DIGEST]}"
    yield "licence", manifest.model.licence
    yield "counter", str(manifest.bundle.counter)


def _model(manifest: Manifest) -> Iterable[tuple[str, str]]:
    task = manifest.model.task
    yield "task", "" if task.kind == "unknown" else f"{task.kind} by '{task.output}'"
    yield "labels", _some(task.labels)
    for tensor in manifest.signature.inputs:
        yield "input", _tensor(tensor)
    for tensor in manifest.signature.outputs:
        yield "output", _tensor(tensor)
    for before in manifest.pipeline.inputs:
        yield "before", f"{before.input}: {', '.join(_preparation(before))}"
    for after in manifest.pipeline.outputs:
        yield "after", f"{after.output}: {', '.join(_selection(after))}"


def _preparation(step: InputPipeline) -> Iterable[str]:
    yield " ".join(filter(None, (step.dtype or "", step.layout, step.colour_space, step.colour, step.kind)))
    if step.tokeniser:
        yield f"tokenised by {step.tokeniser.file}"
    if step.sample_rate:
        yield f"{step.sample_rate} Hz"
    if step.resize:
        height, width = step.resize.size
        yield f"resized to {height} x {width} ({step.resize.mode}, {step.resize.fit})"
    for name, factors in (("times", step.scale), ("minus", step.mean), ("divided by", step.std)):
        if factors:
            yield f"{name} {' '.join(f'{factor:.4g}' for factor in factors)}"
    if step.fused:
        yield f"in the model: {' '.join(step.fused)}"


def _selection(step: OutputPipeline) -> Iterable[str]:
    if step.activation:
        yield step.activation
    if step.select:
        value = step.top if step.select == "top" else step.threshold
        yield step.select if value is None else f"{step.select} {value:g}"
    if step.labels or step.labels_file:
        yield f"labels: {step.labels_file or _some(step.labels)}"


def _runtime(manifest: Manifest) -> Iterable[tuple[str, str]]:
    runtime, resources, quantization = manifest.runtime, manifest.resources, manifest.quantization
    yield "runtime", f"{runtime.kind} {runtime.minimum} or newer"
    yield "opens", runtime.entry
    yield "opsets", ", ".join(f"{name} {version}" for name, version in runtime.opsets.items())
    yield "operators", _some(runtime.operators)
    yield "machines", ", ".join(_machines(manifest.hardware))
    yield "disk", _size(resources.disk_bytes)
    yield "memory", "" if resources.memory_bytes is None else _size(resources.memory_bytes)
    yield "arena", "" if resources.arena_bytes is None else f"{_size(resources.arena_bytes)} of it, for tensors"
    yield "MACs", "" if resources.macs is None else f"{resources.macs:,}"
    yield "operations", ", ".join(_operations(resources))
    if resources.delegation is not None:
        part = resources.delegation
        yield "delegated", f"{part.operations} of {part.total} operations, to {part.delegate}"
    if resources.fpga is not None:
        yield "hardware", ", ".join(_design(resources.fpga))
        yield "proved", ", ".join(_proof(resources.fpga))
    calibrated = f", calibrated on {quantization.calibration_samples} samples"
    yield (
        "quantized",
        "no"
        if quantization.scheme == "none"
        else quantization.scheme + (calibrated if quantization.calibration_samples else ""),
    )


def _machines(hardware: HardwareSection) -> Iterable[str]:
    """Each architecture, with the instruction sets that it needs and those that it gains by."""
    for name in hardware.architectures:
        sets = hardware.instructions.get(name)
        parts = []
        if sets is not None and sets.required:
            parts.append(f"with {' '.join(sets.required)}")
        if sets is not None and sets.used:
            parts.append(f"faster with {' '.join(sets.used)}")
        yield f"{name} ({', '.join(parts)})" if parts else name


def _operations(resources: ResourcesSection) -> Iterable[str]:
    """How many there are, and of what kind: the most frequent first."""
    if not resources.operations:
        return
    counts = sorted(resources.operations.items(), key=lambda entry: (-entry[1], entry[0]))
    kinds = _some(tuple(f"{count} {name}" for name, count in counts))
    yield f"{sum(resources.operations.values())} ({kinds})"
    if resources.transposes is not None:
        yield f"{resources.transposes} transposes left"


def _design(fpga: FpgaSection) -> Iterable[str]:
    """Cells, clock and cycles of a design on an FPGA, and where the figures come from."""
    yield f"{fpga.architecture} on {fpga.device}" if fpga.device else fpga.architecture
    for name, count in fpga.cells.items():
        yield f"{count:,} {name.replace('_', ' ')}"
    reached = "" if fpga.clock_mhz is None else f"{fpga.clock_mhz:g} of "
    yield f"{reached}{fpga.clock_goal_mhz:g} MHz{' asked for' if fpga.clock_mhz is None else ''}"
    if fpga.latency_cycles is not None:
        yield f"{fpga.latency_cycles:,} cycles"
    yield fpga.basis if fpga.seed is None else f"{fpga.basis} with seed {fpga.seed}"


def _proof(fpga: FpgaSection) -> Iterable[str]:
    """Over how many samples simulations of the design were right to the last bit; nothing where none was run."""
    for what, vectors in (("RTL", fpga.rtl_vectors), ("netlist", fpga.netlist_vectors)):
        if vectors:
            yield f"{vectors} samples in {what}"


def _gates(manifest: Manifest) -> Iterable[RenderableType]:
    from rich.text import Text

    rows = table("gate", "limit", "value", "verdict", right=("limit", "value"))
    for gate in manifest.gates:
        value = "-" if gate.value is None else _quantity(gate.value, gate.unit)
        verdict = f"{gate.verdict}: {gate.waiver}" if gate.waiver else gate.verdict
        rows.add_row(gate.name, gate.limit, value, verdict)
    yield Text("gates", style="bold")
    yield indented(rows)


def _parity(manifest: Manifest) -> Iterable[tuple[str, str]]:
    parity, golden = manifest.parity, manifest.golden
    for entry in parity.outputs:
        relative = f"relative {entry.max_relative:.3g}, of all values {entry.rms_relative:.3g}"
        yield entry.output, f"largest difference {entry.max_absolute:.3g}, {relative}"
    inputs = "samples of the data" if parity.inputs == "data" else "generated samples"
    runtime = "the device's own runtime" if parity.fidelity == "runtime" else "an emulation of the device's runtime"
    yield "measured", f"on {parity.samples} {inputs}, by {runtime}"
    yield "worst layer", parity.worst_layer
    yield "golden", f"{golden.samples} samples, within {golden.rtol:g} relative and {golden.atol:g} absolute"


def _baseline(manifest: Manifest) -> Iterable[tuple[str, str]]:
    baseline = manifest.baseline
    if baseline is None:
        return
    yield "samples", f"{baseline.samples:,}"
    yield "features", _features(baseline.features)
    if baseline.predictions is not None:
        labels = manifest.model.task.labels
        counts = baseline.predictions.counts
        names = labels if len(labels) == len(counts) else tuple(str(index) for index in range(len(counts)))
        yield "predicted", _some(tuple(f"{name}: {count}" for name, count in zip(names, counts, strict=True)), most=12)


def _features(features: tuple[FeatureBaseline, ...]) -> str:
    return f"{len(features)}: {_some(tuple(feature.name for feature in features))}" if features else ""


def _lineage(manifest: Manifest) -> Iterable[tuple[str, str]]:
    lineage = manifest.lineage
    yield "run", lineage.run
    yield "commit", lineage.commit
    yield "parameters", _some(tuple(f"{name}={value}" for name, value in lineage.parameters.items()))
    yield "metrics", _some(tuple(f"{name}={value:.4g}" for name, value in lineage.metrics.items()))
    for name, digest in lineage.datasets.items():
        yield "dataset", f"{name} {digest}"
    yield "previous", lineage.previous or ""


def _build(manifest: Manifest) -> Iterable[tuple[str, str]]:
    build = manifest.build
    yield "packtrain", build.packtrain
    yield "toolchain", ", ".join(f"{name} {version}" for name, version in build.toolchain.items())
    yield "options", ", ".join(f"{name}={value}" for name, value in build.options.items())


def _tensor(tensor: TensorSection) -> str:
    shape = " x ".join(str(size) for size in tensor.shape) or "scalar"
    quantized = tensor.quantization
    scale = f", scale {quantized.scale:.4g}, zero {quantized.zero_point}" if quantized else ""
    span = f", in [{tensor.range[0]:g}, {tensor.range[1]:g}]" if tensor.range else ""
    layout = f" {tensor.layout}" if tensor.layout else ""
    return f"{tensor.name}: {tensor.dtype} {shape}{layout}{scale}{span}"


def _some(entries: tuple[str, ...], *, most: int = _SHOWN) -> str:
    rest = f" and {len(entries) - most} more" if len(entries) > most else ""
    return ", ".join(entries[:most]) + rest


def _size(size: int) -> str:
    return _quantity(size, "bytes")


def _quantity(value: float, unit: str) -> str:
    """The value as people read it; a unit that a newer packager wrote stands as it is."""
    from packager.quantities import quantity_text

    if unit in {"ratio", "bytes", "ms"}:
        return quantity_text(value, cast("Unit", unit))
    return f"{value:.4g} {unit}".rstrip()
