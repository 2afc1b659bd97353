"""Express operators of ``ai.onnx.ml`` by tensor operators; a target names what is left."""

from __future__ import annotations

from typing import TYPE_CHECKING

from packager.errors import ConversionError
from packager.hub.graph import ML_DOMAIN, all_nodes, domain_of, import_default, node_name, opset, tidy_opsets
from packager.hub.lowering import lower, operator_of
from packager.hub.ml import features, linear, svm, trees
from packager.hub.opsets.conversion import convert_version
from packager.hub.writer import Unsupported
from targets._target import Finding

if TYPE_CHECKING:
    import onnx

    from packager.hub.form import Form
    from packager.hub.lowering import Lowering
    from packager.hub.writer import Writer

_LOWEST = 12
"""The opset from which on the comparisons and gathers are there that trees need."""


def requires(form: Form) -> bool:
    """Where operators of ``ai.onnx.ml`` may not remain."""
    return not form.needs.ml_operators


def run(model: onnx.ModelProto, form: Form) -> onnx.ModelProto:
    """The model with tensor operators for those of ``ai.onnx.ml`` that have a lowering.

    Raises:
        ConversionError: the model's operators are too old for it, and can't be brought to newer ones.
    """
    lowest, highest = form.needs.opset
    import_default(model, max(lowest, _LOWEST))
    if not _remaining(model):
        return model
    if opset(model) < _LOWEST <= highest:
        model = convert_version(model, _LOWEST)
    if opset(model) >= _LOWEST:
        lower(model, _chosen)
    tidy_opsets(model)
    return model


def ensures(model: onnx.ModelProto, form: Form) -> list[str]:
    """Nothing: what its function declined remains, and the target names it."""
    del model, form
    return []


def declined(model: onnx.ModelProto) -> list[Finding]:
    """The nodes of ``ai.onnx.ml`` that can't be lowered, each with the reason; the model stays as it is."""
    import onnx

    copy = onnx.ModelProto()
    copy.CopyFrom(model)
    import_default(copy, _LOWEST)
    if opset(copy) < _LOWEST:
        try:
            copy = convert_version(copy, _LOWEST)
        except ConversionError as error:
            return [
                Finding(node=node_name(node), operator=operator_of(node), reason=str(error))
                for node in all_nodes(copy.graph)
                if _chosen(node)
            ]
    return lower(copy, _chosen)


def _remaining(model: onnx.ModelProto) -> bool:
    return any(domain_of(node.domain) == ML_DOMAIN for node in all_nodes(model.graph))


def _chosen(node: onnx.NodeProto) -> Lowering | None:
    return _LOWERINGS.get(node.op_type, _decline) if domain_of(node.domain) == ML_DOMAIN else None


def _decline(writer: Writer, node: onnx.NodeProto) -> None:
    del writer
    raise Unsupported(_REASONS.get(node.op_type, "there is no such operator that we know"))


_REASONS = {
    "CastMap": "its input is a dictionary, which no tensor operator reads",
    "DictVectorizer": "its input is a dictionary, which no tensor operator reads",
    "ZipMap": "its output is a list of dictionaries, which no tensor operator writes",
}
_LOWERINGS: dict[str, Lowering] = {
    "ArrayFeatureExtractor": features.array_feature_extractor,
    "Binarizer": features.binarizer,
    "CategoryMapper": features.category_mapper,
    "FeatureVectorizer": features.feature_vectorizer,
    "Imputer": features.imputer,
    "LabelEncoder": features.label_encoder,
    "LinearClassifier": linear.classifier,
    "LinearRegressor": linear.regressor,
    "Normalizer": features.normalizer,
    "OneHotEncoder": features.one_hot_encoder,
    "SVMClassifier": svm.classifier,
    "SVMRegressor": svm.regressor,
    "Scaler": features.scaler,
    "TreeEnsemble": trees.tree_ensemble,
    "TreeEnsembleClassifier": trees.classifier,
    "TreeEnsembleRegressor": trees.regressor,
}
