"""Runs any number of samples through a model whose signature may fix how many it takes at once."""

from __future__ import annotations

from typing import TYPE_CHECKING, Protocol, TypeAlias

import numpy as np

if TYPE_CHECKING:
    from collections.abc import Mapping

    from numpy.typing import NDArray

    from manifests.manifest import SignatureSection

    Arrays: TypeAlias = Mapping[str, NDArray[np.generic]]


class Runnable(Protocol):
    """What samples are run through: a runtime, as far as one call goes."""

    def run(self, inputs: Mapping[str, NDArray[np.generic]]) -> dict[str, NDArray[np.generic]]:
        """Outputs by name, for one call."""
        ...


def batch_size(signature: SignatureSection) -> int | None:
    """Samples that one call takes; None: any number."""
    sizes = {tensor.shape[0] for tensor in signature.inputs if tensor.shape}
    fixed = [size for size in sizes if isinstance(size, int)]
    return fixed[0] if len(fixed) == 1 and len(sizes) == 1 else None


def run_batches(runtime: Runnable, inputs: Arrays, batch: int | None) -> dict[str, NDArray[np.generic]]:
    """Outputs by name, for inputs whose first axis is the sample; with a fixed `batch` they are split and joined.

    The last part is filled up with copies of its last sample, whose outputs are dropped.

    Raises:
        ValueError: the inputs have different numbers of samples, or are not what the model takes.
    """
    if batch is None:
        return runtime.run(inputs)
    rows = count_rows(inputs)
    if rows == batch:
        return runtime.run(inputs)
    parts = [_run_part(runtime, inputs, start, min(start + batch, rows), batch) for start in range(0, rows, batch)]
    if not parts:
        raise ValueError("no samples: the first axis of the inputs is empty")
    return {name: np.concatenate([part[name] for part in parts]) for name in parts[0]}


def count_rows(inputs: Arrays) -> int:
    """The length of the first axis of the inputs.

    Raises:
        ValueError: it is not the same for all, or an input has no axis.
    """
    rows = {array.shape[0] if array.ndim else -1 for array in inputs.values()}
    if len(rows) != 1 or -1 in rows:
        shapes = ", ".join(f"{name} {list(array.shape)}" for name, array in inputs.items())
        raise ValueError(f"inputs need one first axis, the sample: got {shapes or 'none'}")
    return rows.pop()


def _run_part(runtime: Runnable, inputs: Arrays, start: int, stop: int, batch: int) -> dict[str, NDArray[np.generic]]:
    count = stop - start
    part = {name: array[start:stop] for name, array in inputs.items()}
    if count < batch:
        part = {name: np.concatenate([array, *[array[-1:]] * (batch - count)]) for name, array in part.items()}
    outputs = runtime.run(part)
    for name, array in outputs.items():
        if array.ndim == 0 or array.shape[0] != batch:
            raise ValueError(
                f"output '{name}' has no axis for the sample, so rows can't be split: "
                f"expected {batch} first, got {list(array.shape)}"
            )
    return {name: array[:count] for name, array in outputs.items()}
