"""Prepare a model for a target, convert it, load back what would be shipped, and measure that."""

from __future__ import annotations

import shutil
from pathlib import Path
from typing import TYPE_CHECKING, NamedTuple

import msgspec

from manifests.digests import check_file
from manifests.manifest import BaselineSection, FileSection, GoldenSection, ParitySection, TaskSection
from packager.errors import ConversionError
from packager.hub.refusals import with_reasons
from packager.measures.baseline import describe_training
from packager.measures.golden import write_golden
from packager.measures.latency import Latency, measure_latency
from packager.measures.native import open_source
from packager.measures.parity import compare_outputs
from packager.measures.quiet import Turns
from packager.measures.running import FromRest, Shipped, call_size, run_all
from packager.measures.scores import Scores, score
from packager.preparation import prepare_for
from packager.registry import Registration, open_target
from packager.samples import DataFiles, Samples, generate_samples, read_samples
from packager.signatures import model_signature
from targets._target import Artifact

if TYPE_CHECKING:
    from collections.abc import Mapping

    from packager.samples import DataFile
    from targets._target import Finding, Target

FILES = "files"
"""The folder, below the job's, with what the bundle will hold."""
PREPARED = "prepared"
"""The folder with what the target is given."""
_MOST_NODES = 20
"""Nodes that an error lists; the rest is counted."""


class Order(msgspec.Struct, frozen=True, kw_only=True):
    """What to convert, and for which target."""

    registration: Registration
    model: str
    digest: str
    """Of the model file, which must be the same afterwards."""
    options: dict[str, object]
    task: TaskSection
    names: tuple[str, ...]
    files: tuple[FileSection, ...] = ()
    """Of the pipeline, beside the model."""
    data: DataFiles
    turns: str
    """The file by which the workers of this machine take turns."""


class Conversion(msgspec.Struct, frozen=True, kw_only=True):
    """What was made, and what was measured of it; the files stand below ``files``."""

    artifact: Artifact
    passes: tuple[str, ...]
    golden: GoldenSection
    golden_file: FileSection
    baseline: BaselineSection | None
    parity: ParitySection
    scores: Scores | None
    latency: Latency


def runs_foreign_code(order: Order) -> bool:
    """No: what is converted is ONNX."""
    del order
    return False


def run(order: Order, out: Path) -> Conversion:
    """The artifact below `out`, loaded back and measured.

    Raises:
        ConversionError: nodes that the target can't take, or an artifact that does not run.
        TargetError: the target can't convert it.
    """
    with Turns(Path(order.turns)) as turns:
        return _run(order, out, turns)


def _run(order: Order, out: Path, turns: Turns) -> Conversion:
    target = open_target(order.registration)
    options = msgspec.convert(order.options, target.Options)
    source = Path(order.model)
    prepared, passes = _prepared(source, order.files, target, options, out)
    data = _Data(order, source, target.free_dimensions(options))
    folder = out / FILES
    folder.mkdir()
    calibration = data.calibration.inputs if data.calibration else None
    artifact = target.convert(prepared, options, calibration, folder)
    check_file(source, order.digest)
    shutil.rmtree(prepared.parent)
    _check_files(artifact, folder)
    runner = Shipped(target.runner(artifact, folder), artifact.signature, data.signature)
    artifact = _accompanied(artifact, order.files, source.parent, folder)
    try:
        return _measured(order, _Made(artifact, passes, folder), data, runner, turns)
    finally:
        runner.close()


class _Made(NamedTuple):
    """What the target made, and where."""

    artifact: Artifact
    passes: tuple[str, ...]
    folder: Path


class _Data:
    """The samples of a job, each file read once."""

    def __init__(self, order: Order, source: Path, sizes: Mapping[str, int]) -> None:
        """`sizes` are those that free dimensions get where samples have to be made up."""
        import onnx

        self.signature = model_signature(onnx.load(source, load_external_data=False))
        self.source = open_source(source)
        self._files = order.data
        self._names = order.names
        self.calibration = self._read(order.data.calibration)
        self.evaluation = self._read(order.data.evaluation)
        self.training = self._read(order.data.training) or self.calibration
        given = self.evaluation or self.calibration or self.training
        self.tested = given or generate_samples(self.signature, sizes)

    def _read(self, file: DataFile | None) -> Samples | None:
        return read_samples(file, self._files, self.signature, names=self._names) if file else None


