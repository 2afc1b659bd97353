"""Recurrent layers.

A reversed layer starts at the last step; what it returns for each step stands in the order in which it was computed for
`rnn` and `gru`, and in the input's order for `lstm`, as Apple's own tests of these operators expect.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, NamedTuple

import numpy as np

from targets.coreml.evaluator._registry import operator
from targets.coreml.evaluator.operators.activations import sigmoid

if TYPE_CHECKING:
    from collections.abc import Callable

    from targets.coreml.evaluator._types import Array

    Activation = Callable[[Array], Array]

_HARD_SLOPE, _HARD_OFFSET = 0.2, 0.5
"""The constants of ``sigmoid_hard`` where they can't be given; those of ``scaled_tanh`` are 1."""


def _activation(name: str) -> Activation:
    known: dict[str, Activation] = {
        "relu": lambda x: np.maximum(x, 0),
        "tanh": np.tanh,
        "sigmoid": sigmoid,
        "sigmoid_hard": lambda x: np.clip(_HARD_SLOPE * x + _HARD_OFFSET, 0, 1),
        "hard_sigmoid": lambda x: np.clip(_HARD_SLOPE * x + _HARD_OFFSET, 0, 1),
        "scaled_tanh": np.tanh,
        "linear": lambda x: x,
    }
    if name not in known:
        raise ValueError(f"unknown activation '{name}'")
    return known[name]


def _result(steps: list[Array], *, whole: bool) -> Array:
    return np.stack(steps) if whole else steps[-1][np.newaxis]


@operator("rnn")
def rnn(
    x: Array,
    initial_h: Array,
    weight_ih: Array,
    weight_hh: Array,
    bias: Array | None = None,
    direction: str = "forward",
    output_sequence: Array | bool = False,
    activation: str = "tanh",
) -> tuple[Array, Array]:
    act = _activation(activation)
    offset = 0 if bias is None else bias
    h, steps = initial_h, []
    for each in x if direction == "forward" else x[::-1]:
        h = act(each @ weight_ih.T + h @ weight_hh.T + offset)
        steps.append(h)
    return _result(steps, whole=bool(output_sequence)), h


@operator("gru")
def gru(
    x: Array,
    initial_h: Array,
    weight_ih: Array,
    weight_hh: Array,
    bias: Array | None = None,
    direction: str = "forward",
    output_sequence: Array | bool = False,
    recurrent_activation: str = "sigmoid",
    activation: str = "tanh",
    reset_after: Array | bool = False,
    input_bias: Array | None = None,
) -> tuple[Array, Array]:
    """Weights in the order reset, output, update. The reset gate acts on the state before its product.

    Apple's documentation puts it after the product, Apple's test of the operator before it; the test is followed. With
    `reset_after` (iOS 18) it acts after the product and the bias.
    """
    gate, act = _activation(recurrent_activation), _activation(activation)
    size = initial_h.shape[-1]
    hidden = np.zeros(3 * size, np.float32) if bias is None else bias
    given = np.zeros(3 * size, np.float32) if input_bias is None else input_bias
    w_r, w_o, w_z = np.split(weight_hh, 3)
    b_r, b_o, b_z = np.split(hidden, 3)
    h, steps = initial_h, []
    for each in x if direction == "forward" else x[::-1]:
        i_r, i_o, i_z = np.split(each @ weight_ih.T + given, 3, axis=-1)
        r = gate(i_r + h @ w_r.T + b_r)
        z = gate(i_z + h @ w_z.T + b_z)
        inner = r * (h @ w_o.T + b_o) if bool(reset_after) else (r * h) @ w_o.T + b_o
        h = (1 - z) * act(i_o + inner) + z * h
        steps.append(h)
    return _result(steps, whole=bool(output_sequence)), h


class _Cell(NamedTuple):
    weight_ih: Array
    weight_hh: Array
    bias: Array | None
    peephole: Array | None


class _Functions(NamedTuple):
    gate: Activation
    cell: Activation
    output: Activation
    clip: float | None


def _lstm(x: Array, h: Array, c: Array, cell: _Cell, functions: _Functions) -> tuple[list[Array], Array, Array]:
    offset = 0 if cell.bias is None else cell.bias
    p_i, p_f, p_o = (0, 0, 0) if cell.peephole is None else np.split(cell.peephole, 3)
    steps = []
    for each in x:
        i, f, o, z = np.split(each @ cell.weight_ih.T + h @ cell.weight_hh.T + offset, 4, axis=-1)
        i = functions.gate(i + p_i * c)
        f = functions.gate(f + p_f * c)
        c = f * c + i * functions.cell(z)
        if functions.clip is not None:
            c = np.clip(c, -functions.clip, functions.clip)
        h = functions.gate(o + p_o * c) * functions.output(c)
        steps.append(h)
    return steps, h, c


@operator("lstm")
def lstm(
    x: Array,
    initial_h: Array,
    initial_c: Array,
    weight_ih: Array,
    weight_hh: Array,
    bias: Array | None = None,
    peephole: Array | None = None,
    weight_ih_back: Array | None = None,
    weight_hh_back: Array | None = None,
    bias_back: Array | None = None,
    peephole_back: Array | None = None,
    direction: str = "forward",
    output_sequence: Array | bool = False,
    recurrent_activation: str = "sigmoid",
    cell_activation: str = "tanh",
    activation: str = "tanh",
    clip: Array | None = None,
) -> tuple[Array, Array, Array]:
    """Weights in the order input, forget, output, cell."""
    functions = _Functions(
        _activation(recurrent_activation),
        _activation(cell_activation),
        _activation(activation),
        None if clip is None else float(clip),
    )
    forward = _Cell(weight_ih, weight_hh, bias, peephole)
    whole = bool(output_sequence)
    if direction != "bidirectional":
        ordered = x if direction == "forward" else x[::-1]
        steps, h, c = _lstm(ordered, initial_h, initial_c, forward, functions)
        return _result(steps, whole=whole), h, c
    if weight_ih_back is None or weight_hh_back is None:
        raise ValueError("a bidirectional layer needs weights for its way back")
    size = initial_h.shape[-1] // 2
    back = _Cell(weight_ih_back, weight_hh_back, bias_back, peephole_back)
    ahead, h_ahead, c_ahead = _lstm(x, initial_h[:, :size], initial_c[:, :size], forward, functions)
    behind, h_behind, c_behind = _lstm(x[::-1], initial_h[:, size:], initial_c[:, size:], back, functions)
    if whole:
        y = np.concatenate([np.stack(ahead), np.stack(behind[::-1])], axis=-1)
    else:
        y = np.concatenate([ahead[-1], behind[-1]], axis=-1)[np.newaxis]
    return y, np.concatenate([h_ahead, h_behind], axis=-1), np.concatenate([c_ahead, c_behind], axis=-1)
