"""scikit-learn estimators through skl2onnx, with our own converters where its are wrong or missing."""

from __future__ import annotations

import copy
from typing import TYPE_CHECKING, cast

from packager.errors import ConversionError
from packager.importers._graph import ML_DOMAIN, ML_OPSET, OPSET
from packager.importers._sklearn_forests import write_trees
from packager.importers._sklearn_repairs import lines_between_thresholds, refuse_wrong, write_scaler
from packager.importers._sklearn_text import write_vectorizer
from packager.importers._sklearn_trees import write_foreign_trees, write_histogram_trees, write_scores

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping, Sequence
    from typing import TypeAlias

    import numpy as np
    import onnx
    from numpy.typing import NDArray
    from skl2onnx.common._container import ModelComponentContainer
    from skl2onnx.common._topology import Operator, Scope, Variable
    from sklearn.base import BaseEstimator

    from packager.importers._graph import Attribute, Sink
    from packager.importers._sklearn_inputs import Inputs

    Write: TypeAlias = Callable[[Sink, str, BaseEstimator], str]
    Converter: TypeAlias = Callable[[Scope, Operator, ModelComponentContainer], None]
    Shapes: TypeAlias = Callable[[Operator], None]

_FOREIGN = {
    "xgboost": ("XGBClassifier", "XGBRegressor", "XGBRFClassifier", "XGBRFRegressor", "XGBRanker"),
    "lightgbm": ("LGBMClassifier", "LGBMRegressor", "LGBMRanker"),
    "catboost": ("CatBoostClassifier", "CatBoostRegressor", "CatBoostRanker"),
}


class _ScopeSink:
    """What is added goes into skl2onnx's container."""

    def __init__(self, scope: Scope, container: ModelComponentContainer) -> None:
        self._scope = scope
        self._container = container

    def add(self, operator: str, inputs: Sequence[str], attributes: Mapping[str, Attribute] | None = None) -> str:
        domain, _, kind = operator.rpartition(".")
        name = cast("str", self._scope.get_unique_variable_name(kind))
        self._container.add_node(
            kind,
            list(inputs),
            [name],
            op_domain=domain,
            op_version={"": OPSET, ML_DOMAIN: ML_OPSET}.get(domain, 1),
            name=self._scope.get_unique_operator_name(kind),
            **(attributes or {}),
        )
        return name

    def constant(self, array: NDArray[np.generic]) -> str:
        import onnx

        name = cast("str", self._scope.get_unique_variable_name("constant"))
        kind = onnx.helper.np_dtype_to_tensor_dtype(array.dtype)
        self._container.add_initializer(name, kind, list(array.shape), array.reshape(-1).tolist())
        return name


def convert_estimator(estimator: BaseEstimator, inputs: Inputs) -> onnx.ModelProto:
    """The estimator as skl2onnx has it, a classifier's probabilities as a matrix.

    Raises:
        ConversionError: it has a part that can't be expressed.
    """
    import skl2onnx
    from skl2onnx.common.exceptions import MissingConverter, MissingShapeCalculator

    estimator = unwrapped(estimator)
    refuse_wrong(estimator)
    _register_foreign()
    converters, shapes = _own()
    try:
        with lines_between_thresholds(_ScopeSink):
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

    return {id(estimator): {"zipmap": False}} if is_classifier(estimator) else None


def unwrapped(estimator: BaseEstimator) -> BaseEstimator:
    """The estimator that a search found, or whose threshold was tuned; probabilities are the same."""
    for name in ("best_estimator_", "estimator_"):
        inner = getattr(estimator, name, None)
        if inner is not None and type(estimator).__name__ in _WRAPPERS:
            return unwrapped(inner)
    if type(estimator).__name__ != "VotingClassifier":
        return estimator
    import numpy as np

    voting = copy.copy(estimator)
    voting.flatten_transform = False  # which skl2onnx demands, and only `transform` heeds
    if estimator.weights is not None:
        voting.weights = np.array(estimator.weights)  # skl2onnx asks a list for its sum
    return voting


_WRAPPERS = frozenset(
    {"FixedThresholdClassifier", "GridSearchCV", "HalvingGridSearchCV", "HalvingRandomSearchCV", "RandomizedSearchCV",
     "TunedThresholdClassifierCV"}
)  # fmt: skip


def _own() -> tuple[dict[type, Converter], dict[type, Shapes]]:
    """By class: our converters, and what they say of the shapes of their outputs."""
    from sklearn.ensemble import (
        ExtraTreesClassifier,
        ExtraTreesRegressor,
        HistGradientBoostingClassifier,
        HistGradientBoostingRegressor,
        RandomForestClassifier,
        RandomForestRegressor,
    )
    from sklearn.feature_extraction.text import CountVectorizer, TfidfVectorizer
    from sklearn.impute import SimpleImputer
    from sklearn.preprocessing import StandardScaler
    from sklearn.tree import DecisionTreeClassifier, DecisionTreeRegressor, ExtraTreeClassifier, ExtraTreeRegressor

    writers: dict[type, Write] = {
        HistGradientBoostingClassifier: write_histogram_trees,
        HistGradientBoostingRegressor: write_histogram_trees,
        CountVectorizer: write_vectorizer,
        TfidfVectorizer: write_vectorizer,
        StandardScaler: write_scaler,
        **dict.fromkeys(
            (
                DecisionTreeClassifier, DecisionTreeRegressor, ExtraTreeClassifier, ExtraTreeRegressor,
                ExtraTreesClassifier, ExtraTreesRegressor, RandomForestClassifier, RandomForestRegressor,
            ),
            write_trees,
        ),
    }  # fmt: skip
    converters = {kind: _converter(write) for kind, write in writers.items()}
    return {**converters, SimpleImputer: _impute}, dict.fromkeys(writers, _shape)


def _register_foreign() -> None:
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


def _impute(scope: Scope, operator: Operator, container: ModelComponentContainer) -> None:
    """A SimpleImputer; a tensor of text has no missing values that it could fill."""
    from skl2onnx.common.data_types import StringTensorType
    from skl2onnx.operator_converters.imputer_op import convert_sklearn_imputer

    absent = operator.raw_operator.missing_values
    if isinstance(operator.inputs[0].type, StringTensorType) and not isinstance(absent, str):
        sink = _ScopeSink(scope, container)
        parts = [one.full_name for one in operator.inputs]
        joined = sink.add("Concat", parts, {"axis": 1})
        container.add_node("Identity", [joined], [operator.outputs[0].full_name], op_version=OPSET)
    else:
        convert_sklearn_imputer(scope, operator, container)


def _converter(write: Write) -> Converter:
    def convert(scope: Scope, operator: Operator, container: ModelComponentContainer) -> None:
        import numpy as np

        sink = _ScopeSink(scope, container)
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
        width = estimator.n_features_in_ if hasattr(estimator, "transform") else getattr(estimator, "n_outputs_", 1)
        operator.outputs[0].type = FloatTensorType([rows, width])
        return
    classes = estimator.classes_
    words = getattr(classes, "dtype", None) is not None and classes.dtype.kind in "OUS"
    operator.outputs[0].type = (StringTensorType if words else Int64TensorType)([rows])
    operator.outputs[1].type = FloatTensorType([rows, len(classes)])