def _prepared(
    source: Path, files: tuple[FileSection, ...], target: Target, options: msgspec.Struct, out: Path
) -> tuple[Path, tuple[str, ...]]:
    """A private copy of the model in the target's normal form, the pipeline's files beside it.

    Private, since some converters rewrite their input.
    """
    import onnx

    model, passes = prepare_for(onnx.load(source), target, options)
    findings = with_reasons(target.unsupported(model, options), model)
    if findings:
        raise _unsupported(target.name, findings)
    folder = out / PREPARED
    folder.mkdir()
    prepared = folder / "model.onnx"
    prepared.write_bytes(model.SerializeToString(deterministic=True))
    for entry in files:
        place = folder / entry.path
        place.parent.mkdir(parents=True, exist_ok=True)
        shutil.copyfile(source.parent / entry.path, place)
    return prepared, passes


def _unsupported(target: str, findings: list[Finding]) -> ConversionError:
    lines = [f"{finding.node} ({finding.operator}): {finding.reason}" for finding in findings[:_MOST_NODES]]
    if len(findings) > _MOST_NODES:
        lines.append(f"and {len(findings) - _MOST_NODES} more")
    hints = dict.fromkeys(finding.hint for finding in findings if finding.hint)
    nodes = "1 node" if len(findings) == 1 else f"{len(findings)} nodes"
    return ConversionError(
        f"{target}.unsupported", f"{target} can't take {nodes}:\n  " + "\n  ".join(lines), hint="; ".join(hints)
    )


def _check_files(artifact: Artifact, folder: Path) -> None:
    """An artifact's list is what goes into the manifest, so it is not believed either."""
    for entry in artifact.files:
        check_file(folder / entry.path, entry.digest)
    listed = {entry.path for entry in artifact.files}
    for path in sorted(folder.rglob("*")):
        if path.is_file() and path.relative_to(folder).as_posix() not in listed:
            raise ConversionError("convert.files", f"the target wrote a file that it does not list: '{path.name}'")


def _accompanied(artifact: Artifact, files: tuple[FileSection, ...], source: Path, folder: Path) -> Artifact:
    """The artifact with the pipeline's files, which every device stores too."""
    for entry in files:
        place = folder / entry.path
        if place.exists():
            raise ConversionError("convert.files", f"the target wrote a file that the pipeline has: '{entry.path}'")
        place.parent.mkdir(parents=True, exist_ok=True)
        shutil.copyfile(source / entry.path, place)
        check_file(place, entry.digest)
    size = artifact.resources.disk_bytes + sum(entry.size for entry in files)
    resources = msgspec.structs.replace(artifact.resources, disk_bytes=size)
    return msgspec.structs.replace(artifact, files=(*artifact.files, *files), resources=resources)


def _measured(order: Order, made: _Made, data: _Data, runner: Shipped, turns: Turns) -> Conversion:
    artifact = made.artifact
    tested = data.tested
    size = call_size(artifact.signature) or call_size(data.signature)
    source = FromRest(data.source, data.signature, artifact.signature)
    names = {entry.name for entry in artifact.signature.inputs}
    given = tuple(entry for entry in data.signature.inputs if entry.name in names)
    calls = call_size(msgspec.structs.replace(data.signature, inputs=given))
    expected = run_all(source, {entry.name: tested.inputs[entry.name] for entry in given}, calls)
    try:
        got = runner.real_outputs(run_all(runner, runner.stored_inputs(tested.inputs), size))
    except ValueError as error:
        raise ConversionError("convert.run", f"the shipped file can't be run: {error}") from error
    labels = data.evaluation.labels if data.evaluation else None
    stored = Samples(runner.stored_inputs(tested.inputs), None, {}, tested.origin)
    entry, count = write_golden(runner, stored, artifact.signature, made.folder)
    rtol, atol = artifact.golden_tolerance
    return Conversion(
        artifact=artifact,
        passes=made.passes,
        golden=GoldenSection(samples=count, rtol=rtol, atol=atol),
        golden_file=entry,
        baseline=_baseline(order, data),
        parity=ParitySection(
            samples=len(tested),
            inputs=tested.origin,
            fidelity=runner.fidelity,
            outputs=compare_outputs(expected, got),
            worst_layer=artifact.worst_layer,
        ),
        scores=score(order.task, expected, got, labels) if labels is not None else None,
        latency=measure_latency(runner, stored.inputs, artifact.signature, turns),
    )


def _baseline(order: Order, data: _Data) -> BaselineSection | None:
    if data.training is None:
        return None
    only = data.signature.inputs[0].name
    names = data.training.names or ({only: order.names} if order.names else {})
    training = Samples(data.training.inputs, None, names, "data")
    outputs = run_all(data.source, training.inputs, call_size(data.signature))
    return describe_training(training, outputs, order.task)
