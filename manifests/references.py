"""What the sections of a manifest say of each other: names must stand for something, counts must fit (SPEC 4)."""

from __future__ import annotations

from itertools import pairwise
from typing import TYPE_CHECKING

from manifests.errors import InvalidManifestError

if TYPE_CHECKING:
    from collections.abc import Iterable

    from manifests.fpga import FpgaSection
    from manifests.manifest import BaselineSection, FeatureBaseline, Manifest
    from manifests.pipeline import InputPipeline, OutputPipeline


def check_references(manifest: Manifest) -> None:
    """Check that the manifest does not contradict itself.

    Raises:
        InvalidManifestError: it does; the message names the section.
    """
    _check_files(manifest)
    inputs = _unique("signature", "an input", (tensor.name for tensor in manifest.signature.inputs))
    outputs = _unique("signature", "an output", (tensor.name for tensor in manifest.signature.outputs))
    free = {size for tensor in (*manifest.signature.inputs, *manifest.signature.outputs) for size in tensor.shape}
    for name in manifest.signature.maximum:
        if name not in free:
            raise InvalidManifestError("manifest.signature", f"a bound is for no free dimension: '{name}'")
    _unique("gates", "a gate", (gate.name for gate in manifest.gates))
    task = manifest.model.task
    if task.output and task.output not in outputs:
        raise InvalidManifestError("manifest.task", f"the task names no output: '{task.output}'")
    for parity in manifest.parity.outputs:
        if parity.output not in outputs:
            raise InvalidManifestError("manifest.parity", f"parity names no output: '{parity.output}'")
    _check_pipeline(manifest, inputs, outputs)
    _check_device(manifest)
    if manifest.baseline is not None:
        _check_baseline(manifest.baseline, inputs, outputs, labels=len(task.labels))


def _check_files(manifest: Manifest) -> None:
    # Compared without case: an update that unpacks on one file system must unpack on all.
    paths = _unique("file", "a file", (entry.path.lower() for entry in manifest.files))
    for path in paths:
        parts = path.split("/")
        for end in range(1, len(parts)):
            folder = "/".join(parts[:end])
            if folder in paths:
                raise InvalidManifestError("manifest.file", f"'{folder}' is a file and a folder at once")
    manifest.file(manifest.runtime.entry)
    manifest.golden_file()


def _check_device(manifest: Manifest) -> None:
    for name in manifest.hardware.instructions:
        if name not in manifest.hardware.architectures:
            raise InvalidManifestError(
                "manifest.hardware", f"instruction sets are of no architecture of the bundle: '{name}'"
            )
    part = manifest.resources.delegation
    if part is not None and part.operations > part.total:
        raise InvalidManifestError(
            "manifest.resources", f"{part.delegate} can't run {part.operations} operations: there are {part.total}"
        )
    if manifest.resources.fpga is not None:
        _check_fpga(manifest.resources.fpga)


def _check_fpga(fpga: FpgaSection) -> None:
    placed = fpga.basis == "placed"
    if placed != (fpga.seed is not None) or (placed and fpga.clock_mhz is None):
        raise InvalidManifestError(
            "manifest.resources", f"a seed and a clock are of a placed design: its figures are '{fpga.basis}'"
        )
    if fpga.basis == "estimate" and (fpga.clock_mhz is not None or fpga.netlist_vectors):
        raise InvalidManifestError("manifest.resources", "an estimate has neither a reached clock nor a netlist")
    if fpga.clock_mhz is not None and fpga.clock_mhz < fpga.clock_goal_mhz:
        raise InvalidManifestError(
            "manifest.resources", f"the clock is missed: expected {fpga.clock_goal_mhz:g} MHz, got {fpga.clock_mhz:g}"
        )


