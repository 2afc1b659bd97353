"""Recurrent layers: RNN and LSTM as MIL's own operations where those mean the same, else, and GRU always, in steps.

MIL's ``gru`` is not used: whether its reset gate comes before or after the product is told differently by its formula,
by its newer parameters and by Core ML's older format, and none of Apple's own converters emits it.
"""

from __future__ import annotations

from functools import partial
from typing import TYPE_CHECKING, NamedTuple

import numpy as np

from targets.coreml import _arithmetic as a
from targets.coreml._arithmetic import less
from targets.coreml._registry import UnsupportedError, operator
from targets.coreml._repetition import repeated
from targets.coreml.operators._cells import CELLS, Weights, activations
from targets.coreml.operators._own_recurrence import own_layer
from targets.coreml.operators.lookup import reversed_sequences
from targets.coreml.operators.matmul import fully_connected
from targets.coreml.operators.slicing import entry, span, taken, written

if TYPE_CHECKING:
    from collections.abc import Sequence

    from targets._source.model import Node
    from targets.coreml._emission import Emission, Value
    from targets.coreml.operators._cells import Cell

UNROLL_LIMIT = 24
"""Most steps that are put one after the other; each is some ten operations."""


class _Sequence(NamedTuple):
    """One direction of one layer."""

    cell: Cell
    projected: Value
    """[steps, batch, gates]: the inputs' part of every gate, with all biases that can be added before."""
    weights: Weights
    state: list[Value]
    lengths: Value | None
    """[batch, 1], where they differ from the number of steps."""
    backwards: bool
    """Walks from the last step to the first."""
    wants_all: bool
    """Whether the hidden state of every step is read."""


def _layer(  # noqa: PLR0913, PLR0917 - ONNX gives it eight inputs
    kind: str,
    g: Emission,
    node: Node,
    x: Value,
    weights: Value,
    recurrence: Value,
    bias: Value | None = None,
    lengths: Value | None = None,
    hidden: Value | None = None,
    carry: Value | None = None,
    peepholes: Value | None = None,
) -> list[Value]:
    """All hidden states, the last hidden state and, of an LSTM, the last cell state."""
    cell = CELLS[kind]
    batch_first = bool(node.integer("layout", 0))
    if batch_first:
        x = g.transpose(x, (1, 0, 2))
    own_kind = own_layer(kind, g, node, x, [weights, recurrence, bias, lengths, hidden, carry, peepholes])
    if own_kind is not None:
        return own_kind
    steps = -1 if x.sizes[0] is None else x.shape[0]
    batch = x.shape[1] if x.sizes[1] is None else int(x.sizes[1])
    lengths = _checked(lengths, steps)
    starts = [hidden, carry][: cell.states]
    names = _directions(node)
    every: list[Value] = []
    ends: list[list[Value]] = [[] for _ in starts]
    size = recurrence.shape[-1]
    for place, backwards in enumerate(names):
        own = Weights(
            recurrence=entry(g, recurrence, 0, place),
            bias=None,
            peepholes=None if peepholes is None else entry(g, peepholes, 0, place),
            activations=activations(node, cell, place, len(names)),
            size=size,
            clip=node.number("clip", 0.0),
            reset_after=bool(node.integer("linear_before_reset", 0)),
            coupled=bool(node.integer("input_forget", 0)),
        )
        before, own = _biases(g, own, None if bias is None else entry(g, bias, 0, place), kind)
        inputs = reversed_sequences(g, x, lengths) if backwards and lengths is not None else x
        state = [_start(g, value, place, (batch, size), x, batch_first=batch_first) for value in starts]
        sequence = _Sequence(
            cell,
            _projected(g, inputs, entry(g, weights, 0, place), before),
            own,
            state,
            None if lengths is None else g.reshape(lengths, (batch, 1)),
            backwards and lengths is None,
            bool(node.outputs[0]),
        )
        rows, last = _unrolled(g, sequence) if 0 <= steps <= UNROLL_LIMIT else _looped(g, sequence)
        if rows is not None:
            rows = reversed_sequences(g, rows, lengths) if backwards and lengths is not None else rows
            every.append(g.reshape(rows, (steps, 1, batch, size)))
        for row, value in zip(ends, last, strict=True):
            row.append(g.reshape(value, (1, batch, size)))
    # Nothing reads an output without a name.
    results = [g.concat(every, 1)] if every else [g.constant(np.zeros((1, len(names), batch, size), x.dtype))]
    results += [g.concat(row, 0) for row in ends]
    if batch_first:
        return [g.transpose(results[0], (2, 0, 1, 3)), *(g.transpose(value, (1, 0, 2)) for value in results[1:])]
    return results


for _name in CELLS:
    operator(_name, since=7)(partial(_layer, _name))


