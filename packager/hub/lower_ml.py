"""Express operators of ``ai.onnx.ml`` by tensor operators; a target names what is left."""

from __future__ import annotations

from typing import TYPE_CHECKING

from packager.errors import ConversionError
from packager.hub.graph import (
    ML_DOMAIN,
    all_nodes,
    copied,
    domain_of,
    import_default,
    node_name,
    opset,
    replace_nodes,
    tidy_opsets,
    value_names,
)
from packager.hub.ml import features, linear, svm, trees
from packager.hub.ml._writer import Unsupported, Writer
from packager.hub.opsets.conversion import convert_version
from targets._target import Finding

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping
    from typing import TypeAlias

    import onnx

    from packager.hub.form import Form

    Lowering: TypeAlias = Callable[[Writer, onnx.NodeProto], None]

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
        # A lowered node tells what those after it get, which no inference knows of operators of this domain.
        left = _remaining(model) + 1
        while 0 < _remaining(model) < left:
            left = _remaining(model)
            _lower(model)
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
            return [_finding(node, str(error)) for node in copy.graph.node if domain_of(node.domain) == ML_DOMAIN]
    found: list[Finding] = []
    left = _remaining(copy) + 1
    while 0 < _remaining(copy) < left:
        left = _remaining(copy)
        found = _lower(copy)
    return found


def _remaining(model: onnx.ModelProto) -> int:
    return sum(domain_of(node.domain) == ML_DOMAIN for node in model.graph.node)


def _lower(model: onnx.ModelProto) -> list[Finding]:
    """Lower what can be lowered now; what remains is returned."""
    graph = model.graph
    read = frozenset(
        {name for node in all_nodes(graph) for name in node.input} | {entry.name for entry in graph.output}
    )
    kinds = _kinds(model)
    taken = value_names(graph)
    nodes: list[onnx.NodeProto] = []
    found = []
    for node in graph.node:
        if domain_of(node.domain) != ML_DOMAIN:
            nodes.append(copied(node))
            continue
        writer = Writer(_prefix(node, taken), opset(model), read, kinds)
        try:
            _LOWERINGS.get(node.op_type, _decline)(writer, node)
        except Unsupported as reason:
            nodes.append(copied(node))
            found.append(_finding(node, str(reason)))
            continue
        nodes.extend(writer.nodes)
        graph.initializer.extend(writer.used_constants())
    replace_nodes(graph, nodes)
    return found


def _prefix(node: onnx.NodeProto, taken: set[str]) -> str:
    """What the names of a node's values begin with; no value begins so."""
    stem = node.name or node.op_type
    number = 0
    while f"{stem}.{number}" in taken:
        number += 1
    taken.add(f"{stem}.{number}")
    return f"{stem}.{number}"


def _decline(writer: Writer, node: onnx.NodeProto) -> None:
    del writer
    raise Unsupported(_REASONS.get(node.op_type, "there is no such operator that we know"))


def _finding(node: onnx.NodeProto, reason: str) -> Finding:
    return Finding(node=node_name(node), operator=f"{ML_DOMAIN}.{node.op_type}", reason=reason)


def _kinds(model: onnx.ModelProto) -> Mapping[str, tuple[int, tuple[int | None, ...] | None]]:
    """Element type and shape of every value of the main graph that onnx can tell."""
    import onnx.shape_inference

    graph = onnx.shape_inference.infer_shapes(model).graph
    found: dict[str, tuple[int, tuple[int | None, ...] | None]] = {
        tensor.name: (tensor.data_type, tuple(tensor.dims)) for tensor in graph.initializer
    }
    for entry in [*graph.input, *graph.output, *graph.value_info]:
        kind = entry.type.tensor_type
        if kind.elem_type:
            shape = tuple(size.dim_value if size.HasField("dim_value") else None for size in kind.shape.dim)
            found[entry.name] = (kind.elem_type, shape if kind.HasField("shape") else None)
    return found


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
