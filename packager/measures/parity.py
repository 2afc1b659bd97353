"""How far the shipped file is from the source model."""

from __future__ import annotations

import sys
from typing import TYPE_CHECKING

from manifests.manifest import OutputParity
from packager.errors import ConversionError

if TYPE_CHECKING:
    from collections.abc import Mapping

    import numpy as np
    from numpy.typing import NDArray

FAR = sys.float_info.max
"""Stands for an infinite difference, which JSON has no word for."""


def compare_outputs(
    source: Mapping[str, NDArray[np.generic]], shipped: Mapping[str, NDArray[np.generic]]
) -> tuple[OutputParity, ...]:
    """The differences of each output of the source model, over all samples.

    Raises:
        ConversionError: an output is missing in the shipped file, or has another shape.
    """
    found = []
    for name, expected in source.items():
        if name not in shipped:
            raise ConversionError("parity.output", f"the shipped file has no output '{name}'")
        got = shipped[name]
        if got.shape != expected.shape:
            raise ConversionError(
                "parity.shape",
                f"output '{name}' of the shipped file has another shape: "
                f"expected {list(expected.shape)}, got {list(got.shape)}",
            )
        found.append(_difference(name, expected, got))
    return tuple(found)


def _difference(name: str, expected: NDArray[np.generic], got: NDArray[np.generic]) -> OutputParity:
    import numpy as np

    if expected.dtype.kind in "OU":
        worst = 0.0 if np.array_equal(expected.astype(str), got.astype(str)) else 1.0
        return OutputParity(output=name, max_absolute=worst, max_relative=worst, rms_relative=worst)
    theirs, ours = expected.astype(np.float64), got.astype(np.float64)
    same = (theirs == ours) | (np.isnan(theirs) & np.isnan(ours))
    with np.errstate(invalid="ignore"):
        distances = np.where(same, 0.0, np.abs(theirs - ours))
    if not np.isfinite(distances).all():
        return OutputParity(output=name, max_absolute=FAR, max_relative=FAR, rms_relative=FAR)
    sizes = np.abs(theirs[np.isfinite(theirs)])
    worst = float(distances.max(initial=0.0))
    return OutputParity(
        output=name,
        max_absolute=_rounded(worst),
        max_relative=_ratio(worst, float(sizes.max(initial=0.0))),
        rms_relative=_ratio(_root_mean_square(distances), _root_mean_square(sizes)),
    )


def _root_mean_square(values: NDArray[np.float64]) -> float:
    """Scaled by the largest value, whose square may be past a float's range."""
    largest = float(values.max(initial=0.0))
    return largest * float(((values / largest) ** 2).mean()) ** 0.5 if largest > 0 else 0.0


def _ratio(difference: float, size: float) -> float:
    """The difference itself where the source's output is nothing but zeros."""
    return _rounded(min(difference / size, FAR) if size > 0 else difference)


def _rounded(value: float) -> float:
    return value if value == FAR else float(f"{value:.6g}")
