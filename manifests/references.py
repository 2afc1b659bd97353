"""What the sections of a manifest say of each other: names must stand for something, counts must fit (SPEC 4)."""

from __future__ import annotations

from itertools import pairwise
from typing import TYPE_CHECKING

from manifests.errors import InvalidManifestError

if TYPE_CHECKING:
    from collections.abc import Iterable

    from manifests.manifest import BaselineSection, FeatureBaseline, Manifest


def check_references(manifest: Manifest) -> None:
    """Check that the manifest does not contradict itself.

    Raises:
        InvalidManifestError: it does; the message names the section.
    """
    _check_files(manifest)
    inputs = _unique("signature", "an input", (tensor.name for tensor in manifest.signature.inputs))
    outputs = _unique("signature", "an output", (tensor.name for tensor in manifest.signature.outputs))
    _unique("gates", "a gate", (gate.name for gate in manifest.gates))
    task = manifest.model.task
    if task.output and task.output not in outputs:
        raise InvalidManifestError("manifest.task", f"the task names no output: '{task.output}'")
    for parity in manifest.parity.outputs:
        if parity.output not in outputs:
            raise InvalidManifestError("manifest.parity", f"parity names no output: '{parity.output}'")
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
