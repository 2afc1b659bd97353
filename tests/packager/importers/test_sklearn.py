from __future__ import annotations

import pickle
from typing import TYPE_CHECKING

import joblib
import numpy as np
import onnx
import pytest
import skops.io
from sklearn.datasets import load_digits
from sklearn.ensemble import RandomForestClassifier
from sklearn.linear_model import LinearRegression, LogisticRegression
from sklearn.neural_network import MLPClassifier
from sklearn.pipeline import make_pipeline
from sklearn.preprocessing import FunctionTransformer, MinMaxScaler, Normalizer, StandardScaler
from sklearn.svm import LinearSVC

from manifests.manifest import TaskSection
from packager.errors import ConversionError
from packager.hub.form import Form
from packager.hub.graph import all_nodes
from packager.hub.pipeline import prepare
from packager.importers._importer import Options
from packager.importers.detection import detect_framework
from packager.importers.sklearn import read_model
from packager.jobs import importation
from packager.measures.running import SourceModel, run_all
from packager.samples import DataFile, DataFiles
from targets._target import Needs

if TYPE_CHECKING:
    from pathlib import Path

    from sklearn.base import BaseEstimator

X, Y = load_digits(return_X_y=True)
X, Y = X[:400], Y[:400]
STATIC = Form(
    needs=Needs(opset=(13, 23), ir_version=10, static_shapes=True, ml_operators=False), free_dimensions={"*": 1}
)


def cut(values: np.ndarray) -> np.ndarray:
    return values


ESTIMATORS = {
    "network": make_pipeline(StandardScaler(), MLPClassifier((16,), max_iter=15, random_state=0)),
    "logistic": make_pipeline(MinMaxScaler(), Normalizer(), LogisticRegression(max_iter=20)),
    "two-classes": make_pipeline(StandardScaler(), LogisticRegression(max_iter=20)),
    "regressor": make_pipeline(StandardScaler(), LinearRegression()),
    "forest": RandomForestClassifier(5, random_state=0),
}


@pytest.fixture(scope="module")
def estimators() -> dict[str, BaseEstimator]:
    import warnings

    with warnings.catch_warnings(action="ignore"):
        return {name: model.fit(X, Y % 2 if name == "two-classes" else Y) for name, model in ESTIMATORS.items()}


def imported(path: Path, tmp_path: Path) -> importation.Importation:
    np.savez(tmp_path / "data.npz", x=X)
    data = DataFiles(calibration=DataFile(field="data.calibration", path=str(tmp_path / "data.npz"), digest=""))
    (tmp_path / "out").mkdir()
    order = importation.Order(framework="sklearn", path=str(path), trusted=False, task=TaskSection(), data=data)
    return importation.run(order, tmp_path / "out")


@pytest.mark.parametrize("name", ESTIMATORS)
def test_an_imported_model_predicts_what_scikit_learn_does(
    estimators: dict[str, BaseEstimator], tmp_path: Path, name: str
) -> None:
    skops.io.dump(estimators[name], tmp_path / "model.skops")
    assert detect_framework(tmp_path / "model.skops") == ("sklearn", tmp_path / "model.skops")
    found = imported(tmp_path / "model.skops", tmp_path)
    assert found.worst_difference is not None
    assert found.worst_difference < 1e-5
    assert found.samples == 400
    model = onnx.load(tmp_path / "out" / "model.onnx")
    assert [entry.name for entry in model.graph.output] == [found.task.output]
    assert model.graph.input[0].type.tensor_type.shape.dim[0].dim_param == "N"


