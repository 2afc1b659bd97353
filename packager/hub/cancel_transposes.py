"""Take out transposes that undo each other, after moving them past what they do not change.

Models that came from frameworks with channels last are full of them. One walk from the inputs to the outputs: a
transposed value is remembered as its source and a permutation, operators work on the sources, and only what can't is
given the transposed value. What moves nothing but axes of size 1 becomes a Reshape. The result is taken where it
costs less.
"""

from __future__ import annotations

from math import prod
from typing import TYPE_CHECKING, NamedTuple

from packager.hub.graph import all_nodes, copied, domain_of, drop_unread, opset, read_names, replace_nodes, subgraphs
from packager.hub.lowering import kinds_of
from packager.hub.opsets._scope import Scope, attribute, make
from packager.hub.transposes.rules import DATA_INPUTS, EVERY_AXIS, FLATTENING, RULES

if TYPE_CHECKING:
    import numpy as np
    import onnx
    from numpy.typing import NDArray

    from packager.hub.form import Form
    from packager.hub.lowering import Kinds

_START = 1000
"""Elements that are moved in the time that it takes to start a node."""
_LOWEST = 11
"""The opset from which slices and pads have inputs."""


_SHAPING = ("Reshape", "Squeeze", "Unsqueeze")


class _Moved(NamedTuple):
    """What a value is: its source, transposed."""

    source: str
    order: tuple[int, ...]


def requires(form: Form) -> bool:
    """Where shapes are static: onnxruntime does it for itself."""
    return form.needs.static_shapes


def run(model: onnx.ModelProto, form: Form) -> onnx.ModelProto:
    """The model with fewer transposes, or as it is."""
    import onnx
    import onnx.shape_inference

    del form
    if opset(model) < _LOWEST or not any(_is_transpose(node) for node in model.graph.node):
        return model
    changed = onnx.ModelProto()
    changed.CopyFrom(model)
    try:
        inferred = onnx.shape_inference.infer_shapes(changed, data_prop=True)
    except onnx.shape_inference.InferenceError:
        return model
    _Walk(inferred, changed).work()
    del changed.graph.value_info[:]
    changed = onnx.shape_inference.infer_shapes(changed, data_prop=True)
    return changed if _cost(changed) < _cost(inferred) else model


def ensures(model: onnx.ModelProto, form: Form) -> list[str]:
    """No transpose reads what another one gives to it alone."""
    del form
    made = {name: node for node in model.graph.node for name in node.output}
    return [
        f"transpose '{node.output[0]}' undoes another"
        for node in model.graph.node
        if _is_transpose(node)
        and opset(model) >= _LOWEST
        and (before := made.get(node.input[0])) is not None
        and _is_transpose(before)
    ]


