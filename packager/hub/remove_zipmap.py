"""Give scores as a matrix where a model gives a list of dictionaries: no target has those, and they only repeat labels.

It changes what the model's outputs are, so it is for importers, before anything is compared.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from packager.hub.graph import ML_DOMAIN, copied, domain_of, replace_nodes, tidy_opsets

if TYPE_CHECKING:
    import onnx


def remove_zipmap(model: onnx.ModelProto) -> tuple[str, ...]:
    """Replace every ZipMap by its input; the labels of the first are returned, in the order of the columns."""
    import onnx

    labels: tuple[str, ...] = ()
    nodes = []
    for node in model.graph.node:
        if node.op_type != "ZipMap" or domain_of(node.domain) != ML_DOMAIN:
            nodes.append(copied(node))
            continue
        named = _labels(node)
        labels = labels or named
        nodes.append(onnx.helper.make_node("Identity", [node.input[0]], [node.output[0]], name=node.name))
        for entry in model.graph.output:
            if entry.name == node.output[0]:
                shape = [None, len(named)]
                entry.CopyFrom(onnx.helper.make_tensor_value_info(entry.name, onnx.TensorProto.FLOAT, shape))
    replace_nodes(model.graph, nodes)
    tidy_opsets(model)
    return labels


def _labels(node: onnx.NodeProto) -> tuple[str, ...]:
    import onnx

    for entry in node.attribute:
        values = onnx.helper.get_attribute_value(entry)
        if isinstance(values, list) and values:
            return tuple(value.decode() if isinstance(value, bytes) else str(value) for value in values)
    return ()
