"""Every estimator that scikit-learn has goes through the import: it predicts the same afterwards, or is refused."""

from __future__ import annotations

import inspect
import warnings
from typing import TYPE_CHECKING, Any, cast

import joblib
import numpy as np
import onnxruntime
import pytest
from sklearn.base import ClusterMixin, is_classifier, is_outlier_detector, is_regressor
from sklearn.linear_model import LogisticRegression, Ridge
from sklearn.naive_bayes import GaussianNB
from sklearn.pipeline import make_pipeline
from sklearn.preprocessing import MinMaxScaler, StandardScaler
from sklearn.utils import all_estimators
from threadpoolctl import threadpool_limits

from packager.errors import ConversionError
from packager.importers._importer import Options
from packager.importers.sklearn import read_model

if TYPE_CHECKING:
    from pathlib import Path

    from sklearn.base import BaseEstimator

RANDOM = np.random.default_rng(0)
ROWS = np.round(RANDOM.normal(size=(90, 5)), 2)
ROWS[:, 4] = RANDOM.integers(0, 4, 90)
COUNTS = np.abs(np.round(ROWS * 2))
GAPS = ROWS.copy()
GAPS[::3, 0] = GAPS[1::4, 2] = np.nan
CLASSES = np.digitize(ROWS[:, 0] + ROWS[:, 1] / 2, [-0.5, 0.5])
VALUES = ROWS[:, 0] * 2 + np.sin(ROWS[:, 1])

ON_COUNTS = {
    "AdditiveChi2Sampler", "BernoulliNB", "CategoricalNB", "ComplementNB", "LatentDirichletAllocation",
    "MiniBatchNMF", "MultinomialNB", "NMF", "OneHotEncoder", "OrdinalEncoder", "SkewedChi2Sampler",
}  # fmt: skip
ON_GAPS = {"KNNImputer", "MissingIndicator", "SimpleImputer"}
OF_TWO = {"FixedThresholdClassifier", "TunedThresholdClassifierCV"}
SEVERAL = {
    "CCA", "ClassifierChain", "MultiOutputClassifier", "MultiOutputRegressor", "MultiTaskElasticNet",
    "MultiTaskElasticNetCV", "MultiTaskLasso", "MultiTaskLassoCV", "PLSCanonical", "RegressorChain",
}  # fmt: skip
GIVEN: dict[str, dict[str, Any]] = {
    "ColumnTransformer": {"transformers": [("a", StandardScaler(), [0, 1]), ("b", "passthrough", [2, 3])]},
    "FeatureUnion": {"transformer_list": [("a", StandardScaler()), ("b", MinMaxScaler())]},
    "FrozenEstimator": {"estimator": LogisticRegression().fit(ROWS, CLASSES)},
    "GaussianRandomProjection": {"n_components": 3},
    "GenericUnivariateSelect": {"mode": "k_best", "param": 2},
    "LocalOutlierFactor": {"novelty": True},
    "Pipeline": {"steps": [("a", LogisticRegression())]},
    "DictionaryLearning": {"max_iter": 2},
    "MiniBatchDictionaryLearning": {"max_iter": 2},
    "SelfTrainingClassifier": {"estimator": LogisticRegression()},
    "SparseCoder": {"dictionary": RANDOM.normal(size=(6, 5))},
    "SparseRandomProjection": {"n_components": 3},
    "VotingClassifier": {"voting": "soft"},
}
NO_MODEL = {
    "ClassicalMDS", "CountVectorizer", "DictVectorizer", "EmpiricalCovariance", "FeatureHasher", "GraphicalLasso",
    "GraphicalLassoCV", "HashingVectorizer", "KernelCenterer", "KernelDensity", "LabelBinarizer", "LabelEncoder",
    "LedoitWolf", "MDS", "MinCovDet", "MultiLabelBinarizer", "NearestNeighbors", "OAS", "PLSSVD", "PatchExtractor",
    "ShrunkCovariance", "SpectralBiclustering", "SpectralCoclustering", "SpectralEmbedding", "TSNE",
    "TfidfTransformer", "TfidfVectorizer",
}  # fmt: skip
"""Which take no table, or predict nothing of one; text has tests of its own."""
NO_PROBABILITIES = dict.fromkeys(
    ("LinearSVC", "NuSVC", "OneVsOneClassifier", "OutputCodeClassifier", "PassiveAggressiveClassifier", "Perceptron",
     "RidgeClassifier", "RidgeClassifierCV", "SGDClassifier", "SVC"),
    "gives no probabilities",
)  # fmt: skip
ONLY_KNOWN_ROWS = dict.fromkeys(
    ("AgglomerativeClustering", "DBSCAN", "HDBSCAN", "OPTICS", "SpectralClustering"),
    "predicts nothing for rows that it was not trained on",
)
REFUSED = {
    **NO_PROBABILITIES,
    **ONLY_KNOWN_ROWS,
    **dict.fromkeys(
        ("BernoulliRBM", "DictionaryLearning", "LatentDirichletAllocation", "MiniBatchDictionaryLearning",
         "MiniBatchNMF", "NMF", "SparseCoder"),
        "each row is solved by rounds, or by chance",
    ),
    **dict.fromkeys(
        ("Isomap", "KNeighborsTransformer", "LocallyLinearEmbedding", "RadiusNeighborsTransformer"),
        "the graph of the training data's neighbours",
    ),
    **dict.fromkeys(("ClassifierChain", "MultiOutputClassifier"), "of 2 outputs can't be imported"),
    **dict.fromkeys(("LabelPropagation", "LabelSpreading"), "training data's own neighbours"),
    **dict.fromkeys(("RadiusNeighborsClassifier", "RadiusNeighborsRegressor"), "no neighbour is near enough"),
    **dict.fromkeys(
        ("CCA", "NearestCentroid", "PLSCanonical", "PolynomialCountSketch", "RegressorChain", "SkewedChi2Sampler",
         "TransformedTargetRegressor"),
        "nobody has written it in ONNX",
    ),
    "RandomTreesEmbedding": "sparse",
    "AdditiveChi2Sampler": "ONNX has no operator",
    "BisectingKMeans": "step by step",
    "FeatureAgglomeration": "predicts nothing",
    "GaussianProcessClassifier": "GaussianProcessClassifier",
}  # fmt: skip
"""By name: what the refusal says."""


