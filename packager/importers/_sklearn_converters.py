"""Our own converters for skl2onnx: what each writes, and the shapes of its outputs."""

from __future__ import annotations

from typing import TYPE_CHECKING, cast

from packager.importers._graph import OPSET
from packager.importers._sklearn_codes import write_filled, write_gaps, write_marks, write_means, write_neighbours
from packager.importers._sklearn_forests import write_trees
from packager.importers._sklearn_groups import (
    write_density,
    write_envelope,
    write_isolation,
    write_margin,
    write_nearest,
)
from packager.importers._sklearn_maps import (
    write_bins,
    write_choice,
    write_constant,
    write_fourier,
    write_kernel,
    write_linear,
    write_quantiles,
    write_splines,
)
from packager.importers._sklearn_repairs import write_scaler, write_single_isotonic
from packager.importers._sklearn_scope import ScopeSink
from packager.importers._sklearn_text import write_vectorizer
from packager.importers._sklearn_trees import write_foreign_trees, write_histogram_trees, write_scores

if TYPE_CHECKING:
    from collections.abc import Callable
    from typing import TypeAlias

    from skl2onnx.common._container import ModelComponentContainer
    from skl2onnx.common._topology import Operator, Scope, Variable
    from sklearn.base import BaseEstimator

    from packager.importers._graph import Sink

    Write: TypeAlias = Callable[[Sink, str, BaseEstimator], str]
    WriteBoth: TypeAlias = Callable[[Sink, str, BaseEstimator], tuple[str, str]]
    Converter: TypeAlias = Callable[[Scope, Operator, ModelComponentContainer], None]
    Shapes: TypeAlias = Callable[[Operator], None]

_FOREIGN = {
    "xgboost": ("XGBClassifier", "XGBRegressor", "XGBRFClassifier", "XGBRFRegressor", "XGBRanker"),
    "lightgbm": ("LGBMClassifier", "LGBMRegressor", "LGBMRanker"),
    "catboost": ("CatBoostClassifier", "CatBoostRegressor", "CatBoostRanker"),
}


def own_converters() -> tuple[dict[type, Converter], dict[type, Shapes]]:
    """By class: our converters, and what they say of the shapes of their outputs."""
    import sklearn.cluster
    import sklearn.covariance
    import sklearn.ensemble
    import sklearn.impute
    import sklearn.linear_model
    import sklearn.neighbors
    import sklearn.preprocessing

    groups: dict[type, WriteBoth] = {
        sklearn.cluster.AffinityPropagation: write_nearest,
        sklearn.cluster.Birch: write_nearest,
        sklearn.cluster.KMeans: write_nearest,
        sklearn.cluster.MeanShift: write_nearest,
        sklearn.cluster.MiniBatchKMeans: write_nearest,
        sklearn.covariance.EllipticEnvelope: write_envelope,
        sklearn.ensemble.IsolationForest: write_isolation,
        sklearn.linear_model.SGDOneClassSVM: write_margin,
        sklearn.neighbors.LocalOutlierFactor: write_density,
    }
    over_numbers: dict[type, Write] = {
        sklearn.impute.SimpleImputer: write_filled,
        sklearn.preprocessing.OneHotEncoder: write_marks,
        sklearn.preprocessing.TargetEncoder: write_means,
    }
    writers = _estimators() | _transformers()
    converters = {kind: _converter(write) for kind, write in writers.items()}
    converters |= {kind: _group_converter(write) for kind, write in groups.items()}
    converters |= {kind: _numbers_converter(write) for kind, write in over_numbers.items()}
    shapes: dict[type, Shapes] = dict.fromkeys(writers, _shape)
    return converters, shapes | dict.fromkeys(groups, _group_shape) | dict.fromkeys(over_numbers, _numbers_shape)


def _estimators() -> dict[type, Write]:
    from sklearn import dummy, ensemble, isotonic, kernel_ridge, tree

    forests = (
        ensemble.ExtraTreesClassifier,
        ensemble.ExtraTreesRegressor,
        ensemble.RandomForestClassifier,
        ensemble.RandomForestRegressor,
        tree.DecisionTreeClassifier,
        tree.DecisionTreeRegressor,
        tree.ExtraTreeClassifier,
        tree.ExtraTreeRegressor,
    )
    return {
        dummy.DummyClassifier: write_constant,
        dummy.DummyRegressor: write_constant,
        ensemble.HistGradientBoostingClassifier: write_histogram_trees,
        ensemble.HistGradientBoostingRegressor: write_histogram_trees,
        isotonic.IsotonicRegression: write_single_isotonic,
        kernel_ridge.KernelRidge: write_kernel,
        **dict.fromkeys(forests, write_trees),
    }


