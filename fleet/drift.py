"""Whether what a model sees has moved away from what it was trained on: baseline against windows, to a verdict.

Pure: counts in, verdict out. The measure is the population stability index, PSI = sum((p - q) * ln(p / q)) over the
bins' shares p and q, taken feature by feature and for the predictions (N. Siddiqi, "Credit Risk Scorecards", Wiley
2006). From each the value that chance alone leads to expect is subtracted, and each is tested against the distribution
it has when nothing moved: with n and m rows and k bins, PSI / (1/n + 1/m) is chi-squared with k - 1 degrees of freedom
(B. Yurdakul, "Statistical Properties of Population Stability Index", Western Michigan University 2018).
"""

from __future__ import annotations

import math
from typing import TYPE_CHECKING, Annotated, Literal, TypeAlias

import msgspec

from wire.errors import WireError
from wire.sketches import add_counts

if TYPE_CHECKING:
    from collections.abc import Iterable, Sequence

    from manifests.manifest import BaselineSection
    from wire.messages import Window

SIGNIFICANCE = 1e-3
"""How often one verdict may find a feature by chance, all its features together (Bonferroni)."""
FEATURES_SHOWN = 10
"""How many of the worst features a verdict names."""
DEVICES_SHOWN = 20
"""How many of the worst devices are stored with a verdict."""
PSEUDO_COUNT = 0.5
"""What smoothing adds for each bin that either side has something in."""

VerdictKind: TypeAlias = Literal["insufficient", "stable", "drifted"]


class Limits(msgspec.Struct, frozen=True, kw_only=True):
    """When a verdict says that something moved."""

    threshold: Annotated[float, msgspec.Meta(gt=0)]
    """PSI, without chance's part, from which on a feature has moved; credit scoring acts on 0.2 to 0.25."""
    share: Annotated[float, msgspec.Meta(gt=0, le=1)]
    """Share of the features that must have moved; always at least one."""
    minimum_rows: Annotated[int, msgspec.Meta(ge=20)]
    """Rows below which nothing is said."""


class Measure(msgspec.Struct, frozen=True, kw_only=True):
    """How far one distribution moved."""

    name: str
    psi: float
    """Without chance's part; never below 0."""
    p_value: float
    """How often chance alone moves it at least as far."""


class DeviceScore(msgspec.Struct, frozen=True, kw_only=True):
    """The verdict on one device's rows alone."""

    device: str
    rows: int
    kind: VerdictKind
    score: float


class Verdict(msgspec.Struct, frozen=True, kw_only=True):
    """What is to be said of one stretch of time of one bundle."""

    kind: VerdictKind
    score: float
    """The PSI that as many features reach as must have moved, or the predictions' PSI if that is higher."""
    threshold: float
    rows: int
    features: tuple[Measure, ...] = ()
    """The worst, the worst first; at most `FEATURES_SHOWN`."""
    predictions: Measure | None = None
    moved: int = 0
    """How many features moved."""
    measured: int = 0
    """Of how many."""


class Details(msgspec.Struct, frozen=True, kw_only=True):
    """What is stored of a verdict."""

    start: float
    """Unix time at which the first row counted here was received."""
    end: float
    """And the last: the next verdict begins after it."""
    windows: int
    ignored: int
    """Windows among them that were not counted, because their bins are not the baseline's."""
    verdict: Verdict
    devices: tuple[DeviceScore, ...]
    """What each device's own rows say, the worst first; at most `DEVICES_SHOWN`."""


class Current(msgspec.Struct, frozen=True, kw_only=True):
    """The sum of windows, in the order of the baseline's features."""

    rows: int = 0
    features: tuple[tuple[int, ...], ...] = ()
    """A count a bin and, last, the missing values."""
    predictions: tuple[int, ...] = ()
    ignored: int = 0
    """Windows whose bins are not the baseline's."""


def merge_windows(baseline: BaselineSection, windows: Iterable[Window]) -> Current:
    """The sum of those windows that are counted in the baseline's bins; the others are only numbered in `ignored`."""
    rows = ignored = 0
    features = tuple((0,) * (len(feature.counts) + 1) for feature in baseline.features)
    predictions = (0,) * (len(baseline.predictions.counts) if baseline.predictions else 0)
    for window in windows:
        found = {feature.name: (*feature.counts, feature.missing) for feature in window.features}
        try:
            added = tuple(
                add_counts(total, found.get(feature.name, ()))
                for feature, total in zip(baseline.features, features, strict=True)
            )
            answered = add_counts(predictions, window.predictions if baseline.predictions else ())
        except WireError:
            ignored += 1
            continue
        features, predictions, rows = added, answered, rows + window.rows
    return Current(rows=rows, features=features, predictions=predictions, ignored=ignored)


