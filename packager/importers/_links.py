"""From the sums of an ensemble to its predictions, as tensor operators."""

from __future__ import annotations

from typing import TYPE_CHECKING, Literal, TypeAlias

if TYPE_CHECKING:
    from packager.importers._graph import Sink

Link: TypeAlias = Literal["identity", "logistic", "exponential", "softmax", "softplus", "step", "signed-square"]
"""What is done to each sum; ``step`` gives 1 above zero and 0 elsewhere, ``signed-square`` keeps the sign."""


_OPERATORS = {"logistic": "Sigmoid", "exponential": "Exp", "softplus": "Softplus"}


def write_link(sink: Sink, sums: str, link: Link) -> str:
    """The name of the predictions: float32, as many columns as `sums`."""
    import numpy as np

    if link in _OPERATORS:
        return sink.add(_OPERATORS[link], [sums])
    if link == "signed-square":
        return sink.add("Mul", [sums, sink.add("Abs", [sums])])
    if link == "softmax":
        return sink.add("Softmax", [sums], {"axis": 1})
    if link == "step":
        above = sink.add("Greater", [sums, sink.constant(np.zeros((), dtype=np.float32))])
        return sink.add("Cast", [above], {"to": 1})
    return sums


def write_two_classes(sink: Sink, positive: str) -> str:
    """The name of both classes' probabilities; `positive` is that of the second, of (N, 1)."""
    import numpy as np

    negative = sink.add("Sub", [sink.constant(np.ones((), dtype=np.float32)), positive])
    return sink.add("Concat", [negative, positive], {"axis": 1})
