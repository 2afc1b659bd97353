"""scikit-learn estimators through skl2onnx, with our own converters where its are wrong or missing."""

from __future__ import annotations

from typing import TYPE_CHECKING, cast

from packager.errors import ConversionError
from packager.importers._graph import ML_DOMAIN, ML_OPSET, OPSET
from packager.importers._sklearn_text import write_vectorizer
from packager.importers._sklearn_trees import write_foreign_trees, write_histogram_trees

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping, Sequence
    from typing import TypeAlias

    import numpy as np
    import onnx
    from numpy.typing import NDArray
    from skl2onnx.common._container import ModelComponentContainer
    from skl2onnx.common._topology import Operator, Scope
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

    converters, shapes = _own(estimator)
    try:
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
        AttributeError, IndexError,
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


def _own(estimator: BaseEstimator) -> tuple[dict[type, Converter], dict[type, Shapes]]:
    """By class: our converters, and what they say of the shapes of their outputs."""
    from sklearn.ensemble import HistGradientBoostingClassifier, HistGradientBoostingRegressor
    from sklearn.feature_extraction.text import CountVectorizer, HashingVectorizer, TfidfVectorizer

    del estimator
    writers: dict[type, Write] = {
        HistGradientBoostingClassifier: write_histogram_trees,
        HistGradientBoostingRegressor: write_histogram_trees,
        CountVectorizer: write_vectorizer,
        HashingVectorizer: write_vectorizer,
        TfidfVectorizer: write_vectorizer,
        **dict.fromkeys(_foreign_classes(), write_foreign_trees),
    }
    return (
        {kind: _converter(write) for kind, write in writers.items()},
        dict.fromkeys(writers, _shape),
    )


def _foreign_classes() -> list[type]:
    """Of the boosting libraries that are loaded, as they are where an estimator of theirs is in memory."""
    import sys

    return [
        getattr(sys.modules[library], name)
        for library, names in _FOREIGN.items()
        if library in sys.modules
        for name in names
    ]


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
        written = write(sink, source, estimator)
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
        operator.outputs[0].type = FloatTensorType([rows, 1])
        return
    classes = estimator.classes_
    words = getattr(classes, "dtype", None) is not None and classes.dtype.kind in "OUS"
    operator.outputs[0].type = (StringTensorType if words else Int64TensorType)([rows])
    operator.outputs[1].type = FloatTensorType([rows, len(classes)])