def _directions(node: Node) -> list[bool]:
    """For each direction, whether it walks backwards."""
    names = {"forward": [False], "reverse": [True], "bidirectional": [False, True]}
    direction = node.text("direction", "forward")
    if direction not in names:
        raise UnsupportedError(f"direction '{direction}' is not served: expected one of {', '.join(names)}")
    return names[direction]


def _checked(lengths: Value | None, steps: int) -> Value | None:
    """The lengths, unless all are the number of steps."""
    if lengths is None or (lengths.constant is not None and (lengths.constant == steps).all()):
        return None
    return lengths


def _start(
    g: Emission, value: Value | None, place: int, shape: tuple[int, int], x: Value, *, batch_first: bool
) -> Value:
    if value is None:
        return g.constant(np.zeros(shape, x.dtype))
    return g.reshape(entry(g, value, 1 if batch_first else 0, place), shape)


def _biases(g: Emission, weights: Weights, bias: Value | None, kind: str) -> tuple[Value | None, Weights]:
    """What is added to the inputs' part beforehand; the rest stays with the weights."""
    if bias is None:
        return None, weights
    half = bias.shape[0] // 2
    ours, theirs = span(g, bias, 0, 0, half), span(g, bias, 0, half, 2 * half)
    if kind == "GRU" and weights.reset_after:
        return ours, weights._replace(bias=theirs)
    return a.add(g, ours, theirs), weights


def _projected(g: Emission, x: Value, weights: Value, bias: Value | None) -> Value:
    batch, size = (int(each or 0) for each in x.sizes[1:])
    rows = fully_connected(g, g.reshape(x, (-1, size)), weights, bias)
    return g.reshape(rows, (-1 if x.sizes[0] is None else x.shape[0], batch, weights.shape[0]))


def _unrolled(g: Emission, sequence: _Sequence) -> tuple[Value | None, list[Value]]:
    """The hidden state of each step, and the state after the last."""
    steps = sequence.projected.shape[0]
    rows: dict[int, Value] = {}
    state = sequence.state
    for step in range(steps)[:: -1 if sequence.backwards else 1]:
        following = sequence.cell.step(g, sequence.weights, entry(g, sequence.projected, 0, step), state)
        turn = g.constant(np.array(step, np.int64))
        row, state = _kept(g, sequence.lengths, turn, state, following)
        rows[step] = g.reshape(row, (1, *row.shape))
    return g.concat([rows[step] for step in range(steps)], 0) if sequence.wants_all else None, state


def _kept(
    g: Emission, lengths: Value | None, step: Value, state: Sequence[Value], following: Sequence[Value]
) -> tuple[Value, list[Value]]:
    """The row of this step and the next state: beyond its length a sequence gives zeros and keeps its state."""
    if lengths is None:
        return following[0], list(following)
    if lengths.constant is not None and step.constant is not None:
        alive = g.constant(step.constant < lengths.constant)
    else:
        alive = less(g, g.cast(step, lengths.dtype), lengths)
    row = a.select(g, alive, following[0], g.scalar(0, following[0]))
    return row, [a.select(g, alive, new, old) for new, old in zip(following, state, strict=True)]


def _looped(g: Emission, sequence: _Sequence) -> tuple[Value | None, list[Value]]:
    """The same, as a loop."""
    weights = sequence.weights
    state = list(sequence.state)
    steps = _count(g, sequence.projected)
    if sequence.wants_all:
        state.append(_zeros(g, steps, sequence.projected, weights.size))

    def body(turn: Value, now: Sequence[Value]) -> list[Value]:
        place = a.sub(g, a.sub(g, steps, 1), turn) if sequence.backwards else turn
        before = list(now[: sequence.cell.states])
        following = sequence.cell.step(g, weights, taken(g, sequence.projected, place, 0), before)
        row, after = _kept(g, sequence.lengths, turn, before, following)
        return [*after, written(g, now[-1], row, place)] if sequence.wants_all else after

    ends = repeated(g, steps, state, body)
    rows = ends.pop() if sequence.wants_all else None
    return rows, ends


def _count(g: Emission, x: Value) -> Value:
    """The size of the first axis."""
    if x.sizes[0] is not None:
        return g.constant(np.array(x.shape[0], np.int64))
    first = g.op("slice_by_index", np.int64, x=g.op("shape", np.int64, x=x), begin=[0], end=[1])
    return g.reshape(first, ())


def _zeros(g: Emission, steps: Value, x: Value, size: int) -> Value:
    """A row of zeros for each step and sample."""
    batch = int(x.sizes[1] or 0)
    if steps.constant is not None:
        return g.constant(np.zeros((int(steps.constant), batch, size), x.dtype))
    shape = g.concat([g.cast(g.reshape(steps, (1,)), np.int32), g.constant(np.array([batch, size], np.int32))], 0)
    return g.op("fill", x.dtype, shape=shape, value=g.scalar(0, x))
