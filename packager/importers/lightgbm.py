"""LightGBM models, stored as text, or as an estimator in a pickle or skops file; the trees are written by us.

The text is parsed and checked here before LightGBM sees it; LightGBM itself is asked for its predictions only.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

import msgspec

from manifests.manifest import TaskSection
from packager.errors import ConversionError
from packager.importers import _lightgbm_model as schema
from packager.importers._files import find_file, first_bytes, read_bounded
from packager.importers._forest import write_forest
from packager.importers._graph import INPUT, Graph, tensor_info
from packager.importers._importer import Imported
from packager.importers._links import write_link, write_two_classes
from packager.importers._objects import library_of, read_object

if TYPE_CHECKING:
    from collections.abc import Callable
    from pathlib import Path

    import lightgbm
    import onnx

    from packager.importers._graph import Sink
    from packager.importers._importer import Arrays, Options
    from packager.importers._links import Link

DISTRIBUTIONS = ("lightgbm", "onnx")
EXTRA = "boosters"
TOLERANCE = 1e-5
SIZE_LIMIT = 1 << 30
"""Of the file, in bytes: some ten million nodes."""

_NAMESPACES = frozenset({"collections", "lightgbm", "numpy", "scipy", "sklearn"})
_START = b"tree\nversion=v"
_LINKS: dict[str, Link] = {
    "binary": "logistic",
    "cross_entropy": "logistic",
    "cross_entropy_lambda": "softplus",
    "custom": "identity",
    "fair": "identity",
    "gamma": "exponential",
    "huber": "identity",
    "lambdarank": "identity",
    "mape": "identity",
    "multiclass": "softmax",
    "multiclassova": "logistic",
    "poisson": "exponential",
    "quantile": "identity",
    "rank_xendcg": "identity",
    "regression": "identity",
    "regression_l1": "identity",
    "tweedie": "exponential",
}


def find_model(path: Path) -> Path | None:
    """The file itself, MLflow's, or the only one in the folder."""
    return find_file(path, ("lightgbm", "data"), lambda file: _is_native(file) or library_of(file) == "lightgbm")


def read_model(path: Path, options: Options) -> Imported:
    """Float32 of (N, features) in, probabilities or values out."""
    if not _is_native(path):
        return _read_object(path, options)
    text = read_bounded(path, SIZE_LIMIT).decode(errors="replace")
    stored = schema.parse_model(text)
    model, task = convert(stored)
    return Imported(model, task=task, predict=_prediction(_load(text, path.name), task), names=stored.names, gaps=True)


def _read_object(path: Path, options: Options) -> Imported:
    import lightgbm

    found, notes = read_object(path, options, _NAMESPACES)
    booster = found if isinstance(found, lightgbm.Booster) else getattr(found, "booster_", None)
    if not isinstance(booster, lightgbm.Booster):
        raise ConversionError("import.lightgbm", f"expected an estimator of LightGBM, got a {type(found).__name__}")
    stored = schema.parse_model(booster.model_to_string())
    model, task = convert(stored)
    classes = getattr(found, "classes_", ())
    if len(classes) == len(task.labels):
        task = msgspec.structs.replace(task, labels=tuple(map(str, classes)))
    return Imported(model, task=task, predict=_prediction(booster, task), names=stored.names, notes=notes, gaps=True)


def convert(stored: schema.Stored) -> tuple[onnx.ModelProto, TaskSection]:
    """The model."""
    graph = Graph()
    labels = _labels(stored)
    output = "probabilities" if labels else "variable"
    predictions = write_predictions(graph, INPUT, stored)
    model = graph.model([tensor_info(INPUT, stored.forest.features)], {output: (predictions, len(labels) or 1)})
    return model, TaskSection(kind="classification" if labels else "regression", output=output, labels=labels)


def write_predictions(sink: Sink, source: str, stored: schema.Stored) -> str:
    """The name of the predictions: float32, (N, classes) or (N, 1); `source` is float32, (N, features).

    Raises:
        ConversionError: the objective is not known.
    """
    if stored.objective not in _LINKS:
        raise ConversionError(
            "import.lightgbm",
            f"the objective '{stored.objective}' can't be imported: expected one of {', '.join(_LINKS)}",
        )
    sums = write_sums(sink, source, stored)
    if "sigmoid" in stored.parameters:
        sums = sink.add("Mul", [sums, _scalar(sink, _number(stored.parameters["sigmoid"]))])
    predictions = write_link(sink, sums, _link(stored))
    return write_two_classes(sink, predictions) if stored.objective == "binary" else predictions


def write_sums(sink: Sink, source: str, stored: schema.Stored) -> str:
    """The name of the sums of the leaves: float32, (N, classes) or (N, 1)."""
    if stored.zero_missing:
        source = _without_zeros(sink, source, stored)
    return write_forest(sink, source, stored.forest)


def _link(stored: schema.Stored) -> Link:
    return "signed-square" if "sqrt" in stored.parameters else _LINKS[stored.objective]


def _labels(stored: schema.Stored) -> tuple[str, ...]:
    if stored.objective == "binary":
        return ("0", "1")
    return tuple(map(str, range(stored.outputs))) if stored.objective.startswith("multiclass") else ()


def _without_zeros(sink: Sink, source: str, stored: schema.Stored) -> str:
    """NaN for the zeros of the features in which they stand for a value that is missing."""
    import numpy as np

    near = sink.add("LessOrEqual", [sink.add("Abs", [source]), _scalar(sink, schema.ZERO)])
    asked = np.zeros((1, stored.forest.features), dtype=bool)
    asked[0, list(stored.zero_missing)] = True
    absent = sink.add("And", [near, sink.constant(asked)])
    return sink.add("Where", [absent, _scalar(sink, float("nan")), source])


def _scalar(sink: Sink, value: float) -> str:
    import numpy as np

    return sink.constant(np.array(value, dtype=np.float32))


def _number(text: str) -> float:
    try:
        return float(text)
    except ValueError as error:
        raise ConversionError("import.lightgbm", f"not a model of LightGBM: '{text[:20]}' for a number") from error


def _load(text: str, name: str) -> lightgbm.Booster:
    import lightgbm

    try:
        return lightgbm.Booster(model_str=schema.checked_text(text))
    except lightgbm.basic.LightGBMError as error:
        raise ConversionError("import.lightgbm", f"'{name}' can't be read by LightGBM: {error}") from error


def _prediction(booster: lightgbm.Booster, task: TaskSection) -> Callable[[Arrays], Arrays]:
    """What LightGBM itself says."""

    def predict(inputs: Arrays) -> Arrays:
        import numpy as np

        values = np.asarray(booster.predict(inputs[INPUT].astype(np.float64), num_threads=1))
        columns = values.reshape(len(values), -1)
        if len(task.labels) > 1 and columns.shape[1] == 1:
            columns = np.concatenate([1 - columns, columns], axis=1)
        return {task.output: columns}

    return predict


def _is_native(path: Path) -> bool:
    return first_bytes(path, len(_START)) == _START
