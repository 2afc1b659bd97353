from __future__ import annotations

import warnings
from typing import TYPE_CHECKING

import catboost
import joblib
import lightgbm
import numpy as np
import pytest
import skops.io
import xgboost
from sklearn.calibration import CalibratedClassifierCV
from sklearn.decomposition import PCA
from sklearn.ensemble import (
    AdaBoostClassifier,
    BaggingClassifier,
    ExtraTreesClassifier,
    ExtraTreesRegressor,
    GradientBoostingClassifier,
    GradientBoostingRegressor,
    HistGradientBoostingClassifier,
    HistGradientBoostingRegressor,
    RandomForestClassifier,
    RandomForestRegressor,
    StackingClassifier,
    VotingClassifier,
    VotingRegressor,
)
from sklearn.impute import KNNImputer, SimpleImputer
from sklearn.linear_model import LinearRegression, LogisticRegression, PoissonRegressor
from sklearn.model_selection import FixedThresholdClassifier, GridSearchCV
from sklearn.multiclass import OneVsRestClassifier
from sklearn.naive_bayes import GaussianNB
from sklearn.neighbors import KNeighborsClassifier
from sklearn.pipeline import make_pipeline
from sklearn.preprocessing import PolynomialFeatures, StandardScaler
from sklearn.svm import SVC, SVR, LinearSVC
from sklearn.tree import DecisionTreeClassifier
from threadpoolctl import threadpool_limits

from manifests.manifest import TaskSection
from packager.errors import ConversionError
from packager.importers._importer import Options
from packager.importers.sklearn import read_model
from packager.jobs import importation
from packager.samples import DataFiles
from tests.packager.importers.ensembles import questions, target, training_rows, worst_difference

if TYPE_CHECKING:
    from pathlib import Path

    from sklearn.base import BaseEstimator

    from packager.importers._importer import Imported

GAPS, WHOLE = training_rows(missing=True), training_rows(missing=False)
VALUES = target(WHOLE)
POSITIVE = np.exp(VALUES / 4)
TWO = (VALUES.mean() < VALUES).astype(int)
THREE = np.digitize(VALUES, [0.5, 1.5])
WORDS = np.array(["ash", "birch", "cedar"])[THREE]
XGB = {"n_estimators": 4, "n_jobs": 1}
LGBM = {"n_estimators": 4, "n_jobs": 1, "verbose": -1}
CAT = {"iterations": 4, "thread_count": 1, "verbose": 0, "allow_writing_files": False}
HGB = {"max_iter": 4, "random_state": 0}

