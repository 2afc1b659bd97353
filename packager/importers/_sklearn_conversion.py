"""scikit-learn estimators through skl2onnx, with our own converters where its are wrong or missing."""

from __future__ import annotations

import copy
import re
from typing import TYPE_CHECKING, cast

from packager.errors import ConversionError
from packager.importers._graph import ML_DOMAIN, ML_OPSET, OPSET
from packager.importers._sklearn_converters import own_converters, register_foreign
from packager.importers._sklearn_repairs import lines_between_thresholds, refuse_wrong
from packager.importers._sklearn_scope import ScopeSink

if TYPE_CHECKING:
    import onnx
    from sklearn.base import BaseEstimator

    from packager.importers._sklearn_inputs import Inputs

_UNKNOWN = re.compile(r"for type '<class '[\w.]*?(\w+)'>'")
"""How skl2onnx names a class that it does not know."""


def convert_estimator(estimator: BaseEstimator, inputs: Inputs) -> onnx.ModelProto:
    """The estimator as skl2onnx has it, a classifier's probabilities as a matrix.

    Raises:
        ConversionError: it has a part that can't be expressed.
    """
    import skl2onnx
    from skl2onnx.common.exceptions import MissingConverter, MissingShapeCalculator

    estimator = unwrapped(estimator)
    refuse_wrong(estimator)
    register_foreign()
    converters, shapes = own_converters()
    try:
        with lines_between_thresholds(ScopeSink):
            model = skl2onnx.convert_sklearn(
                estimator,
                initial_types=_types(inputs),
                target_opset={"": OPSET, ML_DOMAIN: ML_OPSET, "com.microsoft": 1},
                options=_options(estimator),
                custom_conversion_functions=converters,
                custom_shape_calculators=shapes,
            )
    except (
        MissingConverter, MissingShapeCalculator, NotImplementedError, RuntimeError, ValueError, TypeError, KeyError,
        AttributeError, IndexError, NameError,
    ) as error:  # fmt: skip
        problem = str(error).strip().partition("\n")[0][:300]
        unknown = _UNKNOWN.search(problem)
        if unknown is not None:
            raise ConversionError(
                "import.sklearn",
                f"a {unknown[1]} can't be imported: nobody has written it in ONNX",
                hint="train the model without it",
            ) from error
        raise ConversionError(
            "import.sklearn", f"skl2onnx can't convert a {type(estimator).__name__}: {problem}"
        ) from error
    return cast("onnx.ModelProto", model)


def _types(inputs: Inputs) -> list[tuple[str, object]]:
    from skl2onnx.common.data_types import FloatTensorType, Int64TensorType, StringTensorType

    types = {"float32": FloatTensorType, "int64": Int64TensorType, "string": StringTensorType}
    if inputs.text:
        return [(name, types[kind]([None])) for name, kind in inputs.kinds.items()]
    width = inputs.features if len(inputs.kinds) == 1 else 1
    return [(name, types[kind]([None, width])) for name, kind in inputs.kinds.items()]


def _options(estimator: BaseEstimator) -> dict[object, object] | None:
    from sklearn.base import is_classifier

    plain = type(estimator).__name__ == "DummyClassifier"  # no options for what skl2onnx does not know
    return {id(estimator): {"zipmap": False}} if is_classifier(estimator) and not plain else None


def unwrapped(estimator: BaseEstimator) -> BaseEstimator:
    """The estimator that a search found, or whose threshold was tuned; probabilities are the same."""
    for name in ("best_estimator_", "estimator_", "estimator"):
        inner = getattr(estimator, name, None)
        if inner is not None and type(estimator).__name__ in _WRAPPERS:
            return unwrapped(inner)
    if type(estimator).__name__ in {"RFE", "RFECV"}:
        return _chosen_first(estimator)
    if type(estimator).__name__ != "VotingClassifier":
        return estimator
    import numpy as np

    voting = copy.copy(estimator)
    voting.flatten_transform = False  # which skl2onnx demands, and only `transform` heeds
    if estimator.weights is not None:
        voting.weights = np.array(estimator.weights)  # skl2onnx asks a list for its sum
    return voting


def _chosen_first(elimination: BaseEstimator) -> BaseEstimator:
    """Recursive feature elimination as what it comes to: the features that are kept, and the estimator behind."""
    import numpy as np
    from sklearn.feature_selection import SelectKBest
    from sklearn.pipeline import Pipeline

    kept = SelectKBest(k=int(elimination.n_features_))
    kept.scores_ = np.asarray(elimination.support_, dtype=np.float64)
    kept.n_features_in_ = elimination.n_features_in_
    return Pipeline([("kept", kept), ("estimator", unwrapped(elimination.estimator_))])


_WRAPPERS = frozenset(
    {"FixedThresholdClassifier", "FrozenEstimator", "GridSearchCV", "HalvingGridSearchCV", "HalvingRandomSearchCV",
     "RandomizedSearchCV", "SelfTrainingClassifier", "TunedThresholdClassifierCV"}
)  # fmt: skip
