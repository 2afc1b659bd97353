"""Probabilities of classes from what each pair of them says: pairwise coupling, as libsvm and onnxruntime do it.

Wu, Lin, Weng: Probability Estimates for Multi-class Classification by Pairwise Coupling, JMLR 5 (2004), algorithm 2.
It goes round until each row's error is small enough; how near that is decides the result, so every sum is taken in the
order of the original, in float32, and a row that is near enough stays as it is.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from packager.hub.writer import BOOL, FLOAT

if TYPE_CHECKING:
    from packager.hub.writer import Array, Writer

_ROUNDS = 100
_NEAR = 0.005
_EDGE = 1e-7
"""A pair's probability is never nearer to 0 or 1."""


def coupled(writer: Writer, decisions: str, classes: int, slopes: Array, offsets: Array) -> str:
    """Probabilities, float32 (rows, classes), from the decision of each pair, float32 (rows, pairs).

    `slopes` and `offsets` are those of Platt's sigmoid of each pair, in the order 0-1, 0-2, ..., 1-2, ...
    """
    import numpy as np

    pairs = _platt(writer, decisions, slopes, offsets)
    against = writer.add("Sub", [writer.constant([1.0]), pairs])
    nothing = writer.add("Mul", [writer.add("Gather", [pairs, writer.integers(0)], axis=1), writer.constant([0.0])])
    every = writer.add("Concat", [pairs, against, nothing], axis=1)
    count = classes * (classes - 1) // 2
    places = np.full((classes, classes), 2 * count, dtype=np.int64)
    first, second = np.triu_indices(classes, 1)
    places[first, second] = np.arange(count)
    places[second, first] = count + np.arange(count)
    beats = writer.add("Gather", [every, writer.constant(places)], axis=1)
    squares = writer.add("Mul", [beats, beats])
    diagonal = _in_order(writer, [_row(writer, squares, place) for place in range(classes)])
    crossed = writer.add("Neg", [writer.add("Mul", [beats, writer.add("Transpose", [beats], perm=[0, 2, 1])])])
    eye = writer.constant(np.eye(classes, dtype=np.float32))
    form = writer.add("Add", [crossed, writer.add("Mul", [writer.unsqueeze(diagonal, 1), eye])])
    rows = [_row(writer, form, place) for place in range(classes)]
    equal = writer.constant(np.full((1, classes), 1, dtype=np.float32) / np.float32(classes))
    # Nothing is less than minus infinity: zeros, as many as there are rows, where some are no number too.
    zeros = writer.add("Cast", [writer.add("Less", [diagonal, writer.constant([-np.inf])])], to=FLOAT)
    start = writer.add("Add", [zeros, equal])
    return _iterated(writer, start, rows, [_column(writer, row, place) for place, row in enumerate(rows)])


def _iterated(writer: Writer, start: str, rows: list[str], corners: list[str]) -> str:
    import numpy as np
    import onnx

    body = writer.inner("coupling")
    classes = len(rows)
    share = f"{start}/now"
    moved, error = _round(body, share, rows, corners)
    far = body.add("GreaterOrEqual", [error, body.constant([float(np.float32(_NEAR) / np.float32(classes))])])
    distance = body.reduce("ReduceMax", body.add("Cast", [far], to=FLOAT), 1)
    kept = body.add("Where", [body.add("Cast", [distance], to=BOOL), moved, share])
    again = body.add("Cast", [body.add("ReduceSum", [distance], keepdims=0)], to=BOOL)
    typed = onnx.helper.make_tensor_value_info
    graph = onnx.helper.make_graph(
        body.nodes,
        "coupling",
        [typed(f"{start}/round", 7, []), typed(f"{start}/more", BOOL, []), typed(share, FLOAT, [None, classes])],
        [typed(again, BOOL, []), typed(kept, FLOAT, [None, classes])],
    )
    writer.constants.extend(body.constants)
    rounds, more = writer.constant(np.array(_ROUNDS, dtype=np.int64)), writer.constant(np.array(1, dtype=bool))
    return writer.add("Loop", [rounds, more, start], body=graph)


def _round(body: Writer, share: str, rows: list[str], corners: list[str]) -> tuple[str, str]:
    """The shares after one round, and how far those before it were from the solution, for each class."""
    import numpy as np

    one, two = body.constant([1.0]), body.constant([2.0])
    classes = len(rows)
    product = _in_order(body, [body.add("Mul", [row, _column(body, share, place)]) for place, row in enumerate(rows)])
    weighted = body.add("Mul", [share, product])
    total = _in_order(body, [_column(body, weighted, place) for place in range(classes)])
    error = body.add("Abs", [body.add("Sub", [product, total])])
    for place, (row, corner) in enumerate(zip(rows, corners, strict=True)):
        own = _column(body, product, place)
        step = body.add("Div", [body.add("Sub", [total, own]), corner])
        grown = body.add("Add", [one, step])
        bent = body.add("Add", [body.add("Mul", [step, corner]), body.add("Mul", [two, own])])
        total = body.add("Add", [total, body.add("Mul", [step, bent])])
        total = body.add("Div", [body.add("Div", [total, grown]), grown])
        product = body.add("Div", [body.add("Add", [product, body.add("Mul", [step, row])]), grown])
        here = np.zeros((1, classes), dtype=np.float32)
        here[0, place] = 1
        share = body.add("Add", [share, body.add("Mul", [step, body.constant(here)])])
        share = body.add("Div", [share, grown])
    return share, error


def _platt(writer: Writer, decisions: str, slopes: Array, offsets: Array) -> str:
    """The probability of each pair's first class."""
    one = writer.constant([1.0])
    value = writer.add("Mul", [decisions, writer.constant(slopes)])
    value = writer.add("Add", [value, writer.constant(offsets)])
    small = writer.add("Exp", [writer.add("Neg", [writer.add("Abs", [value])])])
    upper = writer.add("Div", [one, writer.add("Add", [one, small])])
    below = writer.add("Less", [value, writer.constant([0.0])])
    logistic = writer.add("Where", [below, writer.add("Sub", [one, upper]), upper])
    bounded = writer.add("Max", [writer.add("Sub", [one, logistic]), writer.constant([_EDGE])])
    return writer.add("Min", [bounded, writer.constant([1 - _EDGE])])


def _row(writer: Writer, cube: str, place: int) -> str:
    import numpy as np

    return writer.add("Gather", [cube, writer.constant(np.array(place, dtype=np.int64))], axis=1)


def _column(writer: Writer, matrix: str, place: int) -> str:
    return writer.add("Gather", [matrix, writer.integers(place)], axis=1)


def _in_order(writer: Writer, terms: list[str]) -> str:
    total, *others = terms
    for term in others:
        total = writer.add("Add", [total, term])
    return total
