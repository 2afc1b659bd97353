"""Fixed-point formats, and how numbers get into them: by rounding half up, and by saturation, never by wrapping."""

from __future__ import annotations

from typing import TYPE_CHECKING, TypeAlias

import msgspec
import numpy as np

if TYPE_CHECKING:
    from numpy.typing import NDArray

Codes: TypeAlias = "NDArray[np.int64]"
"""Integer codes of a tensor, shape (samples, *shape)."""


class Format(msgspec.Struct, frozen=True):
    """A fixed-point format: a code stands for ``code * 2**-fraction``.

    `integer` counts bits left of the point, without the sign; it and `fraction` may be negative, the width may not be
    less than one bit.
    """

    signed: bool
    integer: int
    fraction: int

    def __post_init__(self) -> None:
        if self.width < 1:
            raise ValueError(f"format has no bits: expected a width of 1 at least, got {self.width} ({self})")

    def __str__(self) -> str:
        return f"{'s' if self.signed else 'u'}{self.integer}.{self.fraction}"

    @property
    def width(self) -> int:
        """Bits, with the sign."""
        return self.signed + self.integer + self.fraction

    @property
    def low(self) -> int:
        """The smallest code."""
        return -(1 << (self.width - 1)) if self.signed else 0

    @property
    def high(self) -> int:
        """The largest code."""
        return (1 << (self.width - self.signed)) - 1

    @property
    def step(self) -> float:
        """What one code more is worth."""
        return 2.0**-self.fraction


def smallest_format(low: int, high: int, fraction: int) -> Format:
    """The narrowest format of that fraction that holds every code from `low` to `high`."""
    signed = low < 0
    bits = max(max(high, 0).bit_length(), (-low - 1).bit_length() if signed else 0, 0 if signed else 1)
    return Format(signed, bits - fraction, fraction)


def quantize(values: NDArray[np.generic], form: Format) -> Codes:
    """The codes nearest to real numbers, halves upwards, saturated.

    Raises:
        ValueError: a number is NaN, which no code stands for.
    """
    real = np.asarray(values, np.float64)
    if np.isnan(real).any():
        raise ValueError("NaN can't be quantized: expected numbers")
    # Saturated before the cast: a float beyond int64 has no integer to be cast to.
    return np.clip(np.floor(real * 2.0**form.fraction + 0.5), form.low, form.high).astype(np.int64)


def dequantize(codes: Codes, form: Format) -> NDArray[np.float64]:
    """The real numbers that codes stand for."""
    return codes.astype(np.float64) * form.step


def requantize(codes: Codes, fraction: int, form: Format, bounds: tuple[int, int]) -> Codes:
    """Codes of a fraction as codes of another format: shifted, halves rounded upwards, then kept within `bounds`.

    Rounding is an addition of a half and an arithmetic shift right, as hardware does it.
    """
    drop = fraction - form.fraction
    shifted: Codes = codes << -drop if drop <= 0 else (codes + (1 << (drop - 1))) >> drop
    return np.clip(shifted, *bounds)
