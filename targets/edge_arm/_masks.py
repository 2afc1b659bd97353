"""What hides behind a range: masks of attention, whose infinity or -1e9 leaves no step of an integer for the rest."""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np

from targets.edge_arm._observation import LARGEST

if TYPE_CHECKING:
    from collections.abc import Iterable, Mapping

    from targets.edge_arm._graph import Operation, Tensor
    from targets.edge_arm._observation import Activations

_EXPONENTIAL = {"LOG_SOFTMAX", "SOFTMAX"}


def masked(operations: Iterable[Operation], reached: Mapping[str, Activations], widest: int) -> frozenset[str]:
    """Results that stay in float, since integers would lose what they say.

    Those are what makes or reads infinity; and a softmax whose input's values are further apart than `widest`, with
    what that input was made of.
    """
    operations = list(operations)
    makers = {id(tensor): operation for operation in operations for tensor in operation.outputs}
    found: set[str] = set()

    def keep(operation: Operation) -> None:
        found.update(tensor.name for tensor in operation.outputs)

    def follow(tensor: Tensor | None) -> None:
        made = makers.get(id(tensor))
        if tensor is not None and made is not None and _extent(tensor, reached) > widest:
            keep(made)
            for given in made.inputs:
                follow(given)

    for operation in operations:
        tensors = (*operation.inputs, *operation.outputs)
        if any(tensor is not None and np.isinf(_extent(tensor, reached)) for tensor in tensors):
            keep(operation)
        if operation.code in _EXPONENTIAL and operation.inputs[0] is not None:
            if _extent(operation.inputs[0], reached) > widest:
                keep(operation)
            follow(operation.inputs[0])
    return frozenset(found)


def _extent(tensor: Tensor, reached: Mapping[str, Activations]) -> float:
    """How far apart the tensor's values are; infinity, where one stands for it, and 0 where nothing is known."""
    if tensor.data is not None:
        if tensor.dtype != np.float32 or not tensor.data.size:
            return 0.0
        if (np.abs(tensor.data) >= LARGEST).any():
            return float("inf")
        return float(np.ptp(tensor.data.astype(np.float64)))
    seen = reached.get(tensor.name)
    if seen is None:
        return 0.0
    return float("inf") if seen.infinite else seen.high - seen.low