def _check_pipeline(manifest: Manifest, inputs: set[str], outputs: set[str]) -> None:
    files = {entry.path for entry in manifest.files}
    before, after = manifest.pipeline.inputs, manifest.pipeline.outputs
    _unique("pipeline", "the pipeline of an input", (step.input for step in before))
    _unique("pipeline", "the pipeline of an output", (step.output for step in after))
    layouts = {tensor.name: tensor.layout for tensor in manifest.signature.inputs}
    for step in before:
        if step.input not in inputs:
            raise _wrong_pipeline(f"it names no input: '{step.input}'")
        if step.tokeniser is not None and step.tokeniser.file not in files:
            raise _wrong_pipeline(f"it names no file of the bundle: '{step.tokeniser.file}'")
        _check_preparation(step, layouts[step.input])
    for result in after:
        if result.output not in outputs:
            raise _wrong_pipeline(f"it names no output: '{result.output}'")
        if result.labels_file and result.labels_file not in files:
            raise _wrong_pipeline(f"it names no file of the bundle: '{result.labels_file}'")
        _check_selection(result)


def _check_preparation(step: InputPipeline, model_layout: str) -> None:
    for layout in (step.layout, model_layout if step.layout else ""):
        if len(set(layout)) != len(layout):
            raise _wrong_pipeline(f"layout of input '{step.input}' names an axis twice: '{layout}'")
    if step.layout and sorted(step.layout) != sorted(model_layout):
        raise _wrong_pipeline(
            f"layout of input '{step.input}': expected the axes of '{model_layout}', got '{step.layout}'"
        )
    lengths = {len(factors) for factors in (step.scale, step.mean, step.std)} - {0, 1}
    if len(lengths) > 1:
        raise _wrong_pipeline(f"scale, mean and std of input '{step.input}' are of different numbers of channels")


def _check_selection(result: OutputPipeline) -> None:
    for name, value in (("top", result.top), ("threshold", result.threshold)):
        if (result.select == name) != (value is not None):
            raise _wrong_pipeline(f"output '{result.output}': '{name}' is given exactly where it selects")
    if result.labels and result.labels_file:
        raise _wrong_pipeline(f"output '{result.output}' has its labels twice")


def _wrong_pipeline(problem: str) -> InvalidManifestError:
    return InvalidManifestError("manifest.pipeline", f"pipeline: {problem}")


def _check_baseline(baseline: BaselineSection, inputs: set[str], outputs: set[str], *, labels: int) -> None:
    _unique("baseline", "a baseline feature", (feature.name for feature in baseline.features))
    for feature in baseline.features:
        _check_feature(feature, inputs)
    predictions = baseline.predictions
    if predictions is None:
        return
    if predictions.output not in outputs:
        raise InvalidManifestError(
            "manifest.baseline", f"baseline of the predictions names no output: '{predictions.output}'"
        )
    if labels and len(predictions.counts) != labels:
        raise InvalidManifestError(
            "manifest.baseline",
            f"baseline of the predictions: expected {labels} counts, one a label, got {len(predictions.counts)}",
        )


def _check_feature(feature: FeatureBaseline, inputs: set[str]) -> None:
    if feature.input not in inputs:
        raise InvalidManifestError(
            "manifest.baseline", f"baseline feature '{feature.name}' names no input: '{feature.input}'"
        )
    if any(low >= high for low, high in pairwise(feature.edges)):
        raise InvalidManifestError("manifest.baseline", f"baseline feature '{feature.name}': edges do not rise")
    if len(feature.counts) != len(feature.edges) + 1:
        raise InvalidManifestError(
            "manifest.baseline",
            f"baseline feature '{feature.name}': expected {len(feature.edges) + 1} counts, got {len(feature.counts)}",
        )


def _unique(section: str, what: str, names: Iterable[str]) -> set[str]:
    seen: set[str] = set()
    for name in names:
        if name in seen:
            raise InvalidManifestError(f"manifest.{section}", f"manifest lists {what} twice: '{name}'")
        seen.add(name)
    return seen