def judge(baseline: BaselineSection, current: Current, limits: Limits) -> Verdict:
    """The verdict on `current`.

    A feature moved when its PSI, without chance's part, reaches `Limits.threshold` and is significant after
    Bonferroni's correction for the number of distributions compared. Drifted: `Limits.share` of the features moved, at
    least one, or the predictions did. One feature of many that moves is thus no drift of the model unless its
    predictions say so; and chance, which may move any one of many features, seldom moves a tenth of them.
    """
    if current.rows < limits.minimum_rows or not (baseline.features or baseline.predictions):
        return Verdict(kind="insufficient", score=0.0, threshold=limits.threshold, rows=current.rows)
    features = [
        measure(feature.name, (*feature.counts, max(0, baseline.samples - sum(feature.counts))), counts)
        for feature, counts in zip(baseline.features, current.features, strict=True)
    ]
    predictions = None
    if baseline.predictions:
        predictions = measure(baseline.predictions.output, baseline.predictions.counts, current.predictions)
    level = SIGNIFICANCE / (len(features) + (predictions is not None))
    worst = sorted(features, key=lambda found: found.psi, reverse=True)
    needed = max(1, math.ceil(limits.share * len(features)))
    moved = sum(_moved(found, limits, level) for found in features)
    score = max(worst[needed - 1].psi if worst else 0.0, predictions.psi if predictions else 0.0)
    drifted = moved >= needed or (predictions is not None and _moved(predictions, limits, level))
    return Verdict(
        kind="drifted" if drifted else "stable",
        score=score,
        threshold=limits.threshold,
        rows=current.rows,
        features=tuple(worst[:FEATURES_SHOWN]),
        predictions=predictions,
        moved=moved,
        measured=len(features),
    )


def measure(name: str, expected: Sequence[int], observed: Sequence[int]) -> Measure:
    """How far `observed` is from `expected`, both counts in the same bins; nothing observed has not moved."""
    n, m = sum(expected), sum(observed)
    if n == 0 or m == 0:
        return Measure(name=name, psi=0.0, p_value=1.0)
    freedom = sum(1 for pair in zip(expected, observed, strict=True) if any(pair)) - 1
    scale = 1 / n + 1 / m
    raw = stability_index(expected, observed)
    return Measure(name=name, psi=max(0.0, raw - freedom * scale), p_value=chi_squared_tail(raw / scale, freedom))


def stability_index(expected: Sequence[int], observed: Sequence[int]) -> float:
    """The PSI of two lists of counts, smoothed so that it is finite; symmetric, and 0 for equal shares.

    To each side `PSEUDO_COUNT` is added for every bin that is not empty on both, spread as the two sides together are
    distributed: an empty bin becomes a small share, equal shares stay equal, bins that both leave empty add nothing.

    Raises:
        ValueError: a side has no counts, or they differ in length.
    """
    n, m = sum(expected), sum(observed)
    if n == 0 or m == 0:
        raise ValueError(f"both sides must have counts, got {n} and {m}")
    pairs = [(b, c) for b, c in zip(expected, observed, strict=True) if b or c]
    weight = PSEUDO_COUNT * len(pairs)
    total = 0.0
    for b, c in pairs:
        pooled = weight * (b + c) / (n + m)
        p, q = (b + pooled) / (n + weight), (c + pooled) / (m + weight)
        total += (p - q) * math.log(p / q)
    return total


def chi_squared_tail(value: float, freedom: int) -> float:
    """The probability that a chi-squared variable exceeds `value`: the finite series for whole degrees of freedom.

    M. Abramowitz and I. Stegun, "Handbook of Mathematical Functions", 26.4.4 and 26.4.5.
    """
    if freedom < 1 or value <= 0:
        return 1.0
    half = value / 2
    tail = math.erfc(math.sqrt(half)) if freedom % 2 else 0.0
    for term in range(freedom // 2):
        power = term + (freedom % 2) / 2
        tail += math.exp(power * math.log(half) - half - math.lgamma(power + 1))
    return min(1.0, tail)


def _moved(found: Measure, limits: Limits, level: float) -> bool:
    return found.psi >= limits.threshold and found.p_value <= level