def _transformers() -> dict[type, Write]:
    from sklearn import decomposition, feature_selection, impute, kernel_approximation, preprocessing, random_projection
    from sklearn.feature_extraction import text

    selectors = (
        feature_selection.GenericUnivariateSelect,
        feature_selection.SelectFdr,
        feature_selection.SelectFpr,
        feature_selection.SelectFromModel,
        feature_selection.SelectFwe,
        feature_selection.SelectKBest,
        feature_selection.SelectPercentile,
        feature_selection.SequentialFeatureSelector,
        feature_selection.VarianceThreshold,
    )
    maps = (
        decomposition.FactorAnalysis,
        decomposition.FastICA,
        decomposition.MiniBatchSparsePCA,
        decomposition.SparsePCA,
        random_projection.GaussianRandomProjection,
        random_projection.SparseRandomProjection,
    )
    return {
        impute.KNNImputer: write_neighbours,
        impute.MissingIndicator: write_gaps,
        kernel_approximation.Nystroem: write_kernel,
        kernel_approximation.RBFSampler: write_fourier,
        preprocessing.KBinsDiscretizer: write_bins,
        preprocessing.QuantileTransformer: write_quantiles,
        preprocessing.SplineTransformer: write_splines,
        preprocessing.StandardScaler: write_scaler,
        text.CountVectorizer: write_vectorizer,
        text.TfidfVectorizer: write_vectorizer,
        **dict.fromkeys(maps, write_linear),
        **dict.fromkeys(selectors, write_choice),
    }


def register_foreign() -> None:
    """Tell skl2onnx of the boosting libraries that are loaded, as they are where an estimator of theirs is in memory.

    Within another estimator it finds only what is registered.
    """
    import sys

    import skl2onnx

    options = {"nocl": [True, False], "raw_scores": [True, False], "zipmap": [True, False, "columns"]}
    for library, names in _FOREIGN.items():
        for name in names if library in sys.modules else ():
            skl2onnx.update_registered_converter(
                getattr(sys.modules[library], name),
                f"packtrain{name}",
                _shape,
                _converter(write_foreign_trees),
                overwrite=True,
                options=options if name.endswith("Classifier") else None,
                parser=_parse_classifier if name.endswith("Classifier") else None,
            )


def _parse_classifier(
    scope: Scope, estimator: BaseEstimator, inputs: list[Variable], custom_parsers: object = None
) -> list[Variable]:
    """The two outputs of a classifier, also of CatBoost's, which scikit-learn's classes do not say to be one."""
    from skl2onnx._supported_operators import get_model_alias
    from skl2onnx.common.data_types import FloatTensorType, Int64TensorType

    del custom_parsers
    operator = scope.declare_local_operator(get_model_alias(type(estimator)), estimator)
    operator.inputs = inputs
    operator.outputs.append(scope.declare_local_variable("label", Int64TensorType()))
    operator.outputs.append(scope.declare_local_variable("probabilities", FloatTensorType()))
    return cast("list[Variable]", operator.outputs)


def _impute(scope: Scope, operator: Operator, container: ModelComponentContainer, otherwise: Converter) -> None:
    """A SimpleImputer; a tensor of text has no missing values that it could fill."""
    from skl2onnx.common.data_types import StringTensorType

    absent = operator.raw_operator.missing_values
    if isinstance(operator.inputs[0].type, StringTensorType) and not isinstance(absent, str):
        sink = ScopeSink(scope, container)
        parts = [one.full_name for one in operator.inputs]
        joined = sink.add("Concat", parts, {"axis": 1})
        container.add_node("Identity", [joined], [operator.outputs[0].full_name], op_version=OPSET)
    else:
        otherwise(scope, operator, container)


