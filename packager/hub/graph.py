"""Small questions and changes to an ONNX graph that several passes share."""

from __future__ import annotations

from collections import Counter
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence

    import onnx

ML_DOMAIN = "ai.onnx.ml"


def domain_of(domain: str) -> str:
    """The domain, with the default one in one spelling."""
    return "" if domain == "ai.onnx" else domain


def all_nodes(graph: onnx.GraphProto) -> Iterator[onnx.NodeProto]:
    """Every node, those of subgraphs too."""
    for node in graph.node:
        yield node
        for attribute in node.attribute:
            if attribute.HasField("g"):
                yield from all_nodes(attribute.g)
            for branch in attribute.graphs:
                yield from all_nodes(branch)


def opset(model: onnx.ModelProto, domain: str = "") -> int:
    """The version of a domain's operator set; 0: the model does not import it."""
    return max((entry.version for entry in model.opset_import if domain_of(entry.domain) == domain), default=0)


def tidy_opsets(model: onnx.ModelProto) -> None:
    """Keep one import for each domain in use, sorted; the default domain always stays."""
    import onnx

    used = {domain_of(node.domain) for node in all_nodes(model.graph)} | {""}
    used |= {domain_of(node.domain) for function in model.functions for node in function.node}
    kept = [(domain, version) for domain in sorted(used) if (version := opset(model, domain))]
    del model.opset_import[:]
    model.opset_import.extend(onnx.helper.make_opsetid(domain, version) for domain, version in kept)


def import_default(model: onnx.ModelProto, version: int) -> None:
    """Import the default domain where a model has no operator of it and does not."""
    import onnx

    if not opset(model):
        model.opset_import.append(onnx.helper.make_opsetid("", version))


def keep_outputs(model: onnx.ModelProto, names: Sequence[str]) -> None:
    """Reduce the model to these outputs, and drop the nodes, initializers and shapes that nothing needs any more."""
    graph = model.graph
    outputs = [entry for name in names for entry in graph.output if entry.name == name]
    del graph.output[:]
    graph.output.extend(outputs)
    wanted = set(names)
    kept = []
    for node in reversed(graph.node):
        if wanted.intersection(node.output):
            wanted.update(node.input)
            wanted.update(name for inner in _inner_graphs(node) for name in read_names(inner))
            kept.append(node)
    _replace(graph.node, kept[::-1])
    _replace(graph.initializer, [entry for entry in graph.initializer if entry.name in wanted])
    _replace(graph.value_info, [entry for entry in graph.value_info if entry.name in wanted])
    tidy_opsets(model)


def constants_of(graph: onnx.GraphProto) -> dict[str, onnx.TensorProto]:
    """The values that are known and that no caller can override, of one graph alone, by name."""
    given = {entry.name for entry in graph.input}
    known = {tensor.name: tensor for tensor in graph.initializer if tensor.name not in given}
    for node in graph.node:
        if node.op_type == "Constant" and not domain_of(node.domain):
            known.update((node.output[0], entry.t) for entry in node.attribute if entry.name == "value")
    return known


def subgraphs(node: onnx.NodeProto) -> Iterator[onnx.GraphProto]:
    """The graphs that a node holds."""
    yield from _inner_graphs(node)


def value_names(graph: onnx.GraphProto) -> set[str]:
    """Every name that the graph gives to a value, and those that its subgraphs give."""
    names = {entry.name for entry in [*graph.input, *graph.initializer]}
    for node in graph.node:
        names.update(name for name in node.output if name)
        for inner in _inner_graphs(node):
            names |= value_names(inner)
    return names


def rename_values(graph: onnx.GraphProto, names: dict[str, str]) -> None:
    """Give values other names wherever they are given or read; those that are not in `names` stay."""
    for entry in [*graph.input, *graph.output, *graph.initializer, *graph.value_info]:
        entry.name = names.get(entry.name, entry.name)
    for node in graph.node:
        for field in (node.input, node.output):
            for place, name in enumerate(field):
                field[place] = names.get(name, name)
        for inner in _inner_graphs(node):
            rename_values(inner, names)


def replace_nodes(graph: onnx.GraphProto, nodes: Sequence[onnx.NodeProto]) -> None:
    """Make these the graph's nodes; they may be its own."""
    _replace(graph.node, list(nodes))


def copied(node: onnx.NodeProto) -> onnx.NodeProto:
    """A node of one's own."""
    import onnx

    copy = onnx.NodeProto()
    copy.CopyFrom(node)
    return copy


def node_name(node: onnx.NodeProto) -> str:
    """The node's name; where it has none, that of its first output."""
    return node.name or next(iter(node.output), "")


def read_names(graph: onnx.GraphProto) -> list[str]:
    """Every name that a node or an output of the graph reads, those of subgraphs too, as often as it is read."""
    return [name for node in all_nodes(graph) for name in node.input] + _given_out(graph)


def _given_out(graph: onnx.GraphProto) -> list[str]:
    inner = [name for node in graph.node for entry in _inner_graphs(node) for name in _given_out(entry)]
    return [entry.name for entry in graph.output] + inner


def drop_unread(graph: onnx.GraphProto) -> None:
    """Take out nodes and constants that nothing reads."""
    read = Counter(read_names(graph))
    kept = []
    for node in reversed(graph.node):
        if any(read[name] for name in node.output if name):
            kept.append(node)
        else:
            read.subtract([*node.input, *(name for inner in _inner_graphs(node) for name in read_names(inner))])
    _replace(graph.node, kept[::-1])
    given = {entry.name for entry in graph.input}
    _replace(graph.initializer, [entry for entry in graph.initializer if read[entry.name] or entry.name in given])


def _replace(field: object, kept: list[object]) -> None:
    import copy

    entries = [copy.deepcopy(entry) for entry in kept]
    del field[:]  # type: ignore[attr-defined]  # a protobuf's repeated field
    field.extend(entries)  # type: ignore[attr-defined]  # likewise


def _inner_graphs(node: onnx.NodeProto) -> Iterator[onnx.GraphProto]:
    for attribute in node.attribute:
        if attribute.HasField("g"):
            yield attribute.g
        yield from attribute.graphs