CASES: dict[str, tuple[BaseEstimator, np.ndarray]] = {
    "gradient boosting": (GradientBoostingClassifier(n_estimators=4), THREE),
    "gradient boosting, two classes": (GradientBoostingClassifier(n_estimators=4), TWO),
    "gradient boosting, values": (GradientBoostingRegressor(n_estimators=4), VALUES),
    "histogram": (HistGradientBoostingClassifier(**HGB), THREE),
    "histogram, words": (HistGradientBoostingClassifier(**HGB), WORDS),
    "histogram, two classes": (HistGradientBoostingClassifier(**HGB), TWO),
    "histogram, values": (HistGradientBoostingRegressor(**HGB), VALUES),
    "histogram, poisson": (HistGradientBoostingRegressor(loss="poisson", **HGB), POSITIVE),
    "histogram, gamma": (HistGradientBoostingRegressor(loss="gamma", **HGB), POSITIVE),
    "histogram, categories": (HistGradientBoostingClassifier(categorical_features=[5], **HGB), THREE),
    "forest": (RandomForestClassifier(5, random_state=0), THREE),
    "forest, values": (RandomForestRegressor(5, random_state=0), VALUES),
    "forest, two values": (RandomForestRegressor(5, random_state=0), np.stack([VALUES, -VALUES], axis=1)),
    "extra trees": (ExtraTreesClassifier(5, random_state=0), WORDS),
    "extra trees, values": (ExtraTreesRegressor(5, random_state=0), VALUES),
    "tree": (DecisionTreeClassifier(random_state=0), THREE),
    "adaboost": (AdaBoostClassifier(n_estimators=4, random_state=0), THREE),
    "bagging": (BaggingClassifier(n_estimators=3, random_state=0), WORDS),
    "soft vote": (
        VotingClassifier(
            [("a", GaussianNB()), ("b", HistGradientBoostingClassifier(**HGB))], voting="soft", weights=[1, 3]
        ),
        THREE,
    ),
    "vote of values": (VotingRegressor([("a", LinearRegression()), ("b", RandomForestRegressor(3))]), VALUES),
    "stack": (
        StackingClassifier([("a", GaussianNB()), ("b", HistGradientBoostingClassifier(**HGB))], cv=2), WORDS,
    ),
    "one against the rest": (OneVsRestClassifier(DecisionTreeClassifier(max_depth=3)), THREE),
    "calibrated margins": (CalibratedClassifierCV(LinearSVC(), cv=2), THREE),
    "calibrated margins, two classes": (CalibratedClassifierCV(LinearSVC(), cv=2, ensemble=False), TWO),
    "calibrated kernel": (CalibratedClassifierCV(SVC(), cv=2), THREE),
    "calibrated by steps": (CalibratedClassifierCV(LinearSVC(), cv=2, method="isotonic"), THREE),
    "calibrated histogram": (CalibratedClassifierCV(HistGradientBoostingClassifier(**HGB), cv=2), TWO),
    "calibrated LightGBM": (CalibratedClassifierCV(lightgbm.LGBMClassifier(**LGBM), cv=2), THREE),
    "kernel values": (SVR(), VALUES),
    "poisson": (PoissonRegressor(), POSITIVE),
    "neighbours": (KNeighborsClassifier(), THREE),
    "a search": (GridSearchCV(RandomForestClassifier(3, random_state=0), {"max_depth": [2, 3]}, cv=2), THREE),
    "a threshold": (FixedThresholdClassifier(LogisticRegression(), threshold=0.3), TWO),
    "squares and components": (make_pipeline(PolynomialFeatures(2), PCA(4), LogisticRegression(max_iter=500)), THREE),
    "scaled XGBoost": (make_pipeline(StandardScaler(), xgboost.XGBRegressor(**XGB)), VALUES),
    "scaled LightGBM": (make_pipeline(StandardScaler(), lightgbm.LGBMClassifier(**LGBM)), WORDS),
    "scaled CatBoost": (make_pipeline(StandardScaler(), catboost.CatBoostClassifier(**CAT)), THREE),
    "vote with XGBoost": (
        VotingClassifier([("a", GaussianNB()), ("b", xgboost.XGBClassifier(**XGB))], voting="soft"), THREE,
    ),
    "filled": (make_pipeline(SimpleImputer(), LogisticRegression(max_iter=500)), THREE),
    "gaps, forest": (RandomForestClassifier(5, random_state=0), THREE),
    "gaps, tree": (DecisionTreeClassifier(random_state=0), TWO),
    "gaps, histogram": (HistGradientBoostingClassifier(**HGB), THREE),
    "gaps, histogram, categories": (HistGradientBoostingRegressor(categorical_features=[5], **HGB), VALUES),
    "gaps, marked": (make_pipeline(SimpleImputer(add_indicator=True), LogisticRegression(max_iter=500)), THREE),
    "gaps, filled by neighbours": (make_pipeline(KNNImputer(), LogisticRegression(max_iter=500)), THREE),
    "filled gaps": (make_pipeline(SimpleImputer(strategy="median"), LogisticRegression(max_iter=500)), THREE),
}  # fmt: skip


def read(estimator: BaseEstimator, rows: np.ndarray, values: np.ndarray, path: Path) -> Imported:
    with warnings.catch_warnings(action="ignore"), threadpool_limits(1):
        joblib.dump(estimator.fit(rows, values), path)
        return read_model(path, Options(trusted=True))


