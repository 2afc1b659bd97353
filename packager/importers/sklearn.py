"""scikit-learn models, stored by skops (read safely) or as pickles (refused unless trusted), through skl2onnx."""

from __future__ import annotations

import zipfile
from typing import TYPE_CHECKING, cast

from manifests.manifest import TaskSection
from packager.errors import ConversionError
from packager.hub.graph import keep_outputs
from packager.importers._importer import Imported
from packager.importers._mlmodel import flavor_file

if TYPE_CHECKING:
    from pathlib import Path

    import onnx
    from sklearn.base import BaseEstimator

    from packager.importers._importer import Arrays, Options

DISTRIBUTIONS = ("scikit-learn", "skl2onnx", "skops")
EXTRA = "sklearn"
TOLERANCE = 1e-3
OPSET = 19
"""Within 13 to 21, which skl2onnx writes and every target's passes bring to the target's range."""

_INPUT = "x"
_BATCH = "N"
_NAMESPACES = frozenset({"numpy", "scipy", "sklearn"})
"""Whose classes a skops file may name: their constructors run no code of the file."""
_PICKLE = 0x80
_PICKLE_PROTOCOLS = frozenset({2, 3, 4, 5})
_ZLIB = 0x78
"""First byte of joblib's default compression."""


def find_model(path: Path) -> Path | None:
    """The file itself, MLflow's, or the only one in the folder."""
    if path.is_dir():
        flavored = flavor_file(path, "sklearn", "pickled_model")
        if flavored is not None:
            return flavored
        inside = [entry for entry in sorted(path.iterdir()) if entry.is_file() and _looks_like_ours(entry)]
        return inside[0] if len(inside) == 1 else None
    return path if _looks_like_ours(path) else None


def read_model(path: Path, options: Options) -> Imported:
    """The estimator as ONNX: float32 in, free batch, probabilities (classifier) or the value (regressor) out."""
    estimator = _read_skops(path) if zipfile.is_zipfile(path) else _read_pickle(path, trusted=options.trusted)
    features = getattr(estimator, "n_features_in_", None)
    if not isinstance(features, int):
        raise ConversionError(
            "import.sklearn",
            f"a {type(estimator).__name__} does not say how many features it takes",
            hint="fit it first",
        )
    task, output = _task(estimator)
    model = _convert(estimator, features, classifier=task.kind == "classification")
    keep_outputs(model, [output])
    _name_batch(model)

    def predict(inputs: Arrays) -> Arrays:
        import numpy as np

        # A feature name would make sklearn ask for a data frame; what it was trained on does not matter here.
        method = estimator.predict_proba if task.kind == "classification" else estimator.predict
        values = np.asarray(method(inputs[_INPUT]))
        return {output: values if values.ndim > 1 else values.reshape(-1, 1)}

    names = getattr(estimator, "feature_names_in_", ())
    return Imported(model, task=task, predict=predict, names=tuple(str(name) for name in names))


def _read_skops(path: Path) -> BaseEstimator:
    import skops.io
    from skops.io.exceptions import UntrustedTypesFoundException

    unknown = cast("list[str]", skops.io.get_untrusted_types(file=path))
    foreign = sorted(name for name in unknown if name.partition(".")[0] not in _NAMESPACES)
    if foreign:
        raise ConversionError(
            "import.untrusted",
            f"'{path.name}' names types outside of scikit-learn, numpy and scipy: {', '.join(foreign)}",
            hint="store the model with those libraries' estimators alone, or as ONNX",
        )
    try:
        return cast("BaseEstimator", skops.io.load(path, trusted=unknown))
    except (UntrustedTypesFoundException, ValueError, TypeError, KeyError, ImportError, AttributeError) as error:
        raise ConversionError("import.skops", f"'{path.name}' can't be read by skops: {error}") from error


def _read_pickle(path: Path, *, trusted: bool) -> BaseEstimator:
    if not trusted:
        raise ConversionError(
            "import.pickle",
            f"'{path.name}' is a pickle, which runs code when it is read",
            hint="store it with skops.io.dump; or, where you know who made it, set trusted = true in [model]",
        )
    import joblib

    return cast("BaseEstimator", joblib.load(path))


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


def _convert(estimator: BaseEstimator, features: int, *, classifier: bool) -> onnx.ModelProto:
    import skl2onnx
    from skl2onnx.common.data_types import FloatTensorType
    from skl2onnx.common.exceptions import MissingConverter, MissingShapeCalculator

    options = {id(estimator): {"zipmap": False}} if classifier else None
    try:
        model = skl2onnx.to_onnx(
            estimator,
            initial_types=[(_INPUT, FloatTensorType([None, features]))],
            target_opset={"": OPSET, "ai.onnx.ml": 3},
            options=options,
        )
    except (
        MissingConverter,
        MissingShapeCalculator,
        NotImplementedError,
        RuntimeError,
        ValueError,
        TypeError,
    ) as error:
        problem = str(error).strip().partition("\n")[0][:300]
        raise ConversionError(
            "import.sklearn", f"skl2onnx can't convert a {type(estimator).__name__}: {problem}"
        ) from error
    return cast("onnx.ModelProto", model)


def _name_batch(model: onnx.ModelProto) -> None:
    """Call the free first dimension of inputs and outputs by one name, and forget names that change from run to run."""
    for entry in [*model.graph.input, *model.graph.output]:
        entry.type.tensor_type.shape.dim[0].dim_param = _BATCH
    model.graph.name = "model"
    model.doc_string = ""
    for node in model.graph.node:
        node.doc_string = ""


def _looks_like_ours(path: Path) -> bool:
    with path.open("rb") as stream:
        head = stream.read(2)
    if head == b"PK":
        try:
            with zipfile.ZipFile(path) as archive:
                return "schema.json" in archive.namelist()
        except zipfile.BadZipFile:
            return False
    pickled = len(head) == 2 and head[0] == _PICKLE and head[1] in _PICKLE_PROTOCOLS  # noqa: PLR2004 - the length just read
    return pickled or (head[:1] == bytes([_ZLIB]) and path.suffix in {".joblib", ".pkl", ".pickle"})
