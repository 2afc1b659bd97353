"""Sketches: bounded, mergeable summaries of what was seen.

`LatencySketch` follows DDSketch (Masson, Rim, Lee: "DDSketch: a fast and fully-mergeable quantile sketch with
relative-error guarantees", VLDB 2019). Counts in the bins of a baseline need no struct of their own: they add up.
"""

from __future__ import annotations

import math
from bisect import bisect_left
from typing import TYPE_CHECKING, Annotated

import msgspec

from wire.errors import WireError

if TYPE_CHECKING:
    from collections.abc import Iterable, Sequence

RELATIVE_ERROR = 0.02
"""A quantile of a `LatencySketch` is within 2 percent of the true one."""
SMALLEST = 1e-7
"""Seconds; what is shorter counts as this."""
LARGEST = 1e5
"""Seconds; what is longer counts as this."""

_GAMMA = (1 + RELATIVE_ERROR) / (1 - RELATIVE_ERROR)
_LOG_GAMMA = math.log(_GAMMA)
_LOWEST_BIN = -402
_HIGHEST_BIN = 288
"""The bins of `SMALLEST` and `LARGEST`: a device can't make the server raise gamma to a power that overflows."""


class LatencySketch(msgspec.Struct, frozen=True, kw_only=True):
    """Durations in seconds, as counts of geometric bins.

    For values between `SMALLEST` and `LARGEST`, `quantile` is within `RELATIVE_ERROR` of the value of that rank. It
    has at most 691 bins, some 4 KB on the wire.
    """

    bins: dict[
        Annotated[int, msgspec.Meta(ge=_LOWEST_BIN, le=_HIGHEST_BIN)], Annotated[int, msgspec.Meta(ge=0, le=2**53)]
    ] = {}
    """Bin i counts the values in (gamma^(i-1), gamma^i]."""

    @property
    def count(self) -> int:
        """How many durations were added."""
        return sum(self.bins.values())

    def quantile(self, rank: float) -> float:
        """The duration in seconds at `rank`, from 0 (shortest) to 1 (longest); NaN for an empty sketch.

        It stands for the value at position ``floor(rank * (count - 1))`` of all values in order.

        Raises:
            ValueError: the rank is not between 0 and 1.
        """
        if not 0 <= rank <= 1:
            raise ValueError(f"rank must be between 0 and 1, got {rank}")
        remaining = rank * (self.count - 1)
        for index in sorted(self.bins):
            remaining -= self.bins[index]
            if remaining < 0:
                return 2 * _GAMMA**index / (_GAMMA + 1)
        return math.nan


def sketch_latencies(seconds: Iterable[float]) -> LatencySketch:
    """The sketch of these durations.

    Raises:
        ValueError: one is NaN.
    """
    bins: dict[int, int] = {}
    for value in seconds:
        index = latency_bin(value)
        bins[index] = bins.get(index, 0) + 1
    return LatencySketch(bins=bins)


def latency_bin(seconds: float) -> int:
    """The bin of a `LatencySketch` that counts this duration.

    Raises:
        ValueError: it is NaN.
    """
    return math.ceil(math.log(min(max(seconds, SMALLEST), LARGEST)) / _LOG_GAMMA)


def merge_latencies(sketches: Iterable[LatencySketch]) -> LatencySketch:
    """The sketch of all durations of all sketches: exactly what one sketch of them would be."""
    bins: dict[int, int] = {}
    for sketch in sketches:
        for index, count in sketch.bins.items():
            bins[index] = bins.get(index, 0) + count
    return LatencySketch(bins=bins)


def count_in_bins(values: Iterable[float], edges: Sequence[float]) -> tuple[int, ...]:
    """How many values fall into each bin; bin i is ``(edges[i-1], edges[i]]``, the outer two are open.

    NaN is in no bin. The result has one more entry than `edges`, which must be sorted.
    """
    counts = [0] * (len(edges) + 1)
    for value in values:
        if not math.isnan(value):
            counts[bisect_left(edges, value)] += 1
    return tuple(counts)


def add_counts(first: Sequence[int], second: Sequence[int]) -> tuple[int, ...]:
    """The sum, bin by bin.

    Raises:
        WireError: they have different numbers of bins.
    """
    if len(first) != len(second):
        raise WireError("wire.bins", f"counts of different bins can't be added: {len(first)} and {len(second)}")
    return tuple(one + other for one, other in zip(first, second, strict=True))