@pytest.mark.parametrize("name", ["network", "logistic", "two-classes", "regressor"])
def test_in_normal_form_no_ml_operator_remains_and_the_numbers_are_the_same(
    estimators: dict[str, BaseEstimator], tmp_path: Path, name: str
) -> None:
    skops.io.dump(estimators[name], tmp_path / "model.skops")
    imported(tmp_path / "model.skops", tmp_path)
    source = tmp_path / "out" / "model.onnx"
    prepared, passes = prepare(onnx.load(source), STATIC)
    assert "lower_ml" in passes
    assert {node.domain for node in all_nodes(prepared.graph)} <= {"", "ai.onnx"}
    assert [entry.domain for entry in prepared.opset_import] == [""]
    onnx.save(prepared, tmp_path / "prepared.onnx")
    inputs = {"x": np.vstack([X[:20], np.zeros((1, 64))]).astype(np.float32)}
    expected = run_all(SourceModel(source), inputs, None)
    got = run_all(SourceModel(tmp_path / "prepared.onnx"), inputs, 1)
    for output, values in expected.items():
        np.testing.assert_allclose(got[output], values, rtol=1e-5, atol=1e-6)


def test_a_classifiers_labels_are_its_task(estimators: dict[str, BaseEstimator], tmp_path: Path) -> None:
    skops.io.dump(estimators["network"], tmp_path / "model.skops")
    task = imported(tmp_path / "model.skops", tmp_path).task
    assert task == TaskSection(
        kind="classification", output="probabilities", labels=tuple(str(digit) for digit in range(10))
    )


class Payload:
    """A pickle that leaves a trace when it is read."""

    def __init__(self, trace: str) -> None:
        self.trace = trace

    def __reduce__(self) -> tuple[object, tuple[str, str]]:
        return open, (self.trace, "w")


@pytest.mark.parametrize("name", ["model.pkl", "model.joblib", "compressed.joblib"])
def test_a_pickle_is_refused_and_never_read_unless_it_is_trusted(
    estimators: dict[str, BaseEstimator], tmp_path: Path, name: str
) -> None:
    path = tmp_path / name
    if name == "compressed.joblib":
        joblib.dump(Payload(str(tmp_path / "trace")), path, compress=3)
    else:
        path.write_bytes(pickle.dumps(Payload(str(tmp_path / "trace"))))
    framework, found = detect_framework(path)
    assert framework == "sklearn"
    with pytest.raises(ConversionError, match="runs code when it is read") as caught:
        read_model(found, Options(trusted=False))
    assert "trusted = true" in caught.value.hint
    assert not (tmp_path / "trace").exists()
    joblib.dump(estimators["network"], path)
    assert read_model(path, Options(trusted=True)).task.kind == "classification"


def test_a_skops_file_that_names_other_types_is_refused(tmp_path: Path) -> None:
    model = make_pipeline(FunctionTransformer(cut), LogisticRegression(max_iter=20))
    skops.io.dump(model.fit(X[:, :2] > 3, Y), tmp_path / "model.skops")
    with pytest.raises(ConversionError, match=r"names types outside of .*sklearn.*: .*cut"):
        read_model(tmp_path / "model.skops", Options(trusted=False))


def test_a_classifier_without_probabilities_says_what_would_help(tmp_path: Path) -> None:
    skops.io.dump(LinearSVC().fit(X / 16, Y), tmp_path / "model.skops")
    with pytest.raises(ConversionError, match="gives no probabilities") as caught:
        read_model(tmp_path / "model.skops", Options(trusted=False))
    assert "CalibratedClassifierCV" in caught.value.hint


def test_an_estimator_that_predicts_nothing_is_refused(tmp_path: Path) -> None:
    skops.io.dump(StandardScaler().fit(X), tmp_path / "model.skops")
    with pytest.raises(ConversionError, match=r"a StandardScaler predicts nothing$"):
        read_model(tmp_path / "model.skops", Options(trusted=False))


def test_a_model_that_predicts_something_else_once_imported_is_refused(
    estimators: dict[str, BaseEstimator], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    from packager.importers import sklearn

    monkeypatch.setattr(sklearn, "TOLERANCE", 0.0)
    skops.io.dump(estimators["network"], tmp_path / "model.skops")
    with pytest.raises(ConversionError, match="does not predict what sklearn does"):
        imported(tmp_path / "model.skops", tmp_path)
