"""A few calls of a model to compare precisions on: from calibration data where there is some, else made up."""

from __future__ import annotations

from typing import TYPE_CHECKING

from targets._onnx.file import signature

if TYPE_CHECKING:
    import numpy as np
    import onnx
    from numpy.typing import NDArray

    from manifests.manifest import TensorSection
    from targets._target import Arrays

_FREE = 32
"""What a free dimension other than the first gets: large enough for a few strided layers."""


def calls(model: onnx.ModelProto, calibration: Arrays | None, *, most: int) -> list[dict[str, NDArray[np.generic]]]:
    """At most that many calls, inputs by name.

    A free first dimension is 1; a fixed one takes as many rows of the calibration data.
    """
    inputs = signature(model).inputs
    if calibration is None:
        return [{entry.name: _made_up(entry, seed) for entry in inputs} for seed in range(min(most, 2))]
    sizes = {entry.name: entry.shape[0] if entry.shape and isinstance(entry.shape[0], int) else 1 for entry in inputs}
    count = min(len(calibration[name]) // size for name, size in sizes.items())
    return [
        {name: calibration[name][call * size : (call + 1) * size] for name, size in sizes.items()}
        for call in range(min(count, most))
    ]


def _made_up(entry: TensorSection, seed: int) -> NDArray[np.generic]:
    import numpy as np

    random = np.random.default_rng(seed)
    shape = [size if isinstance(size, int) else _FREE if axis else 1 for axis, size in enumerate(entry.shape)]
    if entry.dtype == "string":
        return np.full(shape, "", object)
    dtype = np.dtype(entry.dtype)
    if dtype.kind == "f":
        return random.standard_normal(shape).astype(dtype)
    # Whole numbers are often places in a table: the first two are always there.
    return random.integers(0, 2, shape).astype(dtype)