def _converter(write: Write) -> Converter:
    def convert(scope: Scope, operator: Operator, container: ModelComponentContainer) -> None:
        import numpy as np

        sink = ScopeSink(scope, container)
        estimator = operator.raw_operator
        source = operator.inputs[0].full_name
        words = write is write_vectorizer
        if len(operator.inputs) > 1:
            parts = [_floats(sink, one.full_name) for one in operator.inputs]
            source = sink.add("Concat", parts, {"axis": 1})
        elif not words:
            source = _floats(sink, source)
        scores = hasattr(estimator, "decision_function") and len(operator.outputs) > 1
        scores = scores and scope.get_options(estimator, {"raw_scores": False}, fail=False)["raw_scores"]
        written = (write_scores if scores else write)(sink, source, estimator)
        if len(operator.outputs) == 1:
            container.add_node("Identity", [written], [operator.outputs[0].full_name], op_version=OPSET)
            return
        classes = np.asarray(estimator.classes_)
        classes = classes.astype(str if classes.dtype.kind in "OUS" else np.int64).reshape(-1)
        best = sink.add("ArgMax", [written], {"axis": 1, "keepdims": 0})
        labels = sink.add("Gather", [sink.constant(classes), best], {"axis": 0})
        for value, output in zip((labels, written), operator.outputs, strict=True):
            container.add_node("Identity", [value], [output.full_name], op_version=OPSET)

    return convert


def _group_converter(write: WriteBoth) -> Converter:
    def convert(scope: Scope, operator: Operator, container: ModelComponentContainer) -> None:
        sink = ScopeSink(scope, container)
        source = sink.add("Concat", [_floats(sink, one.full_name) for one in operator.inputs], {"axis": 1})
        written = write(sink, source, operator.raw_operator)
        for value, output in zip(written, operator.outputs, strict=False):
            container.add_node("Identity", [value], [output.full_name], op_version=OPSET)

    return convert


def _numbers_converter(write: Write) -> Converter:
    """Ours where there are numbers alone, and skl2onnx's else."""
    ours = _converter(write)

    def convert(scope: Scope, operator: Operator, container: ModelComponentContainer) -> None:
        from skl2onnx.common._registration import get_converter
        from skl2onnx.operator_converters.imputer_op import convert_sklearn_imputer

        if _is_ours(operator):
            ours(scope, operator, container)
        elif hasattr(operator.raw_operator, "statistics_"):
            _impute(scope, operator, container, convert_sklearn_imputer)
        else:
            get_converter(operator.type)(scope, operator, container)

    return convert


def _numbers_shape(operator: Operator) -> None:
    from skl2onnx.common._registration import get_shape_calculator

    if _is_ours(operator):
        _shape(operator)
    else:
        get_shape_calculator(operator.type)(operator)


def _is_ours(operator: Operator) -> bool:
    """Whether it takes numbers alone; of imputers, only those that also say what was missing."""
    from skl2onnx.common.data_types import DoubleTensorType, FloatTensorType

    estimator = operator.raw_operator
    if hasattr(estimator, "statistics_") and not estimator.add_indicator:
        return False
    return all(isinstance(one.type, (DoubleTensorType, FloatTensorType)) for one in operator.inputs)


def _group_shape(operator: Operator) -> None:
    from skl2onnx.common.data_types import FloatTensorType, Int64TensorType

    rows = operator.inputs[0].get_first_dimension()
    estimator = operator.raw_operator
    centers = getattr(estimator, "subcluster_centers_", getattr(estimator, "cluster_centers_", None))
    operator.outputs[0].type = Int64TensorType([rows])
    operator.outputs[1].type = FloatTensorType([rows, 1 if centers is None else len(centers)])


def _floats(sink: Sink, source: str) -> str:
    return sink.add("Cast", [source], {"to": 1})


def _shape(operator: Operator) -> None:
    from skl2onnx.common.data_types import FloatTensorType, Int64TensorType, StringTensorType

    estimator = operator.raw_operator
    rows = operator.inputs[0].get_first_dimension()
    if hasattr(estimator, "vocabulary_"):
        operator.outputs[0].type = FloatTensorType([rows, len(estimator.vocabulary_)])
        return
    if len(operator.outputs) == 1:
        operator.outputs[0].type = FloatTensorType([rows, _width(estimator)])
        return
    classes = estimator.classes_
    words = getattr(classes, "dtype", None) is not None and classes.dtype.kind in "OUS"
    operator.outputs[0].type = (StringTensorType if words else Int64TensorType)([rows])
    operator.outputs[1].type = FloatTensorType([rows, len(classes)])


def _width(estimator: BaseEstimator) -> int:
    """How many columns an estimator of one output makes."""
    if hasattr(estimator, "dual_coef_"):
        return 1 if estimator.dual_coef_.ndim == 1 else int(estimator.dual_coef_.shape[1])
    if hasattr(estimator, "get_feature_names_out") and hasattr(estimator, "transform"):
        return len(estimator.get_feature_names_out())
    return int(getattr(estimator, "n_outputs_", 1))