@pytest.mark.filterwarnings("ignore:X does not have valid feature names:UserWarning")
@pytest.mark.parametrize("name", CASES)
def test_an_imported_estimator_predicts_what_scikit_learn_does(tmp_path: Path, name: str) -> None:
    estimator, values = CASES[name]
    gaps = "gaps" in name
    imported = read(estimator, GAPS if gaps else WHOLE, values, tmp_path / "model.joblib")
    asked = questions(imported.model, infinite=False)
    unfit = np.isinf(asked) if gaps else ~np.isfinite(asked)  # what scikit-learn itself refuses
    steep = name == "calibrated by steps"  # a score's rounding counts where a line is steep
    assert worst_difference(imported, asked[~unfit.any(axis=1)]) < (1e-4 if steep else 1e-5)
    if values is WORDS:
        assert imported.task.labels == ("ash", "birch", "cedar")


@pytest.mark.parametrize(
    ("estimator", "named"),
    [
        (make_pipeline(KNNImputer(weights="distance"), GaussianNB()), "a KNNImputer can't be imported: weights="),
        (KNeighborsClassifier(weights="distance"), "weights='distance'"),
        (CalibratedClassifierCV(LinearSVC(), method="temperature"), "temperature"),
        (LinearSVC(), "gives no probabilities"),
    ],
)
def test_what_would_come_out_wrong_is_refused_by_name(tmp_path: Path, estimator: BaseEstimator, named: str) -> None:
    with pytest.raises(ConversionError, match=named):
        read(estimator, WHOLE, THREE, tmp_path / "model.joblib")


@pytest.mark.parametrize("gaps", [True, False])
def test_generated_samples_have_gaps_where_the_estimator_has_an_answer_to_them(tmp_path: Path, *, gaps: bool) -> None:
    steps = [SimpleImputer(add_indicator=True)] if gaps else []
    model = make_pipeline(*steps, LogisticRegression(max_iter=500)).fit(GAPS if gaps else WHOLE, THREE)
    skops.io.dump(model, tmp_path / "model.skops")
    order = importation.Order(
        framework="sklearn",
        path=str(tmp_path / "model.skops"),
        trusted=False,
        task=TaskSection(),
        data=DataFiles(),
    )
    assert read_model(tmp_path / "model.skops", Options()).gaps == gaps
    found = importation.run(order, tmp_path)
    assert found.inputs == "generated"
    assert found.worst_difference is not None
    assert found.worst_difference < 1e-5


@pytest.mark.parametrize(
    ("estimator", "framework", "labels"),
    [
        (xgboost.XGBClassifier(missing=-2.0, **XGB), "xgboost", ("0", "1", "2")),
        (lightgbm.LGBMClassifier(**LGBM), "lightgbm", ("ash", "birch", "cedar")),
        (catboost.CatBoostClassifier(**CAT), "catboost", ("ash", "birch", "cedar")),
    ],
)
def test_a_boosters_estimator_is_read_by_its_own_importer(
    tmp_path: Path, estimator: BaseEstimator, framework: str, labels: tuple[str, ...]
) -> None:
    import importlib

    from packager.importers.detection import detect_framework

    path = tmp_path / "model.pkl"
    joblib.dump(estimator.fit(GAPS, THREE if framework == "xgboost" else WORDS), path)
    assert detect_framework(path) == (framework, path)
    importer = importlib.import_module(f"packager.importers.{framework}")
    with pytest.raises(ConversionError, match="runs code when it is read"):
        importer.read_model(path, Options())
    skops.io.dump(estimator, tmp_path / "model.skops")
    assert detect_framework(tmp_path / "model.skops")[0] == framework
    assert importer.read_model(tmp_path / "model.skops", Options()).task.labels == labels
    imported = importer.read_model(path, Options(trusted=True))
    assert imported.task.labels == labels
    assert "trusted pickle" in imported.notes[0]
    rows = questions(imported.model, infinite=False)
    assert worst_difference(imported, rows) < 2e-6
    assert imported.predict is not None
    ours = imported.predict({"x": GAPS.astype(np.float32)})["probabilities"]
    np.testing.assert_allclose(ours, estimator.predict_proba(GAPS.astype(np.float32)), rtol=1e-5, atol=1e-7)