class _Walk:
    """Over the main graph; subgraphs read what they read."""

    def __init__(self, inferred: onnx.ModelProto, model: onnx.ModelProto) -> None:
        self._model = model
        self._graph = model.graph
        self._version = opset(model)
        self._scope = Scope(inferred)
        self._moved: dict[str, _Moved] = {}
        self._made: set[str] = set()
        self._nodes: list[onnx.NodeProto] = []
        self._hard = self._hardread_names()

    def work(self) -> None:
        for node in self._graph.node:
            if not self._absorbed(node):
                self._take(node)
        for entry in self._graph.output:
            self._make(entry.name)
        replace_nodes(self._graph, self._nodes)
        self._graph.initializer.extend(self._scope.added)
        drop_unread(self._graph)

    def _hardread_names(self) -> set[str]:
        """Values that something reads which no transpose can pass; they have to be made anyway."""
        found = {entry.name for entry in self._graph.output}
        for node in self._graph.node:
            if not _is_transpose(node) and not self._may_pass(node):
                found.update(node.input)
            for inner in subgraphs(node):
                found.update(name for deep in all_nodes(inner) for name in deep.input)
                found.update(entry.name for entry in inner.output)
        return found

    def _may_pass(self, node: onnx.NodeProto) -> bool:
        if domain_of(node.domain) or node.op_type not in RULES:
            return self._only_adds_ones(node)
        return self._version >= EVERY_AXIS or node.op_type not in FLATTENING

    def _absorbed(self, node: onnx.NodeProto) -> bool:
        """Whether the node's results are now known as those of others, transposed."""
        if _is_transpose(node):
            return self._compose(node)
        if not self._may_pass(node):
            return False
        return self._reshaped(node) if node.op_type in _SHAPING else self._passed(node)

    def _passed(self, node: onnx.NodeProto) -> bool:
        """Whether the node works on what its inputs were before they were transposed alike."""
        data = list(node.input[: DATA_INPUTS.get(node.op_type, len(node.input))])
        moved = [self._moved.get(name) for name in data]
        order = self._common_order(data)
        if order is None:
            return False
        inner = copied(node)
        for place, entry in enumerate(moved):
            if entry:
                inner.input[place] = entry.source
        if not RULES[node.op_type](inner, order, self._scope):
            return False
        for place, name in enumerate(node.output):
            if name:
                inner.output[place] = self._scope.fresh(f"{name}.before")
                self._moved[name] = _Moved(inner.output[place], order)
        self._nodes.append(inner)
        return True

    def _common_order(self, data: list[str]) -> tuple[int, ...] | None:
        """What all inputs went through but for constants; None where they differ, or have to be made anyway."""
        moved = [name for name in data if name in self._moved]
        orders = {self._moved[name].order for name in moved}
        if len(orders) != 1 or not all(name in self._moved or self._is_passive(name) for name in data):
            return None
        (order,) = orders
        anyway = order != tuple(range(len(order))) and any(name in self._hard for name in moved)
        return None if anyway else order

    def _only_adds_ones(self, node: onnx.NodeProto) -> bool:
        """Whether a node does nothing but to add or to take away axes of size 1."""
        if domain_of(node.domain) or node.op_type not in _SHAPING:
            return False
        before, after = self._sizes(node.input[0]), self._sizes(node.output[0])
        return before is not None and after is not None and _wide(before) == _wide(after)

    def _reshaped(self, node: onnx.NodeProto) -> bool:
        """The same of what comes before the transpose: its axes in its order, and those of size 1 after them."""
        import numpy as np

        moved = self._moved.get(node.input[0])
        before, after = self._sizes(node.input[0]), self._sizes(node.output[0])
        if moved is None or before is None or after is None or node.input[0] in self._hard:
            return False
        wide = [(moved.order[axis], size) for axis, size in enumerate(before) if size != 1]
        ranked = sorted(wide)
        shape = [size for _, size in ranked] + [1] * (len(after) - len(wide))
        places = iter(ranked.index(entry) for entry in wide)
        ones = iter(range(len(wide), len(after)))
        order = tuple(next(ones) if size == 1 else next(places) for size in after)
        source = self._scope.fresh(f"{node.output[0]}.before")
        target = self._scope.add(np.array(shape, dtype=np.int64))
        self._add("Reshape", [moved.source, target], source)
        self._moved[node.output[0]] = _Moved(source, order)
        return True

    def _sizes(self, name: str) -> tuple[int, ...] | None:
        shape = self._scope.shape(name) if self._scope.known_rank(name) is not None else (None,)
        sizes = tuple(size for size in shape if size is not None)
        return sizes if len(sizes) == len(shape) else None

    def _is_passive(self, name: str) -> bool:
        """Whether an input is a constant, or one number, which no order of axes changes."""
        if not name or self._scope.constant(name) is not None:
            return True
        return self._scope.known_rank(name) == 0

    def _compose(self, node: onnx.NodeProto) -> bool:
        rank = self._scope.known_rank(node.input[0])
        if rank is None:
            return False
        given = attribute(node, "perm", list(range(rank))[::-1])
        order = tuple(int(axis) for axis in given) if isinstance(given, list) else ()
        before = self._moved.get(node.input[0], _Moved(node.input[0], tuple(range(rank))))
        self._moved[node.output[0]] = _Moved(before.source, tuple(before.order[axis] for axis in order))
        return True

    def _take(self, node: onnx.NodeProto) -> None:
        for name in [*node.input, *(deep for inner in subgraphs(node) for deep in read_names(inner))]:
            self._make(name)
        self._nodes.append(copied(node))

    def _make(self, name: str) -> None:
        """See that a value is there under its name."""
        if name not in self._moved or name in self._made:
            return
        self._made.add(name)
        source, order = self._moved[name]
        if order == tuple(range(len(order))):
            self._add("Identity", [source], name)
        elif (shape := self._free_shape(name, order)) is not None:
            self._add("Reshape", [source, self._scope.add(shape)], name)
        else:
            self._add("Transpose", [source], name, perm=list(order))

    def _add(self, operator: str, inputs: list[str], output: str, **attributes: list[int]) -> None:
        node = make(operator, inputs, [output], **attributes)
        node.name = self._scope.fresh(f"{operator}.name")  # a node elsewhere may have the value's name
        self._nodes.append(node)

    def _free_shape(self, name: str, order: tuple[int, ...]) -> NDArray[np.int64] | None:
        """The shape of a value whose transpose moves nothing but axes of size 1; None of others."""
        import numpy as np

        shape = self._sizes(name)
        if shape is None:
            return None
        moved = [axis for axis, size in zip(order, shape, strict=True) if size != 1]
        return np.array(shape, dtype=np.int64) if moved == sorted(moved) else None


def _is_transpose(node: onnx.NodeProto) -> bool:
    return node.op_type == "Transpose" and not domain_of(node.domain)


def _wide(shape: tuple[int, ...]) -> list[int]:
    return [size for size in shape if size != 1]


def _cost(model: onnx.ModelProto) -> int:
    """Elements that transposes move, one where their number is not known, and what starting a node costs."""
    kinds = kinds_of(model)
    moved = sum(_size(kinds, node.input[0]) for node in model.graph.node if _is_transpose(node))
    return moved + _START * len(model.graph.node)


def _size(kinds: Kinds, name: str) -> int:
    shape = kinds[name][1] if name in kinds else None
    return prod(size if size is not None else 1 for size in shape) if shape else 1
