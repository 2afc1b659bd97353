"""What a client computes around its model, by numpy: what generated code is compared with (SPEC 3.7.1 to 3.7.7)."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, TypeAlias

if TYPE_CHECKING:
    import numpy as np
    from numpy.typing import NDArray

    from packager.clients.description import Input, Output

    Array: TypeAlias = NDArray[np.generic]


@dataclass(frozen=True)
class Found:
    """One selected class at one position."""

    position: int
    """In the order of the remaining axes."""
    index: int
    score: float


def prepared(entry: Input, raw: Array) -> Array:
    """The model's tensor from what the application gives."""
    import numpy as np

    values = raw
    if entry.computes and entry.raw != "string":
        real = raw.astype(np.float64)
        for factors, combine in ((entry.scale, np.multiply), (entry.mean, np.subtract), (entry.std, np.divide)):
            if factors:
                real = combine(real, _along(factors, entry.axis, raw.ndim))
        if entry.quantization is not None:
            real = np.rint(real / entry.quantization.scale) + entry.quantization.zero
        limits = entry.whole
        if limits is not None:
            real = np.clip(np.rint(real), *limits)
        values = real.astype(entry.dtype)
    return np.asarray(values.transpose(entry.permutation) if entry.permutation else values, order="C")


def interpreted(entry: Output, stored: Array) -> tuple[Array, list[Found]]:
    """What the application gets: the tensor, and the selected classes, position by position."""
    import numpy as np

    if not entry.computes and not entry.select:
        return stored, []
    real = stored.astype(np.float64)
    if entry.quantization is not None:
        real = (real - entry.quantization.zero) * entry.quantization.scale
    if entry.activation == "softmax":
        powers = np.exp(real - real.max(axis=entry.axis, keepdims=True))
        real = powers / powers.sum(axis=entry.axis, keepdims=True)
    elif entry.activation == "sigmoid":
        real = 1 / (1 + np.exp(-real))
    return real.astype(entry.given) if entry.computes else stored, _selected(entry, real)


def _selected(entry: Output, real: NDArray[np.float64]) -> list[Found]:
    import numpy as np

    if not entry.select:
        return []
    rows = np.moveaxis(real, entry.axis, -1).reshape(-1, real.shape[entry.axis]) if real.ndim else real.reshape(1, 1)
    found: list[Found] = []
    for position, row in enumerate(rows):
        order = np.argsort(-row, kind="stable")
        if entry.select == "threshold":
            order = np.flatnonzero(row >= entry.threshold)
        chosen = order[: {"argmax": 1, "top": entry.top}.get(entry.select, len(row))]
        found.extend(Found(position, int(index), float(row[index])) for index in chosen)
    return found


def _along(factors: tuple[float, ...], axis: int, rank: int) -> NDArray[np.float64]:
    import numpy as np

    shape = [1] * rank
    if rank and len(factors) > 1:
        shape[axis] = len(factors)
    return np.asarray(factors, dtype=np.float64).reshape(shape)
