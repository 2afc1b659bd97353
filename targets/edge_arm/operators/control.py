"""Branches and loops that the model itself decides, or that are too long to put in place."""

from __future__ import annotations

from functools import partial
from typing import TYPE_CHECKING

import numpy as np
import onnx
from onnx import numpy_helper

from targets._source.model import read_source
from targets._source.refusal import UnsupportedError
from targets.edge_arm._lowering import walk
from targets.edge_arm._registry import REGISTRY, operator
from targets.edge_arm._repetition import chosen, repeated
from targets.edge_arm.operators.slicing import taken, written

if TYPE_CHECKING:
    from collections.abc import Sequence

    from targets._source.model import Node
    from targets.edge_arm._emission import Emission, Value

_ENDLESS = np.iinfo(np.int32).max
"""The number of turns of a loop that only its condition ends."""


def _lowered(g: Emission, node: Node, name: str, formal: Sequence[Value], outer: Sequence[Value]) -> list[Value]:
    """The outputs of a subgraph of a node, of its own inputs and of what it reads around it."""
    graph = onnx.GraphProto()
    graph.CopyFrom(next(entry.g for entry in node.proto.attribute if entry.name == name))
    given = dict(zip((entry.name for entry in graph.input), formal, strict=True))
    given.update(zip(node.inputs[len(node.proto.input) :], outer, strict=True))
    del graph.input[:], graph.value_info[:]
    for label, value in given.items():
        if value.constant is not None:
            graph.initializer.append(numpy_helper.from_array(value.constant, label))
        else:
            kind = onnx.helper.np_dtype_to_tensor_dtype(value.dtype)
            graph.input.append(onnx.helper.make_tensor_value_info(label, kind, value.shape))
    for entry in graph.output:
        entry.type.tensor_type.ClearField("shape")
    imports = [onnx.helper.make_opsetid(domain, version) for domain, version in node.opsets.items()]
    source = read_source(onnx.helper.make_model(graph, opset_imports=imports), REGISTRY.served())
    values, findings = walk(g, source, {label: value for label, value in given.items() if value.constant is None})
    if findings:
        raise UnsupportedError(f"{findings[0].operator} in its {name}: {findings[0].reason}", findings[0].hint)
    return [values[entry] for entry in source.outputs]


def _split(node: Node, values: Sequence[Value]) -> tuple[list[Value], list[Value]]:
    """The node's own inputs, and what its subgraphs read around it."""
    count = len(node.proto.input)
    return list(values[:count]), list(values[count:])


@operator("If")
def if_(g: Emission, node: Node, *values: Value) -> list[Value]:
    """What one of two subgraphs gives, as the condition says."""
    (condition,), outer = _split(node, values)
    branches = [
        partial(lambda inner, stays, name: _lowered(inner, node, name, [], stays), name=name)
        for name in ("then_branch", "else_branch")
    ]
    return chosen(g, g.reshape(condition, ()), outer, branches)


@operator("Loop")
def loop(g: Emission, node: Node, *values: Value) -> list[Value]:
    """The state after the turns of a subgraph, whose number a count, or the subgraph itself, may limit."""
    own, outer = _split(node, values)
    turns, goes_on = (own[place] if place < len(own) else None for place in (0, 1))
    state = own[2:]
    limit = g.constant(np.array(_ENDLESS, np.int64)) if turns is None else g.reshape(turns, ())
    start = g.constant(np.array(1, bool)) if goes_on is None else g.reshape(goes_on, ())
    if len(node.outputs) > len(state):
        raise UnsupportedError("how many rows it gives depends on what the model is given")

    def body(inner: Emission, turn: Value, now: Sequence[Value], stays: Sequence[Value]) -> list[Value]:
        results = _lowered(inner, node, "body", [turn, *now], stays)
        for before, after in zip(now, results, strict=False):
            _same(before, after)
        return [inner.reshape(results[0], ()), *results[1 : 1 + len(state)]]

    return repeated(g, limit, [start, *state], outer, body, guarded=True)[1:]


@operator("Scan", since=9)
def scan(g: Emission, node: Node, *values: Value) -> list[Value]:
    """The state after a subgraph has seen each entry of the scanned inputs; and what it gave for each of them."""
    own, outer = _split(node, values)
    count = node.integer("num_scan_inputs", 1)
    state, scanned = own[:-count], own[-count:]
    axes = node.integers("scan_input_axes") or (0,) * count
    ways = node.integers("scan_input_directions") or (0,) * count
    steps = scanned[0].shape[scanned[0].axis(axes[0])]
    graph = next(entry.g for entry in node.proto.attribute if entry.name == "body")
    rows = _empty_rows(g, graph, len(state), steps, node)
    back = node.integers("scan_output_directions") or (0,) * len(rows)

    def body(inner: Emission, turn: Value, now: Sequence[Value], stays: Sequence[Value]) -> list[Value]:
        reverse = inner.sub(inner.scalar(steps - 1, turn), turn)
        parts = []
        for value, axis, way in zip(stays[:count], axes, ways, strict=True):
            along = value.axis(axis)
            parts.append(taken(inner, value, inner.reshape(reverse if way else turn, ()), along))
        results = _lowered(inner, node, "body", [*now[: len(state)], *parts], stays[count:])
        for before, after in zip(state, results, strict=False):
            _same(before, after)
        made = [
            written(inner, old, row, reverse if way else turn)
            for old, row, way in zip(now[len(state) :], results[len(state) :], back, strict=True)
        ]
        return [*results[: len(state)], *made]

    ends = repeated(g, g.constant(np.array(steps, np.int64)), [*state, *rows], [*scanned, *outer], body)
    output_axes = node.integers("scan_output_axes") or (0,) * len(rows)
    moved = (_moved(g, end, axis) for end, axis in zip(ends[len(state) :], output_axes, strict=True))
    return [*ends[: len(state)], *moved]


def _empty_rows(g: Emission, graph: onnx.GraphProto, states: int, steps: int, node: Node) -> list[Value]:
    """Where the rows of the scan outputs go, with the shapes that the model declares or that were inferred."""
    rows = []
    for entry in list(graph.output)[states:]:
        kind = entry.type.tensor_type
        sizes = [size.dim_value for size in kind.shape.dim]
        if not kind.HasField("shape") or not all(size.HasField("dim_value") for size in kind.shape.dim):
            raise UnsupportedError(f"the shape of '{entry.name}' in its body is not known", f"see node '{node.label}'")
        dtype = onnx.helper.tensor_dtype_to_np_dtype(kind.elem_type)
        rows.append(g.constant(np.zeros((steps, *sizes), dtype)))
    return rows


def _moved(g: Emission, value: Value, axis: int) -> Value:
    """The first axis at another place."""
    place = value.axis(axis)
    order = [other for other in range(value.rank) if other]
    order.insert(place, 0)
    return g.transpose(value, tuple(order))


def _same(before: Value, after: Value) -> None:
    if (before.shape, before.dtype) != (after.shape, after.dtype):
        raise UnsupportedError(
            f"a state changes from {before.dtype}{list(before.shape)} to {after.dtype}{list(after.shape)}"
        )
