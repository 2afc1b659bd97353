"""CatBoost models, stored as ``.cbm`` or JSON, or as an estimator in a pickle; the trees are written by us.

CatBoost's own ONNX export gives a classifier's scores as a list of dictionaries and knows no output for other links.
"""

from __future__ import annotations

import re
import tempfile
from pathlib import Path
from typing import TYPE_CHECKING

import msgspec

from manifests.manifest import TaskSection
from packager.errors import ConversionError
from packager.importers import _catboost_model as schema
from packager.importers._files import find_file, first_bytes, read_bounded
from packager.importers._forest import write_forest
from packager.importers._graph import INPUT, Graph, tensor_info
from packager.importers._importer import Imported
from packager.importers._links import write_link, write_two_classes
from packager.importers._objects import library_of, read_object

if TYPE_CHECKING:
    from collections.abc import Callable

    import catboost
    import onnx

    from packager.importers._graph import Sink
    from packager.importers._importer import Arrays, Options
    from packager.importers._links import Link

DISTRIBUTIONS = ("catboost", "onnx")
EXTRA = "boosters"
TOLERANCE = 1e-5
SIZE_LIMIT = 1 << 30
"""Of the file, in bytes."""

_CBM = b"CBM1"
_JSON = re.compile(rb'\s*\{\s*"(?:ctr_data|features_info|model_info|oblivious_trees|scale_and_bias|trees)"\s*:')
_HEAD = 4096
_TWO_CLASSES = frozenset({"CrossEntropy", "Focal", "Logloss"})
_LINKS: dict[str, Link] = {
    "CrossEntropy": "logistic",
    "Focal": "logistic",
    "Logloss": "logistic",
    "MultiClass": "softmax",
    "MultiClassOneVsAll": "logistic",
    "MultiCrossEntropy": "logistic",
    "MultiLogloss": "logistic",
    "Poisson": "exponential",
    "Tweedie": "exponential",
}
"""Of the losses whose predictions are not the sums themselves."""
_OTHER = frozenset({"RMSEWithUncertainty"})


def find_model(path: Path) -> Path | None:
    """The file itself, MLflow's, or the only one in the folder."""
    return find_file(path, ("catboost", "data"), lambda file: _is_native(file) or library_of(file) == "catboost")


def read_model(path: Path, options: Options) -> Imported:
    """Float32 of (N, features) in, probabilities or values out."""
    if not _is_native(path):
        return _read_object(path, options)
    data = read_bounded(path, SIZE_LIMIT)
    if data.startswith(_CBM):
        _check_length(data)
        model = _load(path, "cbm")
        stored = stored_of(model, path.name)
    else:
        stored = parse_model(data)
        convert(stored)  # what is broken is found before CatBoost sees it
        model = _load(path, "json")
    converted, task = convert(stored)
    return Imported(
        converted, task=task, predict=_prediction(model, stored, task), names=schema.names_of(stored), gaps=True
    )


def _read_object(path: Path, options: Options) -> Imported:
    import catboost

    model, notes = read_object(path, options, frozenset({"catboost", "numpy"}))
    if not isinstance(model, catboost.CatBoost):
        raise ConversionError("import.catboost", f"expected an estimator of CatBoost, got a {type(model).__name__}")
    stored = stored_of(model, path.name)
    converted, task = convert(stored)
    predict = _prediction(model, stored, task)
    return Imported(converted, task=task, predict=predict, names=schema.names_of(stored), notes=notes, gaps=True)


def parse_model(data: bytes) -> schema.Stored:
    """What is stored.

    Raises:
        ConversionError: it is not what CatBoost writes.
    """
    try:
        return msgspec.json.decode(data, type=schema.Stored)
    except (msgspec.MsgspecError, UnicodeDecodeError, RecursionError) as error:
        raise ConversionError("import.catboost", f"not a model of CatBoost: {error}") from error


def convert(stored: schema.Stored) -> tuple[onnx.ModelProto, TaskSection]:
    """The model."""
    graph = Graph()
    forest = schema.forest_of(stored)
    labels = _labels(stored, len(forest.base))
    output = "probabilities" if labels else "variable"
    predictions = write_predictions(graph, INPUT, stored)
    width = len(labels) or len(forest.base)
    model = graph.model([tensor_info(INPUT, forest.features)], {output: (predictions, width)})
    return model, TaskSection(kind="classification" if labels else "regression", output=output, labels=labels)


def write_predictions(sink: Sink, source: str, stored: schema.Stored) -> str:
    """The name of the predictions: float32, (N, classes) or (N, outputs); `source` is float32, (N, features).

    Raises:
        ConversionError: the loss has predictions of its own that are not known here.
    """
    loss = stored.model_info.params.loss_function.type
    if loss in _OTHER:
        raise ConversionError("import.catboost", f"a model trained with the loss '{loss}' can't be imported")
    forest = schema.forest_of(stored)
    predictions = write_link(sink, write_forest(sink, source, forest), _LINKS.get(loss, "identity"))
    return write_two_classes(sink, predictions) if loss in _TWO_CLASSES and len(forest.base) == 1 else predictions


def _labels(stored: schema.Stored, outputs: int) -> tuple[str, ...]:
    loss = stored.model_info.params.loss_function.type
    names = tuple(map(str, stored.model_info.class_params.class_names))
    if loss in _TWO_CLASSES and outputs == 1:
        return names or ("0", "1")
    if loss in {"MultiClass", "MultiClassOneVsAll"}:
        return names or tuple(map(str, range(outputs)))
    return ()


def _check_length(data: bytes) -> None:
    """CatBoost reserves what the header says and aborts where it can't."""
    start = len(_CBM) + 4
    length = int.from_bytes(data[len(_CBM) : start], "little")
    if not 0 < length <= len(data) - start:
        raise ConversionError(
            "import.catboost", f"not a model of CatBoost: its header says {length} bytes, there are {len(data) - start}"
        )


def stored_of(model: catboost.CatBoost, name: str) -> schema.Stored:
    """What a model in memory would store; `name` is what errors call it.

    Raises:
        ConversionError: CatBoost can't write it as JSON.
    """
    import catboost

    with tempfile.TemporaryDirectory() as folder:
        written = Path(folder) / "model.json"
        try:
            model.save_model(str(written), format="json")
        except catboost.CatBoostError as error:
            raise _unreadable(name, error) from error
        return parse_model(written.read_bytes())


def _load(path: Path, kind: str) -> catboost.CatBoost:
    import catboost

    try:
        return catboost.CatBoost().load_model(str(path), format=kind)
    except catboost.CatBoostError as error:
        raise _unreadable(path.name, error) from error


def _unreadable(name: str, error: catboost.CatBoostError) -> ConversionError:
    problem = str(error).strip().partition("\n")[0]
    return ConversionError("import.catboost", f"'{name}' can't be read by CatBoost: {problem}")


def _prediction(model: catboost.CatBoost, stored: schema.Stored, task: TaskSection) -> Callable[[Arrays], Arrays]:
    """What CatBoost itself says."""
    link = _LINKS.get(stored.model_info.params.loss_function.type, "identity")
    kind = {"identity": "RawFormulaVal", "exponential": "Exponent"}.get(link, "Probability")

    def predict(inputs: Arrays) -> Arrays:
        import numpy as np

        values = np.asarray(model.predict(inputs[INPUT], prediction_type=kind, thread_count=1))
        return {task.output: values.reshape(len(values), -1)}

    return predict


def _is_native(path: Path) -> bool:
    head = first_bytes(path, _HEAD)
    return head.startswith(_CBM) or _JSON.match(head) is not None