def made(name: str, kind: type) -> BaseEstimator:
    """The estimator, small."""
    asked = inspect.signature(kind).parameters
    given = dict(GIVEN.get(name, {}))
    plain = Ridge() if issubclass(kind, _regressors()) else LogisticRegression()
    for key in ("estimator", "base_estimator"):
        if key in asked and asked[key].default is inspect.Parameter.empty:
            given.setdefault(key, plain)
    if "estimators" in asked:
        given.setdefault("estimators", [("a", plain), ("b", Ridge() if isinstance(plain, Ridge) else GaussianNB())])
    for key in ("param_grid", "param_distributions"):
        if key in asked:
            given.setdefault(key, {"fit_intercept": [True, False]})
    if "random_state" in asked:
        given["random_state"] = 0
    if name in {"ExtraTreesClassifier", "ExtraTreesRegressor", "GradientBoostingClassifier", "IsolationForest",
                "GradientBoostingRegressor", "RandomForestClassifier", "RandomForestRegressor"}:  # fmt: skip
        given["n_estimators"] = 5
    return cast("BaseEstimator", kind(**given))


def _regressors() -> tuple[type, ...]:
    from sklearn.base import RegressorMixin

    return (RegressorMixin,)


def fitted(name: str, estimator: BaseEstimator) -> tuple[BaseEstimator, np.ndarray]:
    """The estimator, behind a transformer a classifier, and the rows that it was fitted on."""
    rows = COUNTS if name in ON_COUNTS else GAPS if name in ON_GAPS else ROWS
    if name == "IsotonicRegression":
        rows = rows[:, :1]
    if is_regressor(estimator) or name in {"CCA", "PLSCanonical"}:
        values = np.abs(VALUES) + 0.1 if name in {"GammaRegressor", "PoissonRegressor"} else VALUES
        target = np.stack([values, values[::-1]], axis=1) if name in SEVERAL else values
    elif is_classifier(estimator):
        target = np.stack([CLASSES > 0, CLASSES > 1], axis=1).astype(int) if name in SEVERAL else CLASSES
        target = (CLASSES > 0).astype(int) if name in OF_TWO else target
    elif is_outlier_detector(estimator) or isinstance(estimator, ClusterMixin) or not hasattr(estimator, "transform"):
        target = None
    else:
        return make_pipeline(estimator, LogisticRegression(max_iter=300)).fit(rows, CLASSES), rows
    return estimator.fit(rows, target), rows


@pytest.mark.parametrize(("name", "kind"), all_estimators(), ids=[name for name, _ in all_estimators()])
def test_an_estimator_predicts_what_scikit_learn_does_or_is_refused_by_name(
    tmp_path: Path, name: str, kind: type
) -> None:
    if name in NO_MODEL:
        assert name not in REFUSED
        return
    with warnings.catch_warnings(action="ignore"), threadpool_limits(1):
        estimator, rows = fitted(name, made(name, kind))
        joblib.dump(estimator, tmp_path / "model.joblib")
        if name in REFUSED:
            with pytest.raises(ConversionError, match=REFUSED[name]) as caught:
                read_model(tmp_path / "model.joblib", Options(trusted=True))
            assert name in str(caught.value)
            return
        imported = read_model(tmp_path / "model.joblib", Options(trusted=True))
        asked = rows.astype(np.float32)
        assert imported.predict is not None
        ((output, theirs),) = imported.predict({"x": asked}).items()
    (ours,) = onnxruntime.InferenceSession(imported.model.SerializeToString()).run([output], {"x": asked})
    np.testing.assert_allclose(ours, theirs.reshape(ours.shape), rtol=2e-5, atol=2e-5 * np.nanmax(np.abs(theirs)))
