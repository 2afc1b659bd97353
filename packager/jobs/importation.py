"""Read a model of some framework as ONNX, and compare the two."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Literal

import msgspec

from manifests.manifest import TaskSection
from packager.errors import ConversionError
from packager.importers._importer import Options
from packager.importers.detection import open_importer
from packager.measures.parity import compare_outputs
from packager.measures.running import SourceModel, call_size, run_all
from packager.samples import DataFiles, generate_samples, read_samples
from packager.signatures import model_signature
from packager.tasks import complete_task

if TYPE_CHECKING:
    from manifests.manifest import SignatureSection
    from packager.importers._importer import Imported
    from packager.samples import Samples

MODEL = "model.onnx"
_MOST_SAMPLES = 1000
"""Enough to see a wrong operator; sklearn's own predictions of many trees are slow."""


class Order(msgspec.Struct, frozen=True, kw_only=True):
    """What to import."""

    framework: str
    path: str
    trusted: bool
    task: TaskSection
    """What ``pack.toml`` says of the task; unknown: the importer's word counts."""
    data: DataFiles


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
    imported = importer.read_model(Path(order.path), Options(trusted=order.trusted))
    signature = model_signature(imported.model)
    if not signature.inputs or not signature.outputs:
        raise ConversionError("import.signature", "the model has no input or no output")
    task, notes = complete_task(order.task, imported.task, signature)
    target = out / MODEL
    target.write_bytes(imported.model.SerializeToString(deterministic=True))
    samples = _samples(order.data, signature, imported.names).head(_MOST_SAMPLES)
    worst = _compare(imported, target, samples, signature)
    if worst is not None and worst > importer.TOLERANCE:
        raise ConversionError(
            "import.difference",
            f"the imported model does not predict what {order.framework} does: "
            f"expected a difference of at most {importer.TOLERANCE:g}, got {worst:g}",
        )
    return Importation(
        framework=order.framework,
        task=task,
        notes=notes,
        names=imported.names,
        samples=len(samples),
        inputs=samples.origin,
        worst_difference=worst,
    )


def _samples(data: DataFiles, signature: SignatureSection, names: tuple[str, ...]) -> Samples:
    file = data.evaluation or data.calibration or data.training
    return read_samples(file, data, signature, names=names) if file else generate_samples(signature)


def _compare(imported: Imported, path: Path, samples: Samples, signature: SignatureSection) -> float | None:
    ours = run_all(SourceModel(path), samples.inputs, call_size(signature))
    if imported.predict is None:
        return None
    theirs = imported.predict(samples.inputs)
    return max(entry.max_relative for entry in compare_outputs(theirs, ours))
