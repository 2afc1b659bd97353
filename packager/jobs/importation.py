"""Read a model of some framework as ONNX, and compare the two."""

from __future__ import annotations

import shutil
from pathlib import Path
from typing import TYPE_CHECKING, Literal

import msgspec

from manifests.digests import check_file
from manifests.manifest import FileSection, TaskSection
from manifests.pipeline import Declaration
from packager.declarations import Declared
from packager.errors import ConversionError
from packager.importers._foreign import foreign_code
from packager.importers._importer import Options
from packager.importers._operators import unknown_operators
from packager.importers.detection import open_importer
from packager.intake import FUSED_TOLERANCE, Taken
from packager.measures.native import open_source
from packager.measures.parity import compare_outputs
from packager.measures.running import call_size, run_all
from packager.pipeline import complete_labels
from packager.samples import DataFiles, generate_samples, read_samples, with_gaps
from packager.signatures import model_signature
from packager.tasks import complete_task

if TYPE_CHECKING:
    import onnx

    from manifests.manifest import SignatureSection
    from packager.samples import Samples

MODEL = "model.onnx"
_MOST_NODES = 20
"""Nodes that an error lists; the rest is counted."""
_MOST_SAMPLES = 1000
"""Enough to see a wrong operator; sklearn's own predictions of many trees are slow."""


class Order(msgspec.Struct, frozen=True, kw_only=True):
    """What to import."""

    framework: str
    path: str
    trusted: bool
    signature: str = ""
    """Which of the model's signatures; empty: the default one."""
    task: TaskSection
    """What ``pack.toml`` says of the task; unknown: the importer's word counts."""
    data: DataFiles
    declared: Declared = Declared()
    compared: bool = True
    """Whether the model is run and compared; else it is only read."""


class Importation(msgspec.Struct, frozen=True, kw_only=True):
    """A model read as ``model.onnx``."""

    framework: str
    task: TaskSection
    names: tuple[str, ...]
    """Of the features, where the framework knows them."""
    samples: int
    inputs: Literal["data", "generated"]
    worst_difference: float | None
    """Largest difference to the framework's own predictions, relative to the largest of them; None: it is ONNX."""
    declaration: Declaration = Declaration()
    """What is known of the model beside its graph; the model's metadata has it too."""
    files: tuple[FileSection, ...] = ()
    """Of the pipeline; they stand beside the model."""
    notes: tuple[str, ...] = ()
    """What the user should know, such as which output was taken for the scores."""


def runs_foreign_code(order: Order) -> bool:
    """Whether the user said that such code may run."""
    return order.trusted


def run(order: Order, out: Path) -> Importation:
    """The model below `out`, once its predictions are seen to be the framework's.

    Raises:
        ConversionError: it can't be read, or predicts something else.
        ConfigError: the task does not fit the model, or the data can't be used.
    """
    importer = open_importer(order.framework)
    with foreign_code(order.framework, Path(order.path).name):
        imported = importer.read_model(Path(order.path), _options(order))
    taken = Taken(imported, order.declared)
    signature = model_signature(taken.model)
    if not signature.inputs or not signature.outputs:
        raise ConversionError("import.signature", "the model has no input or no output")
    task, notes = complete_task(order.task, imported.task, signature)
    task = complete_labels(task, taken.declaration.pipeline, order.declared)
    target = out / MODEL
    target.write_bytes(taken.model.SerializeToString(deterministic=True))
    read = Importation(
        framework=order.framework,
        task=task,
        notes=(*imported.notes, *notes),
        names=imported.names,
        samples=0,
        inputs="generated",
        worst_difference=None,
        declaration=taken.declaration,
        files=_attach(order.declared, out),
    )
    if not order.compared:
        return read
    _refuse_unknown(taken.model)
    samples = _samples(order.data, signature, imported.names).head(_MOST_SAMPLES)
    if imported.gaps and samples.origin == "generated":
        samples = with_gaps(samples)
    with foreign_code(order.framework, Path(order.path).name):
        worst = _compare(taken, target, samples, signature)
    tolerance = max(importer.TOLERANCE, FUSED_TOLERANCE if taken.fused else 0.0)
    if worst is not None and worst > tolerance:
        fused = " after the declared preprocessing" if taken.fused else ""
        raise ConversionError(
            "import.difference",
            f"the imported model does not predict what {order.framework} does{fused}: "
            f"expected a difference of at most {tolerance:g}, got {worst:g}",
        )
    return msgspec.structs.replace(read, samples=len(samples), inputs=samples.origin, worst_difference=worst)


def _refuse_unknown(model: onnx.ModelProto) -> None:
    unknown = unknown_operators(model)
    if not unknown:
        return
    named = [f"{entry.node} ({entry.operator}): {entry.reason}" for entry in unknown[:_MOST_NODES]]
    if len(unknown) > _MOST_NODES:
        named.append(f"and {len(unknown) - _MOST_NODES} more")
    raise ConversionError(
        "import.operator",
        "the model has operators that can't be run:\n  " + "\n  ".join(named),
        hint="export the model without custom operators",
    )


def _attach(declared: Declared, out: Path) -> tuple[FileSection, ...]:
    """Copy the pipeline's files below `out`; what was digested must be what is copied."""
    files = []
    for entry in declared.files:
        place = out / entry.place
        place.parent.mkdir(exist_ok=True)
        shutil.copyfile(entry.path, place)
        check_file(place, entry.digest)
        media_type = "application/octet-stream"
        if entry.role == "labels":
            media_type = "application/json" if entry.place.endswith(".json") else "text/plain"
        files.append(
            FileSection(
                path=entry.place,
                role=entry.role,
                digest=entry.digest,
                size=place.stat().st_size,
                media_type=media_type,
            )
        )
    return tuple(files)


def _options(order: Order) -> Options:
    declared = order.declared.inputs
    return Options(
        trusted=order.trusted,
        signature=order.signature,
        shapes={name: entry.shape for name, entry in declared.items() if entry.shape is not None},
        dtypes={name: entry.dtype for name, entry in declared.items() if entry.dtype is not None},
    )


def _samples(data: DataFiles, signature: SignatureSection, names: tuple[str, ...]) -> Samples:
    file = data.evaluation or data.calibration or data.training
    return read_samples(file, data, signature, names=names) if file else generate_samples(signature)


def _compare(taken: Taken, path: Path, samples: Samples, signature: SignatureSection) -> float | None:
    theirs = taken.expected(samples.inputs, path.parent)
    if theirs is None:
        return None
    ours = run_all(open_source(path), samples.inputs, call_size(signature))
    return max(entry.max_relative for entry in compare_outputs(theirs, ours))
