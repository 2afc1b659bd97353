"""Loops and branches that stay so in the file: TFLite's WHILE and IF around graphs of their own."""

from __future__ import annotations

from typing import TYPE_CHECKING, NamedTuple

import numpy as np
from ai_edge_litert import schema_py_generated as schema

from targets._source.refusal import UnsupportedError
from targets.edge_arm._arithmetic import both, less
from targets.edge_arm._emission import Emission
from targets.edge_arm._graph import Tensor

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence

    from targets.edge_arm._emission import Value

    Body = Callable[[Emission, Value, Sequence[Value], Sequence[Value]], Sequence[Value]]
    """Called with the emission of the body, the turn's number, the state and what stays; gives the next state."""


def repeated(
    g: Emission, turns: Value, state: Sequence[Value], fixed: Sequence[Value], body: Body, *, guarded: bool = False
) -> list[Value]:
    """The state after as many turns of the body; values that stay the same are passed as `fixed`.

    With `guarded` the first of the state is a boolean, and no further turn begins once it is false. Constants among
    the fixed values become constants of the body.
    """
    counter = g.constant(np.array(0, np.int64))
    passed = [value for value in (turns, *fixed) if value.constant is None]
    variables = [counter, *state, *passed]
    condition, inside = _entered(variables), _entered(variables)
    limit = condition.values[1 + len(state)] if turns.constant is None else turns
    more = less(condition.emission, condition.values[0], limit)
    if guarded:
        more = both(condition.emission, more, condition.values[1])
    condition.emission.graph.outputs["more"] = condition.emission.tensor(more)
    inner = inside.emission
    given = iter(inside.values[1 + len(state) :])
    stays = [next(given) if value.constant is None else inner.constant(value.constant) for value in (turns, *fixed)]
    results = body(inner, inside.values[0], inside.values[1 : 1 + len(state)], stays[1:])
    following = inner.add(inside.values[0], inner.scalar(1, inside.values[0]))
    ends = (following, *results, *inside.values[1 + len(state) :])
    for place, (variable, value) in enumerate(zip(inner.graph.inputs.values(), ends, strict=True)):
        inner.graph.outputs[f"next_{place}"] = _handed_on(inner, value, variable)
    g.macs += inner.macs * (1 if turns.constant is None else int(turns.number("turns")))
    last = [Tensor(value.shape, value.stored) for value in variables]
    graphs = (condition.emission.graph, inner.graph)
    g.graph.add_many("WHILE", [g.tensor(value) for value in variables], last, graphs=graphs)
    return [g.made(end, value.dtype) for end, value in zip(last[1 : 1 + len(state)], state, strict=True)]


def _handed_on(g: Emission, value: Value, variable: Tensor) -> Tensor:
    """The tensor for the next turn: a copy where it is another variable, which is overwritten one after the other."""
    tensor = g.tensor(value)
    taken = [*g.graph.inputs.values(), *g.graph.outputs.values()]
    if tensor is variable or (tensor.data is None and all(tensor is not other for other in taken)):
        return tensor
    return copied(g, tensor)


def copied(g: Emission, tensor: Tensor) -> Tensor:
    """The same numbers in a tensor of their own."""
    axis = 0 if tensor.shape else None
    if axis is None:
        return g.graph.reshape(copied(g, g.graph.reshape(tensor, (1,))), ())
    options = schema.ConcatenationOptionsT(axis=axis)
    return g.graph.add("CONCATENATION", [tensor], tensor.shape, tensor.dtype, options)


def chosen(
    g: Emission, condition: Value, fixed: Sequence[Value], branches: Sequence[Callable[..., Sequence[Value]]]
) -> list[Value]:
    """What the first of two branches gives where the condition holds, else the second.

    Each is called with its emission and the fixed values, and must give values of the same shapes and types.

    Raises:
        UnsupportedError: they don't.
    """
    passed = [value for value in fixed if value.constant is None]
    graphs = []
    results: list[list[Value]] = []
    for branch in branches:
        emission, values = _entered(passed)
        given = iter(values)
        stays = [next(given) if value.constant is None else emission.constant(value.constant) for value in fixed]
        results.append(list(branch(emission, stays)))
        for place, value in enumerate(results[-1]):
            tensor = emission.tensor(value)
            taken = [*emission.graph.inputs.values(), *emission.graph.outputs.values()]
            fresh = tensor.data is None and all(tensor is not other for other in taken)
            emission.graph.outputs[f"result_{place}"] = tensor if fresh else copied(emission, tensor)
        graphs.append(emission.graph)
        g.macs += emission.macs
    for yes, no in zip(*results, strict=True):
        if (yes.shape, yes.dtype) != (no.shape, no.dtype):
            raise UnsupportedError(
                f"its branches give {yes.dtype}{list(yes.shape)} and {no.dtype}{list(no.shape)}: expected the same"
            )
    ends = [Tensor(value.shape, value.stored) for value in results[0]]
    tensors = [g.tensor(value) for value in (condition, *passed)]
    g.graph.add_many("IF", tensors, ends, graphs=tuple(graphs))
    return [g.made(end, value.dtype) for end, value in zip(ends, results[0], strict=True)]


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
