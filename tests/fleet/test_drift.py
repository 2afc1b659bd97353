"""Laws of the stability index, and how often a verdict is wrong, measured on the digits data with fixed seeds."""

from __future__ import annotations

import math
from typing import TYPE_CHECKING

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from fleet.drift import (
    FEATURES_SHOWN,
    Current,
    Limits,
    chi_squared_tail,
    judge,
    measure,
    merge_windows,
    stability_index,
)
from manifests.manifest import BaselineSection, FeatureBaseline, PredictionBaseline
from wire.messages import FeatureCounts, Window
from wire.sketches import LatencySketch, count_in_bins

if TYPE_CHECKING:
    from numpy.typing import NDArray

    Images = NDArray[np.float64]

counts = st.lists(st.integers(0, 500), min_size=4, max_size=4).filter(any)


@pytest.fixture(scope="module")
def digits() -> Images:
    from sklearn.datasets import load_digits

    images: Images = load_digits().data
    return np.random.default_rng(7).permutation(images)


def deciles(training: Images) -> BaselineSection:
    features = []
    for index, values in enumerate(training.T):
        edges = tuple(float(edge) for edge in np.unique(np.quantile(values, np.linspace(0.1, 0.9, 9))))
        features.append(
            FeatureBaseline(
                name=f"pixel{index}", input="image", index=index, edges=edges, counts=count_in_bins(values, edges)
            )
        )
    return BaselineSection(samples=len(training), features=tuple(features))


def seen(baseline: BaselineSection, images: Images) -> Current:
    features = []
    for feature, values in zip(baseline.features, images.T, strict=True):
        bins = np.searchsorted(feature.edges, values, side="left")
        features.append((*np.bincount(bins, minlength=len(feature.counts)).tolist(), 0))
    return Current(rows=len(images), features=tuple(features))


def limits(minimum_rows: int = 200) -> Limits:
    return Limits(threshold=0.25, share=0.1, minimum_rows=minimum_rows)


def window(rows: int, *, features: dict[str, tuple[int, ...]], predictions: tuple[int, ...] = ()) -> Window:
    return Window(
        model="digits",
        version="1",
        bundle="sha256:" + "a" * 64,
        boot="b",
        sequence=1,
        start=0.0,
        end=1.0,
        rows=rows,
        calls=rows,
        latency=LatencySketch(),
        features=tuple(FeatureCounts(name=name, counts=bins) for name, bins in features.items()),
        predictions=predictions,
    )


TWO_FEATURES = BaselineSection(
    samples=100,
    features=(
        FeatureBaseline(name="a", input="x", index=0, edges=(0.0,), counts=(50, 50)),
        FeatureBaseline(name="b", input="x", index=1, edges=(0.0, 1.0), counts=(40, 30, 30)),
    ),
    predictions=PredictionBaseline(output="label", counts=(60, 40)),
)


@given(counts, st.integers(1, 20))
def test_index_is_zero_for_equal_shares(expected: list[int], times: int) -> None:
    assert stability_index(expected, [times * count for count in expected]) == pytest.approx(0, abs=1e-12)


@given(counts, counts)
def test_index_is_symmetric_finite_and_not_negative(expected: list[int], observed: list[int]) -> None:
    index = stability_index(expected, observed)
    assert index >= 0
    assert math.isfinite(index)
    assert stability_index(observed, expected) == pytest.approx(index, abs=1e-12)


@given(counts, counts)
def test_bins_that_are_empty_on_both_sides_change_nothing(expected: list[int], observed: list[int]) -> None:
    assert stability_index([*expected, 0, 0], [*observed, 0, 0]) == pytest.approx(
        stability_index(expected, observed), abs=1e-12
    )


def test_index_is_the_textbook_sum_where_counts_are_large() -> None:
    textbook = (0.5 - 0.4) * math.log(0.5 / 0.4) + (0.5 - 0.6) * math.log(0.5 / 0.6)
    assert stability_index([500_000, 500_000], [400_000, 600_000]) == pytest.approx(textbook, rel=1e-4)


def test_index_of_an_empty_side_is_refused() -> None:
    with pytest.raises(ValueError, match="both sides must have counts, got 3 and 0"):
        stability_index([1, 2], [0, 0])


@pytest.mark.parametrize("freedom", [1, 2, 9, 30])
@pytest.mark.parametrize("tail", [0.9, 0.1, 1e-3, 1e-9])
def test_chi_squared_tail_is_that_of_scipy(freedom: int, tail: float) -> None:
    from scipy.stats import chi2

    assert chi_squared_tail(float(chi2.isf(tail, freedom)), freedom) == pytest.approx(tail)


def test_chance_is_subtracted_so_that_small_samples_of_the_same_distribution_measure_near_zero() -> None:
    generator = np.random.default_rng(1)
    expected = generator.multinomial(1000, [0.1] * 10).tolist()
    samples = [generator.multinomial(100, [0.1] * 10).tolist() for _ in range(300)]
    raw = np.mean([stability_index(expected, observed) for observed in samples])
    left = np.mean([measure("x", expected, observed).psi for observed in samples])
    assert raw > 0.08
    assert left < 0.03


