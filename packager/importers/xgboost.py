"""XGBoost models, stored as JSON or UBJSON, or as an estimator in a pickle or skops file; the trees are written by us.

The file is parsed and checked here before XGBoost sees it; XGBoost itself is asked for its predictions only.
"""

from __future__ import annotations

import math
import re
from typing import TYPE_CHECKING

import msgspec

from manifests.manifest import TaskSection
from packager.errors import ConversionError
from packager.importers import _xgboost_model as schema
from packager.importers._files import find_file, first_bytes, read_bounded
from packager.importers._forest import write_forest
from packager.importers._graph import INPUT, Graph, tensor_info
from packager.importers._importer import Imported
from packager.importers._links import write_link, write_two_classes
from packager.importers._objects import library_of, read_object
from packager.importers._ubjson import parse_ubjson

if TYPE_CHECKING:
    from collections.abc import Callable
    from pathlib import Path

    import onnx
    import xgboost

    from packager.importers._graph import Sink
    from packager.importers._importer import Arrays, Options

DISTRIBUTIONS = ("xgboost", "onnx")
EXTRA = "boosters"
TOLERANCE = 1e-5
SIZE_LIMIT = 1 << 30
"""Of the file, in bytes: some ten million nodes."""

_NAMESPACES = frozenset({"numpy", "scipy", "sklearn", "xgboost"})
_UBJ = re.compile(rb"\{(?:[iU]\x07|I\x00\x07|l\x00{3}\x07|L\x00{7}\x07)learner\{")
_JSON = re.compile(rb'\s*\{\s*(?:"version"\s*:\s*\[[\d\s,]*\]\s*,\s*)?"learner"\s*:')
_HEAD = 4096


def find_model(path: Path) -> Path | None:
    """The file itself, MLflow's, or the only one in the folder."""
    return find_file(path, ("xgboost", "data"), lambda file: _is_native(file) or library_of(file) == "xgboost")


def read_model(path: Path, options: Options) -> Imported:
    """Float32 of (N, features) in, probabilities or values out."""
    if not _is_native(path):
        return _read_object(path, options)
    data = read_bounded(path, SIZE_LIMIT)
    stored = parse_model(data)
    rounds = best_rounds(stored) if "scikit_learn" in stored.learner.attributes else None
    model, task = convert(stored, rounds, None)
    predict = _prediction(_load(data, path.name), stored, rounds, None)
    return Imported(model, task=task, predict=predict, names=tuple(stored.learner.feature_names), gaps=True)


def _read_object(path: Path, options: Options) -> Imported:
    import xgboost

    found, notes = read_object(path, options, _NAMESPACES)
    if not isinstance(found, (xgboost.Booster, xgboost.XGBModel)):
        raise ConversionError("import.xgboost", f"expected an estimator of XGBoost, got a {type(found).__name__}")
    booster = found if isinstance(found, xgboost.Booster) else found.get_booster()
    stored = parse_model(bytes(booster.save_raw("ubj")))
    rounds, missing = None, None
    if isinstance(found, xgboost.XGBModel):
        rounds, missing = best_rounds(stored), missing_value(found)
    model, task = convert(stored, rounds, missing)
    predict = _prediction(booster, stored, rounds, missing)
    return Imported(
        model, task=task, predict=predict, names=tuple(stored.learner.feature_names), notes=notes, gaps=True
    )


def missing_value(estimator: xgboost.XGBModel) -> float | None:
    """What stands for a value that is not there, beside NaN."""
    missing = estimator.missing
    return None if missing is None or math.isnan(missing) else float(missing)


def parse_model(data: bytes) -> schema.Stored:
    """What is stored.

    Raises:
        ConversionError: it is not what XGBoost writes.
    """
    try:
        if _UBJ.match(data):
            return msgspec.convert(parse_ubjson(data), schema.Stored)
        return msgspec.json.decode(data, type=schema.Stored)
    except (msgspec.MsgspecError, UnicodeDecodeError, RecursionError) as error:
        raise ConversionError("import.xgboost", f"not a model of XGBoost: {error}") from error


