"""How far each layer of a quantized file is from the same layer in float, on the same samples."""

from __future__ import annotations

from typing import TYPE_CHECKING, NamedTuple

import numpy as np

from targets.edge_arm._observation import Observed
from targets.edge_arm._recipe import MOVES

if TYPE_CHECKING:
    from targets.edge_arm._observation import Sample
    from targets.edge_arm._quantization import Network

_SAMPLES = 8
_LARGEST = 1e30
"""What is further from zero stands for infinity, as in a mask, and has no error to speak of."""

_WORST = 1e3
"""Errors beyond it are all the same."""


class Layer(NamedTuple):
    """One operation of the file, and the error of its first result."""

    name: str
    """Of the result."""
    operator: str
    source: str
    """The source model's node."""
    error: float
    """Root mean square of the difference over that of the result in float: what reached it, and its own."""
    added: float
    """What it has beyond the largest error among what it reads: sqrt(error² - read²), at least 0."""


def layers(network: Network, data: bytes, samples: list[Sample]) -> list[Layer]:
    """Every layer that computes floats, in the order of execution, compared on at most 8 samples.

    A layer whose result the quantized file does not hold, such as one that was fused away, is left out.
    """
    plain, rounded = Observed(network.data, intermediate=True), Observed(data, intermediate=True)
    names = [*network.graph.inputs, *network.layers]
    differences: dict[str, float] = {}
    sizes: dict[str, float] = {}
    for sample in samples[:_SAMPLES]:
        plain.run(sample)
        rounded.run(sample)
        got = dict(rounded.values(names))
        for name, expected in plain.values(names):
            if expected.dtype != np.float32 or name not in got or got[name].shape != expected.shape:
                continue
            usable = np.abs(expected) < _LARGEST
            found = np.clip(np.nan_to_num(got[name]), -_LARGEST, _LARGEST)
            apart = np.where(usable, expected - found, 0).astype(np.float64)
            differences[name] = differences.get(name, 0.0) + float((apart**2).sum())
            sizes[name] = sizes.get(name, 0.0) + float((np.where(usable, expected, 0).astype(np.float64) ** 2).sum())
    errors = {name: min((differences[name] / sizes[name]) ** 0.5, _WORST) if sizes[name] else 0.0 for name in sizes}
    result = []
    for operation in network.graph.operations:
        name = operation.outputs[0].name
        if name not in errors or operation.code in MOVES:
            continue
        read = max((errors.get(tensor.name, 0.0) for tensor in operation.inputs if tensor is not None), default=0.0)
        added = max(errors[name] ** 2 - read**2, 0.0) ** 0.5
        result.append(Layer(name, operation.code, operation.source, errors[name], added))
    return result


def worst(found: list[Layer]) -> Layer | None:
    """The layer that adds most."""
    return max(found, key=lambda layer: layer.added, default=None)
