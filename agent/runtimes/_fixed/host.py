"""What stays on the computer beside the FPGA: real numbers into the network's codes, and its codes into the outputs."""

from __future__ import annotations

from typing import TypeAlias

import msgspec
import numpy as np
from numpy.typing import NDArray

Reals: TypeAlias = NDArray[np.float64]


class Affine(msgspec.Struct, frozen=True, kw_only=True, eq=False, tag="affine"):
    """``values * scale + offset`` for each element, before they are quantized.

    So that features of unlike ranges share a format.
    """

    scale: Reals
    """Of the input's shape, or one that is broadcast to it."""
    offset: Reals

    def apply(self, values: Reals) -> Reals:
        """The values, each scaled and moved."""
        return values * self.scale + self.offset


class Ranks(msgspec.Struct, frozen=True, kw_only=True, eq=False, tag="ranks"):
    """Of each feature, how many of its cuts are below it: all that a tree, which compares with the cuts, asks of it.

    So a value is at most the k-th cut, from 0 on, exactly where its rank is at most k, whatever the value's type.
    """

    columns: NDArray[np.int64]
    """The features that are looked at, by their places in the input."""
    cuts: Reals
    """Of one feature after another, each in ascending order."""
    starts: NDArray[np.int64]
    """(features + 1): where each feature's cuts begin, and where the last one's end."""
    absent: int
    """The rank of NaN."""
    single: bool
    """Whether a value is rounded to float32 first, as it is where thresholds are compared in float32."""

    def apply(self, values: Reals) -> Reals:
        """The ranks, as whole numbers; shape (samples, features that are looked at)."""
        rows = values.reshape(len(values), -1)[:, self.columns]
        if self.single:
            with np.errstate(over="ignore"):  # beyond float32 is infinity, which has a rank
                rows = rows.astype(np.float32).astype(np.float64)
        found = np.empty(rows.shape)
        for place in range(len(self.columns)):
            own = self.cuts[self.starts[place] : self.starts[place + 1]]
            found[:, place] = np.searchsorted(own, rows[:, place], side="left")
        ranks: Reals = np.where(np.isnan(rows), float(self.absent), found)
        return ranks


class Softmax(msgspec.Struct, frozen=True, kw_only=True, tag="softmax"):
    """Shares that sum to one along an axis, counted from the end."""

    axis: int = -1

    def apply(self, values: Reals) -> Reals:
        """``exp(x)`` over the sum of them."""
        powers: Reals = np.exp(values - values.max(axis=self.axis, keepdims=True))
        shares: Reals = powers / powers.sum(axis=self.axis, keepdims=True)
        return shares


class LogSoftmax(msgspec.Struct, frozen=True, kw_only=True, tag="log-softmax"):
    """The logarithm of a softmax along an axis, counted from the end."""

    axis: int = -1

    def apply(self, values: Reals) -> Reals:
        """``x`` less the logarithm of the sum of ``exp(x)``."""
        moved: Reals = values - values.max(axis=self.axis, keepdims=True)
        logarithms: Reals = moved - np.log(np.exp(moved).sum(axis=self.axis, keepdims=True))
        return logarithms


class Sigmoid(msgspec.Struct, frozen=True, kw_only=True, tag="sigmoid"):
    """The logistic function of each element."""

    def apply(self, values: Reals) -> Reals:
        """``1 / (1 + exp(-x))``, without an overflow on either side."""
        return 0.5 * (1.0 + np.tanh(0.5 * values))


class Tanh(msgspec.Struct, frozen=True, kw_only=True, tag="tanh"):
    """The hyperbolic tangent of each element."""

    def apply(self, values: Reals) -> Reals:
        """``tanh(x)``."""
        return np.tanh(values)


class Complement(msgspec.Struct, frozen=True, kw_only=True, tag="complement"):
    """Of a probability p, the pair ``1 - p`` and ``p`` along the last axis, which has one element before."""

    def apply(self, values: Reals) -> Reals:
        """Both classes' probabilities."""
        return np.concatenate([1.0 - values, values], axis=-1)


class Normalize(msgspec.Struct, frozen=True, kw_only=True, tag="normalize"):
    """Each row divided by the sum of its absolute values along the last axis; a row of zeros stays one."""

    def apply(self, values: Reals) -> Reals:
        """The shares."""
        total = np.abs(values).sum(axis=-1, keepdims=True)
        shares: Reals = np.divide(values, total, out=np.zeros_like(values), where=total > 0)
        return shares


class ArgMax(msgspec.Struct, frozen=True, kw_only=True, tag="argmax"):
    """Where the largest element of an axis stands, the first one of several; the axis is counted from the end."""

    axis: int = -1
    keeps_axis: bool = False

    def apply(self, values: Reals) -> Reals:
        """The position, as a number."""
        return np.asarray(np.argmax(values, axis=self.axis, keepdims=self.keeps_axis), np.float64)


class Reshape(msgspec.Struct, frozen=True, kw_only=True, tag="reshape"):
    """The same elements in another shape, without the batch."""

    shape: tuple[int, ...]

    def apply(self, values: Reals) -> Reals:
        """The elements, reshaped."""
        return values.reshape(len(values), *self.shape)


Before: TypeAlias = Affine | Ranks
"""A step on real numbers before they are quantized."""
After: TypeAlias = Softmax | LogSoftmax | Sigmoid | Tanh | Complement | Normalize | ArgMax | Reshape | Affine
"""A step on the real numbers that the network's codes stand for."""


class Port(msgspec.Struct, frozen=True, kw_only=True):
    """An input or output of the model as the application sees it, without the batch."""

    name: str
    dtype: str
    """As numpy names it."""
    shape: tuple[int, ...]


def applied(steps: tuple[Before, ...] | tuple[After, ...], values: Reals) -> Reals:
    """The values after all steps."""
    for step in steps:
        values = step.apply(values)
    return values


def cast(values: Reals, port: Port) -> NDArray[np.generic]:
    """The values in the dtype and shape of an output; integers are rounded."""
    kind = np.dtype(port.dtype)
    rounded = np.rint(values) if kind.kind in "iu" else values
    return rounded.reshape(len(values), *port.shape).astype(kind)
