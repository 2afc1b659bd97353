"""scikit-learn models, stored by skops (read safely) or as pickles (refused unless trusted), through skl2onnx."""

from __future__ import annotations

from typing import TYPE_CHECKING

from manifests.manifest import TaskSection
from packager.errors import ConversionError
from packager.hub.graph import keep_outputs
from packager.importers._files import find_file, first_bytes
from packager.importers._graph import BATCH, INPUT
from packager.importers._importer import Imported
from packager.importers._objects import library_of, read_object
from packager.importers._sklearn_conversion import convert_estimator
from packager.importers._sklearn_inputs import by_place, inputs_of
from packager.importers._sklearn_soundness import check_soundness

if TYPE_CHECKING:
    from collections.abc import Callable
    from pathlib import Path

    import onnx
    from sklearn.base import BaseEstimator

    from packager.importers._importer import Arrays, Options
    from packager.importers._sklearn_inputs import Inputs

DISTRIBUTIONS = ("scikit-learn", "skl2onnx", "skops")
EXTRA = "sklearn"
TOLERANCE = 1e-3

_NAMESPACES = frozenset({"catboost", "collections", "lightgbm", "numpy", "scipy", "sklearn", "xgboost"})
"""Whose classes a skops file may name: their constructors run no code of the file."""
_OTHERS = frozenset({"", "catboost", "keras", "lightgbm", "tensorflow", "torch", "xgboost"})
"""Libraries whose objects other importers read."""
_TORCH = b"\x80\x02\x8a\x0al\xfc\x9cF\xf9 j\xa8P\x19."
"""How PyTorch's old files start: a pickle of a number, and others behind it."""


def find_model(path: Path) -> Path | None:
    """The file itself, MLflow's, or the only one in the folder."""
    return find_file(path, ("sklearn", "pickled_model"), _is_ours)


def read_model(path: Path, options: Options) -> Imported:
    """The estimator as ONNX: a free batch in, probabilities (classifier) or the value (regressor) out.

    Numbers come as one float32 input of (N, features), documents as text of (N,), and columns of several kinds as an
    input each.
    """
    from sklearn.base import BaseEstimator

    estimator, notes = read_object(path, options, _NAMESPACES)
    if not isinstance(estimator, BaseEstimator):
        raise ConversionError("import.sklearn", f"expected an estimator, got a {type(estimator).__name__}")
    check_soundness(estimator)
    inputs = inputs_of(estimator)
    task, output = _task(estimator)
    model = convert_estimator(by_place(estimator, inputs.names), inputs)
    _keep_output(model, output)
    _name_batch(model)

    def predict(arrays: Arrays) -> Arrays:
        import numpy as np

        method = estimator.predict_proba if task.kind == "classification" else estimator.predict
        values = np.asarray(method(inputs.samples(arrays)))
        return {output: values if values.ndim > 1 else values.reshape(-1, 1)}

    names = inputs.names if len(inputs.kinds) == 1 else ()
    gaps = _takes_gaps(predict, inputs)
    return Imported(model, task=task, predict=predict, names=names, notes=notes, gaps=gaps)


def _task(estimator: BaseEstimator) -> tuple[TaskSection, str]:
    """The task, and the output of skl2onnx that holds it."""
    from sklearn.base import is_classifier, is_regressor

    if is_classifier(estimator):
        labels = getattr(estimator, "classes_", ())
        if not hasattr(estimator, "predict_proba"):
            raise ConversionError(
                "import.sklearn",
                f"a {type(estimator).__name__} gives no probabilities",
                hint="wrap it in CalibratedClassifierCV, or fit it with probability=True",
            )
        output = "probabilities"
        return TaskSection(kind="classification", output=output, labels=tuple(str(label) for label in labels)), output
    if is_regressor(estimator):
        return TaskSection(kind="regression", output="variable"), "variable"
    raise ConversionError("import.sklearn", f"expected a classifier or a regressor, got a {type(estimator).__name__}")


def _takes_gaps(predict: Callable[[Arrays], Arrays], inputs: Inputs) -> bool:
    """Whether the estimator takes numbers alone and has an answer to missing ones; scikit-learn says no by an error."""
    import numpy as np

    if list(inputs.kinds.items()) != [(INPUT, "float32")]:
        return False
    row = np.zeros((2, inputs.features), dtype=np.float32)
    row[0] = np.nan
    try:
        predict({INPUT: row})
    except ValueError:
        return False
    return True


def _keep_output(model: onnx.ModelProto, output: str) -> None:
    """The output of that name alone, or else the first, under that name: skl2onnx has others for some regressors."""
    import onnx

    names = [entry.name for entry in model.graph.output]
    keep_outputs(model, [output if output in names else names[0]])
    (entry,) = model.graph.output
    if entry.name != output:
        model.graph.node.append(onnx.helper.make_node("Identity", [entry.name], [output], name=output))
        entry.name = output


def _name_batch(model: onnx.ModelProto) -> None:
    """Call the free first dimension of inputs and outputs by one name, and forget names that change from run to run."""
    for entry in [*model.graph.input, *model.graph.output]:
        entry.type.tensor_type.shape.dim[0].dim_param = BATCH
    model.graph.name = "model"
    model.doc_string = ""
    for node in model.graph.node:
        node.doc_string = ""


def _is_ours(path: Path) -> bool:
    return library_of(path) not in _OTHERS and first_bytes(path, len(_TORCH)) != _TORCH
