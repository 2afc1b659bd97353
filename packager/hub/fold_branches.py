"""Put the branch that is taken in the place of an If whose condition is known."""

from __future__ import annotations

from typing import TYPE_CHECKING

from packager.hub._evaluation import evaluate
from packager.hub.graph import (
    constants_of,
    copied,
    domain_of,
    rename_values,
    replace_nodes,
    subgraphs,
    value_names,
)

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping

    import onnx

    from packager.hub.form import Form


def requires(form: Form) -> bool:
    """Always: onnxruntime's own folding of such branches ends its process on some models."""
    del form
    return True


def run(model: onnx.ModelProto, form: Form) -> onnx.ModelProto:
    """The model without the branches that are never taken."""
    del form
    _Folding(model).fold(model.graph, {})
    return model


def ensures(model: onnx.ModelProto, form: Form) -> list[str]:
    """No If remains whose condition is a constant of its graph."""
    del form
    known = constants_of(model.graph)
    return [
        f"branch '{node.output[0]}' remains" for node in model.graph.node if _is_if(node) and node.input[0] in known
    ]


class _Folding:
    """Gives the values of a branch names that nothing else has."""

    def __init__(self, model: onnx.ModelProto) -> None:
        self._model = model
        self._taken = value_names(model.graph)
        self._count = 0

    def fold(self, graph: onnx.GraphProto, outer: Mapping[str, onnx.TensorProto]) -> None:
        """Work on one graph; `outer` are the constants of the graphs around it."""
        known = {**outer, **constants_of(graph)}
        nodes: list[onnx.NodeProto] = []
        for node in graph.node:
            for inner in subgraphs(node):
                self.fold(inner, known)
            condition = self._condition(node, graph, known) if _is_if(node) else None
            if condition is None:
                nodes.append(node)
            else:
                nodes.extend(self._taken_branch(node, condition, graph))
        replace_nodes(graph, nodes)

    def _condition(
        self, node: onnx.NodeProto, graph: onnx.GraphProto, known: Mapping[str, onnx.TensorProto]
    ) -> onnx.TensorProto | None:
        name = node.input[0]
        return known.get(name) or evaluate(name, graph, known, self._model)

    def _taken_branch(
        self, node: onnx.NodeProto, condition: onnx.TensorProto, graph: onnx.GraphProto
    ) -> Iterator[onnx.NodeProto]:
        import onnx.numpy_helper

        wanted = "then_branch" if onnx.numpy_helper.to_array(condition).all() else "else_branch"
        branch = next(entry.g for entry in node.attribute if entry.name == wanted)
        inner = {name: self._fresh(name) for name in value_names(branch)}
        results = [inner.get(entry.name, entry.name) for entry in branch.output]
        rename_values(branch, inner)
        graph.initializer.extend(branch.initializer)
        yield from (copied(entry) for entry in branch.node)
        for result, output in zip(results, node.output, strict=True):
            if output:
                yield onnx.helper.make_node("Identity", [result], [output], name=f"{output}/branch")

    def _fresh(self, name: str) -> str:
        while True:
            self._count += 1
            fresh = f"{name}/taken.{self._count}"
            if fresh not in self._taken:
                self._taken.add(fresh)
                return fresh


def _is_if(node: onnx.NodeProto) -> bool:
    return node.op_type == "If" and not domain_of(node.domain)
