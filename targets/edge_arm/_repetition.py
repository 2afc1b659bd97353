"""Loops that stay loops in the file: TFLite's WHILE around a graph of its own."""

from __future__ import annotations

from typing import TYPE_CHECKING, NamedTuple

import numpy as np
from ai_edge_litert import schema_py_generated as schema

from targets.edge_arm._emission import Emission
from targets.edge_arm._graph import Tensor

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence

    from targets.edge_arm._emission import Value

    Body = Callable[[Emission, Value, Sequence[Value], Sequence[Value]], Sequence[Value]]
    """Called with the emission of the body, the turn's number, the state and what stays; gives the next state."""


def repeated(g: Emission, turns: int, state: Sequence[Value], fixed: Sequence[Value], body: Body) -> list[Value]:
    """The state after as many turns of the body; values that stay the same are passed as `fixed`.

    Constants among the fixed values become constants of the body.
    """
    counter = g.constant(np.array(0, np.int64))
    passed = [value for value in fixed if value.constant is None]
    variables = [counter, *state, *passed]
    condition, inside = _entered(variables), _entered(variables)
    turn = condition.values[0]
    more = condition.emission.elementwise(
        "LESS", turn, condition.emission.scalar(turns, turn), dtype=bool, options=schema.LessOptionsT()
    )
    condition.emission.graph.outputs["more"] = condition.emission.tensor(more)
    inner = inside.emission
    given = iter(inside.values[1 + len(state) :])
    stays = [next(given) if value.constant is None else inner.constant(value.constant) for value in fixed]
    results = body(inner, inside.values[0], inside.values[1 : 1 + len(state)], stays)
    following = inner.add(inside.values[0], inner.scalar(1, inside.values[0]))
    for name, value in zip(inner.graph.inputs, (following, *results, *inside.values[1 + len(state) :]), strict=True):
        inner.graph.outputs[name] = inner.tensor(value)
    g.macs += turns * inner.macs
    ends = [Tensor(value.shape, value.stored) for value in variables]
    tensors = [g.tensor(value) for value in variables]
    g.graph.add_many("WHILE", tensors, ends, graphs=(condition.emission.graph, inner.graph))
    return [g.made(end, value.dtype) for end, value in zip(ends[1 : 1 + len(state)], state, strict=True)]


class _Inside(NamedTuple):
    """An emission whose graph has an input for each variable."""

    emission: Emission
    values: list[Value]


def _entered(variables: Sequence[Value]) -> _Inside:
    emission = Emission()
    values = []
    for place, variable in enumerate(variables):
        tensor = Tensor(variable.shape, variable.stored)
        emission.graph.inputs[f"variable_{place}"] = tensor
        values.append(emission.made(tensor, variable.dtype))
    return _Inside(emission, values)
