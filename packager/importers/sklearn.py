"""scikit-learn models, stored by skops (read safely) or as pickles (refused unless trusted), through skl2onnx."""

from __future__ import annotations

from typing import TYPE_CHECKING

from manifests.manifest import TaskSection
from packager.errors import ConversionError
from packager.hub.graph import keep_outputs
from packager.importers._files import find_file, first_bytes
from packager.importers._framework import first_line
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
PARTS = ("catboost", "lightgbm", "xgboost")
TOLERANCE = 1e-3

_NAMESPACES = frozenset({"catboost", "collections", "lightgbm", "numpy", "scipy", "sklearn", "xgboost"})
"""Whose classes a skops file may name: their constructors run no code of the file."""
_OTHERS = frozenset({"", "catboost", "keras", "lightgbm", "tensorflow", "torch", "xgboost"})
"""Libraries whose objects other importers read."""
_LABEL = "label"
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
    task, output, method = _task(estimator)
    model = convert_estimator(by_place(estimator, inputs.names), inputs)
    _keep_output(model, output)
    _name_batch(model)

    def ask(arrays: Arrays) -> Arrays:
        import numpy as np

        samples = inputs.samples(arrays)
        if output == _LABEL:
            # KMeans wants the type that its centres have.
            wide = samples.astype(np.float64) if isinstance(samples, np.ndarray) else samples
            return {output: np.asarray(getattr(estimator, method)(wide)).astype(np.int64)}
        values = np.asarray(getattr(estimator, method)(samples))
        return {output: values if values.ndim > 1 else values.reshape(-1, 1)}

    def predict(arrays: Arrays) -> Arrays:
        try:
            return ask(arrays)
        except ValueError as error:
            raise ConversionError(
                "import.samples",
                f"the {type(estimator).__name__} refuses samples: {first_line(error)}",
                hint="give rows such as it was trained on: evaluation or calibration in [data]",
            ) from error

    names = inputs.names if len(inputs.kinds) == 1 else ()
    return Imported(model, task=task, predict=predict, names=names, notes=notes, gaps=_takes_gaps(ask, inputs))


def _task(estimator: BaseEstimator) -> tuple[TaskSection, str, str]:
    """The task, the output of skl2onnx that holds it, and the estimator's method that gives the same."""
    from sklearn.base import is_classifier, is_clusterer, is_outlier_detector, is_regressor

    kind = type(estimator).__name__
    if is_classifier(estimator):
        labels = getattr(estimator, "classes_", ())
        if isinstance(labels, list) and labels and hasattr(labels[0], "shape"):
            raise ConversionError(
                "import.sklearn",
                f"a {kind} of {len(labels)} outputs can't be imported: expected one",
                hint="train one classifier for each of them",
            )
        if not hasattr(estimator, "predict_proba"):
            raise ConversionError(
                "import.sklearn",
                f"a {kind} gives no probabilities",
                hint="wrap it in CalibratedClassifierCV, or fit it with probability=True",
            )
        output = "probabilities"
        task = TaskSection(kind="classification", output=output, labels=tuple(str(label) for label in labels))
        return task, output, "predict_proba"
    if is_regressor(estimator):
        return TaskSection(kind="regression", output="variable"), "variable", "predict"
    if is_outlier_detector(estimator) and hasattr(estimator, "decision_function"):
        return TaskSection(), "scores", "decision_function"
    if hasattr(estimator, "predict_proba"):
        mixture = estimator[-1] if hasattr(estimator, "steps") else estimator
        parts = tuple(str(part) for part in range(len(mixture.weights_)))
        task = TaskSection(kind="classification", output="probabilities", labels=parts)
        return task, "probabilities", "predict_proba"
    if is_clusterer(estimator) and hasattr(estimator, "predict"):
        return TaskSection(), _LABEL, "predict"
    of = " for rows that it was not trained on" if hasattr(estimator, "fit_predict") else ""
    raise ConversionError(
        "import.sklearn",
        f"a {kind} predicts nothing{of}",
        hint="give what predicts: a classifier, a regressor, clusters with centres, or outliers with novelty=True",
    )


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
        if not entry.type.tensor_type.shape.dim:
            raise ConversionError("import.sklearn", f"skl2onnx says nothing of the shape of '{entry.name}'")
        entry.type.tensor_type.shape.dim[0].dim_param = BATCH
    model.graph.name = "model"
    model.doc_string = ""
    for node in model.graph.node:
        node.doc_string = ""


def _is_ours(path: Path) -> bool:
    return library_of(path) not in _OTHERS and first_bytes(path, len(_TORCH)) != _TORCH
