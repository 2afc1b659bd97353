"""Express operators of ``ai.onnx.ml`` by tensor operators; a target names what is left."""

from __future__ import annotations

from typing import TYPE_CHECKING

from packager.hub.graph import (
    ML_DOMAIN,
    all_nodes,
    copied,
    domain_of,
    import_default,
    opset,
    replace_nodes,
    tidy_opsets,
)
from packager.hub.ml import features, linear, svm, trees
from packager.hub.ml._writer import Unsupported, Writer

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
    """The model with tensor operators for those of ``ai.onnx.ml`` that have a lowering."""
    graph = model.graph
    import_default(model, max(form.needs.opset[0], _LOWEST))
    if opset(model) < _LOWEST or not any(domain_of(node.domain) == ML_DOMAIN for node in graph.node):
        return model
    read = frozenset(
        {name for node in all_nodes(graph) for name in node.input} | {entry.name for entry in graph.output}
    )
    kinds = _kinds(model)
    nodes: list[onnx.NodeProto] = []
    for number, node in enumerate(graph.node):
        writer = Writer(f"{node.name or node.op_type}.{number}", opset(model), read, kinds)
        lowering = _LOWERINGS.get(node.op_type) if domain_of(node.domain) == ML_DOMAIN else None
        if lowering is None:
            nodes.append(copied(node))
            continue
        try:
            lowering(writer, node)
        except Unsupported:
            nodes.append(copied(node))
            continue
        nodes.extend(writer.nodes)
        graph.initializer.extend(writer.constants)
    replace_nodes(graph, nodes)
    tidy_opsets(model)
    return model


def ensures(model: onnx.ModelProto, form: Form) -> list[str]:
    """Nothing: what its function declined remains, and the target names it."""
    del model, form
    return []


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


_LOWERINGS: dict[str, Lowering] = {
    "ArrayFeatureExtractor": features.array_feature_extractor,
    "Binarizer": features.binarizer,
    "FeatureVectorizer": features.feature_vectorizer,
    "Imputer": features.imputer,
    "LabelEncoder": features.label_encoder,
    "LinearClassifier": linear.classifier,
    "LinearRegressor": linear.regressor,
    "Normalizer": features.normalizer,
    "OneHotEncoder": features.one_hot_encoder,
    "SVMRegressor": svm.regressor,
    "Scaler": features.scaler,
    "TreeEnsemble": trees.tree_ensemble,
    "TreeEnsembleClassifier": trees.classifier,
    "TreeEnsembleRegressor": trees.regressor,
}