def best_rounds(stored: schema.Stored) -> int | None:
    """How many rounds the estimators of XGBoost predict with after an early stop; None: all."""
    best = stored.learner.attributes.get("best_iteration", "")
    return int(best) + 1 if best.isdecimal() and len(best) < 10 else None  # noqa: PLR2004 - what fits 32 bits


def convert(stored: schema.Stored, rounds: int | None, missing: float | None) -> tuple[onnx.ModelProto, TaskSection]:
    """The model of the first `rounds` rounds; `missing` stands for a value that is not there, as NaN does."""
    graph = Graph()
    width, output, labels = _shape(stored)
    predictions = write_predictions(graph, INPUT, stored, rounds, missing)
    model = graph.model([tensor_info(INPUT, schema.features_of(stored))], {output: (predictions, width)})
    return model, TaskSection(kind="classification" if labels else "regression", output=output, labels=labels)


def write_predictions(sink: Sink, source: str, stored: schema.Stored, rounds: int | None, missing: float | None) -> str:
    """The name of the predictions: float32, (N, classes) or (N, outputs); `source` is float32, (N, features)."""
    link = schema.links(stored)[1]
    if missing is not None:
        source = _replaced(sink, source, lambda: sink.add("Equal", [source, _scalar(sink, missing)]), float("nan"))
    if stored.learner.gradient_booster.name == "gblinear":
        linear = schema.linear_of(stored)
        known = _replaced(sink, source, lambda: sink.add("IsNaN", [source]), 0.0)
        sums = sink.add("Gemm", [known, sink.constant(linear.weights), sink.constant(linear.bias)])
    else:
        sums = write_forest(sink, source, schema.forest_of(stored, rounds))
    predictions = write_link(sink, sums, link)
    _, _, labels = _shape(stored)
    return write_two_classes(sink, predictions) if labels and schema.outputs_of(stored) == 1 else predictions


def _shape(stored: schema.Stored) -> tuple[int, str, tuple[str, ...]]:
    """The output's columns, its name, and the labels of a classifier."""
    outputs, objective = schema.outputs_of(stored), stored.learner.objective.name
    if objective.startswith("multi:"):
        return outputs, "probabilities", tuple(map(str, range(outputs)))
    if objective in {"binary:logistic", "binary:hinge"} and outputs == 1:
        return 2, "probabilities", ("0", "1")
    return outputs, "variable", ()


def _replaced(sink: Sink, source: str, where: Callable[[], str], value: float) -> str:
    return sink.add("Where", [where(), _scalar(sink, value), source])


def _scalar(sink: Sink, value: float) -> str:
    import numpy as np

    return sink.constant(np.array(value, dtype=np.float32))


def _load(data: bytes, name: str) -> xgboost.Booster:
    import xgboost

    booster = xgboost.Booster()
    try:
        booster.load_model(bytearray(data))
    except xgboost.core.XGBoostError as error:
        problem = str(error).strip().partition("\n")[0]
        raise ConversionError("import.xgboost", f"'{name}' can't be read by XGBoost: {problem}") from error
    return booster


def _prediction(
    booster: xgboost.Booster, stored: schema.Stored, rounds: int | None, missing: float | None
) -> Callable[[Arrays], Arrays]:
    """What XGBoost itself says."""
    width, output, labels = _shape(stored)
    if stored.learner.objective.name == "multi:softmax":
        booster.set_param({"objective": "multi:softprob"})

    def predict(inputs: Arrays) -> Arrays:
        import numpy as np
        import xgboost

        data = xgboost.DMatrix(
            inputs[INPUT],
            missing=float("nan") if missing is None else missing,
            feature_names=stored.learner.feature_names or None,
            feature_types=stored.learner.feature_types or None,
            enable_categorical=True,
        )
        linear = stored.learner.gradient_booster.name == "gblinear"
        values = booster.predict(data, iteration_range=(0, 0 if linear else rounds or 0))
        columns = np.asarray(values).reshape(len(inputs[INPUT]), -1)
        if labels and columns.shape[1] == 1:
            columns = np.concatenate([1 - columns, columns], axis=1)
        return {output: columns.reshape(-1, width)}

    return predict


def _is_native(path: Path) -> bool:
    head = first_bytes(path, _HEAD)
    return _UBJ.match(head) is not None or _JSON.match(head) is not None
