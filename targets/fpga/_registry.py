"""Which function reads which ONNX operator, for which versions of it."""

from __future__ import annotations

from typing import TYPE_CHECKING, TypeAlias

from targets._source.registry import Registry

if TYPE_CHECKING:
    from collections.abc import Callable

    from targets.fpga._reading import Value

    Reader: TypeAlias = Callable[..., Value | list[Value]]
    """Called with the reading, the node, and one argument for each of the node's inputs, None where it is left out."""

_CURVES = ("Elu", "Erf", "Exp", "Gelu", "HardSigmoid", "HardSwish", "Log", "Mish", "Selu", "Softplus", "Sqrt", "Swish")
_REFUSED = {
    **dict.fromkeys(_CURVES, "it bends: a network of integers has sums, products with constants, and bounds"),
    **dict.fromkeys(("GRU", "LSTM", "RNN", "Scan", "Loop"), "it keeps a state from step to step"),
    **dict.fromkeys(("LeakyRelu", "PRelu"), "the side below zero has a slope of its own"),
    "ConvTranspose": "it spreads pixels, which no layer here does",
}

registry: Registry[Reader] = Registry(
    "targets.fpga.operators", _REFUSED, "no layer of a network of integers is known for it"
)
operator = registry.operator