@given(st.lists(st.tuples(st.integers(0, 9), st.integers(0, 9), st.integers(0, 9)), max_size=6))
def test_merge_of_windows_is_their_sum(parts: list[tuple[int, int, int]]) -> None:
    windows = [
        window(one + two, features={"b": (one, two, three), "a": (two, one)}, predictions=(one, two))
        for one, two, three in parts
    ]
    merged = merge_windows(TWO_FEATURES, windows)
    first, second, third = (sum(column) for column in zip(*parts, strict=True)) if parts else (0, 0, 0)
    assert merged.features == ((second, first, 0), (first, second, third, 0))
    assert merged.predictions == (first, second)
    assert merged.rows == first + second
    assert merged.ignored == 0


@pytest.mark.parametrize(
    "strange",
    [
        window(9, features={"a": (4, 5)}, predictions=(4, 5)),
        window(9, features={"a": (4, 5), "b": (1, 2)}, predictions=(4, 5)),
        window(9, features={"a": (4, 5), "b": (1, 2, 3)}),
    ],
)
def test_window_in_other_bins_than_the_baseline_is_ignored_and_numbered(strange: Window) -> None:
    assert merge_windows(TWO_FEATURES, [strange]).ignored == 1
    assert merge_windows(TWO_FEATURES, [strange]).rows == 0


def test_missing_values_are_a_bin_of_their_own() -> None:
    nan = FeatureCounts(name="a", counts=(30, 30), missing=40)
    whole = window(100, features={"b": (40, 30, 30)}, predictions=(60, 40))
    merged = merge_windows(TWO_FEATURES, [Window(**{**_fields(whole), "features": (*whole.features, nan)})])
    verdict = judge(TWO_FEATURES, merged, limits(50))
    assert verdict.kind == "drifted"
    assert verdict.features[0].name == "a"


def _fields(whole: Window) -> dict[str, object]:
    return {name: getattr(whole, name) for name in whole.__struct_fields__}


def test_too_few_rows_are_insufficient_whatever_they_show() -> None:
    strange = merge_windows(
        TWO_FEATURES, [window(199, features={"a": (199, 0), "b": (0, 0, 199)}, predictions=(199, 0))]
    )
    assert judge(TWO_FEATURES, strange, limits(200)).kind == "insufficient"


def test_bundle_without_a_baseline_is_insufficient() -> None:
    assert judge(BaselineSection(samples=9), Current(rows=1000), limits()).kind == "insufficient"


def test_predictions_alone_can_drift() -> None:
    moved = merge_windows(
        TWO_FEATURES, [window(400, features={"a": (200, 200), "b": (140, 130, 130)}, predictions=(90, 310))]
    )
    verdict = judge(TWO_FEATURES, moved, limits())
    assert verdict.kind == "drifted"
    assert verdict.predictions is not None
    assert verdict.score == verdict.predictions.psi


def test_one_dead_pixel_of_64_is_named_but_is_no_drift(digits: Images) -> None:
    baseline = deciles(digits[:1000])
    dead = digits[1000:].copy()
    dead[:, 20] = 0
    verdict = judge(baseline, seen(baseline, dead), limits())
    assert (verdict.kind, verdict.moved, verdict.measured) == ("stable", 1, 64)
    assert verdict.features[0].name == "pixel20"


def test_worst_features_come_first_and_are_bounded(digits: Images) -> None:
    baseline = deciles(digits[:1000])
    verdict = judge(baseline, seen(baseline, digits[1000:] * 0.6), limits())
    measures = [found.psi for found in verdict.features]
    assert measures == sorted(measures, reverse=True)
    assert len(measures) == FEATURES_SHOWN


@pytest.mark.parametrize("rows", [100, 200, 500])
def test_fewer_than_one_verdict_in_100_is_a_false_alarm_at_95_percent_confidence(digits: Images, rows: int) -> None:
    """None in 300 draws of 64 correlated features: by the rule of three, below 3 / 300."""
    generator = np.random.default_rng(rows)
    alarms = 0
    for draw in range(300):
        if draw % 30 == 0:
            shuffled = generator.permutation(digits)
            baseline, rest = deciles(shuffled[:1000]), shuffled[1000:]
        sample = rest[generator.integers(0, len(rest), rows)]
        alarms += judge(baseline, seen(baseline, sample), limits(rows)).kind == "drifted"
    assert alarms == 0


@pytest.mark.parametrize("rows", [100, 200, 500])
@pytest.mark.parametrize("change", ["contrast", "noise", "shift"])
def test_a_changed_camera_is_found_in_every_draw(digits: Images, change: str, rows: int) -> None:
    generator = np.random.default_rng(rows)
    baseline = deciles(digits[:1000])
    for _ in range(30):
        sample = digits[1000:][generator.integers(0, len(digits) - 1000, rows)]
        if change == "contrast":
            sample = sample * 0.8
        elif change == "noise":
            sample = np.clip(sample + generator.normal(0, 1.0, sample.shape), 0, 16)
        else:
            sample = np.roll(sample.reshape(-1, 8, 8), 1, axis=2).reshape(-1, 64)
        assert judge(baseline, seen(baseline, sample), limits(rows)).kind == "drifted"
