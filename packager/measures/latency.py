"""How long one call takes on this machine, on one thread."""

from __future__ import annotations

import time
from typing import TYPE_CHECKING

import msgspec

from packager.measures.quiet import Busy
from packager.measures.running import call_size, one_call

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping

    import numpy as np
    from numpy.typing import NDArray

    from manifests.manifest import SignatureSection
    from packager.measures.quiet import Turns
    from packager.measures.running import Runnable

_WARM_UP, _RUNS, _BUDGET_S = 10, 200, 2.0


class Latency(msgspec.Struct, frozen=True, kw_only=True):
    """Milliseconds of a call with the smallest batch that the signature allows."""

    p50: float
    p95: float
    runs: int
    alone: bool
    """Whether no other worker of this machine worked meanwhile."""
    others: float | None
    """Processors that other processes kept busy meanwhile, on average; None: not known, or too short to tell."""


def measure_latency(
    runnable: Runnable,
    inputs: Mapping[str, NDArray[np.generic]],
    signature: SignatureSection,
    turns: Turns,
    *,
    clock: Callable[[], float] = time.perf_counter,
) -> Latency:
    """Up to 200 calls, but no more than 2 s, after a warm-up of 10 calls, which keeps to the 2 s too."""
    call = one_call(inputs, call_size(signature))
    with turns.alone() as alone:
        _timed(runnable, call, _WARM_UP, clock)
        busy = Busy()
        times = sorted(_timed(runnable, call, _RUNS, clock))
        others = busy.others()
    return Latency(p50=_quantile(times, 0.5), p95=_quantile(times, 0.95), runs=len(times), alone=alone, others=others)


def _timed(
    runnable: Runnable, call: Mapping[str, NDArray[np.generic]], runs: int, clock: Callable[[], float]
) -> list[float]:
    times: list[float] = []
    begun = clock()
    while len(times) < runs and (not times or clock() - begun < _BUDGET_S):
        start = clock()
        runnable.run(call)
        times.append((clock() - start) * 1e3)
    return times


def _quantile(ordered: list[float], share: float) -> float:
    return ordered[min(len(ordered) - 1, int(share * len(ordered)))]
