from __future__ import annotations

import math
import random
from itertools import pairwise

import msgspec
import pytest
from hypothesis import example, given
from hypothesis import strategies as st

from wire.errors import WireError
from wire.messages import decode
from wire.sketches import (
    LARGEST,
    RELATIVE_ERROR,
    SMALLEST,
    LatencySketch,
    add_counts,
    count_in_bins,
    latency_bin,
    merge_latencies,
    sketch_latencies,
)

ROUNDING = 1e-9
COUNT = 5000


def _draw() -> dict[str, list[float]]:
    source = random.Random(7)  # noqa: S311 - reproducible samples, no secret
    edges = [2 * 1.02**power / (1 + 1.02) for power in range(-500, 400)]
    return {
        "uniform": [source.uniform(1e-4, 1e-2) for _ in range(COUNT)],
        "lognormal": [source.lognormvariate(-6, 2) for _ in range(COUNT)],
        "exponential": [source.expovariate(100) for _ in range(COUNT)],
        "constant": [0.0042] * COUNT,
        "bimodal": [source.gauss(1e-3, 1e-5) if n % 2 else source.gauss(1.0, 1e-2) for n in range(COUNT)],
        "one far outlier": [1e-3] * (COUNT - 1) + [9e4],
        "all magnitudes": [10 ** source.uniform(-7, 5) for _ in range(COUNT)],
        "smallest and largest": [SMALLEST] * 10 + [LARGEST] * 10,
        "near the edges of bins": edges,
        "single": [0.5],
        "rising": [n * 1e-5 for n in range(1, COUNT)],
    }


DISTRIBUTIONS = _draw()
RANKS = [0.0, 0.001, 0.01, 0.1, 0.25, 0.5, 0.75, 0.9, 0.95, 0.99, 0.999, 1.0]


def assert_guarantee(sketch: LatencySketch, values: list[float]) -> None:
    ordered = sorted(min(max(value, SMALLEST), LARGEST) for value in values)
    ranks = RANKS + [position / 100 for position in range(101)]
    for rank in ranks:
        exact = ordered[math.floor(rank * (len(ordered) - 1))]
        assert abs(sketch.quantile(rank) - exact) <= RELATIVE_ERROR * exact * (1 + ROUNDING), rank


@pytest.mark.parametrize("name", DISTRIBUTIONS)
def test_every_quantile_is_within_the_relative_error(name: str) -> None:
    values = DISTRIBUTIONS[name]
    sketch = sketch_latencies(values)
    assert sketch.count == len(values)
    assert_guarantee(sketch, values)


@pytest.mark.parametrize("parts", [1, 2, 7, 50])
@pytest.mark.parametrize("name", DISTRIBUTIONS)
def test_merged_parts_are_exactly_the_sketch_of_the_whole(name: str, parts: int) -> None:
    values = DISTRIBUTIONS[name]
    merged = merge_latencies([sketch_latencies(values[part::parts]) for part in range(parts)])
    assert merged == sketch_latencies(values)
    assert_guarantee(merged, values)


@given(st.lists(st.floats(allow_nan=False), min_size=1))
def test_any_durations_at_all_keep_the_guarantee_within_the_bounds(values: list[float]) -> None:
    assert_guarantee(sketch_latencies(values), values)


@given(st.lists(st.lists(st.floats(SMALLEST, LARGEST))))
def test_merging_does_not_depend_on_the_order(parts: list[list[float]]) -> None:
    sketches = [sketch_latencies(part) for part in parts]
    assert merge_latencies(sketches) == merge_latencies(reversed(sketches))
    assert merge_latencies([merge_latencies(sketches[:1]), *sketches[1:]]) == merge_latencies(sketches)


@given(st.lists(st.floats(allow_nan=False)))
def test_every_sketch_we_make_is_one_that_we_read(values: list[float]) -> None:
    sketch = sketch_latencies(values)
    assert msgspec.msgpack.decode(msgspec.msgpack.encode(sketch), type=LatencySketch) == sketch


def test_a_sketch_over_all_magnitudes_stays_small() -> None:
    everything = LatencySketch(bins=dict.fromkeys(range(latency_bin(SMALLEST), latency_bin(LARGEST) + 1), 2**32 - 1))
    assert len(everything.bins) == 691
    assert len(msgspec.msgpack.encode(everything)) < 6000
    assert [everything.quantile(low) <= everything.quantile(high) for low, high in pairwise(RANKS)] == [True] * 11


@pytest.mark.parametrize("bins", [{10**6: 1}, {-(10**6): 1}, {0: -1}, {0: 2**60}])
def test_bins_that_no_duration_has_are_refused(bins: dict[int, int]) -> None:
    with pytest.raises(msgspec.ValidationError):
        msgspec.msgpack.decode(msgspec.msgpack.encode({"bins": bins}), type=LatencySketch)
    with pytest.raises(WireError):
        decode(msgspec.msgpack.encode({"bins": bins}), LatencySketch)  # type: ignore[type-var]  # a sketch alone is no message


def test_an_empty_sketch_has_no_quantile() -> None:
    assert sketch_latencies([]).count == 0
    assert math.isnan(sketch_latencies([]).quantile(0.5))


@pytest.mark.parametrize("rank", [-0.1, 1.1, math.nan])
def test_a_rank_lies_between_0_and_1(rank: float) -> None:
    with pytest.raises(ValueError, match="between 0 and 1"):
        sketch_latencies([1.0]).quantile(rank)


def test_nan_is_no_duration() -> None:
    with pytest.raises(ValueError, match="NaN"):
        sketch_latencies([math.nan])


edges = st.lists(st.floats(allow_nan=False), unique=True).map(sorted)


@given(st.lists(st.floats()), edges)
@example([math.nan, 0.5, 1.0], [0.5, 1.0])
def test_each_number_is_counted_in_the_one_bin_that_holds_it(values: list[float], edges: list[float]) -> None:
    bounds = [-math.inf, *edges, math.inf]
    expected = [
        sum(1 for value in values if low < value <= high or (value == low == -math.inf and position == 0))
        for position, (low, high) in enumerate(pairwise(bounds))
    ]
    counts = count_in_bins(values, edges)
    assert len(counts) == len(edges) + 1
    assert sum(counts) == sum(1 for value in values if not math.isnan(value))
    if math.inf not in edges and -math.inf not in edges:
        assert list(counts) == expected


@given(st.lists(st.floats(allow_nan=False)), st.lists(st.floats(allow_nan=False)), edges)
def test_counts_of_parts_add_up_to_the_counts_of_the_whole(
    first: list[float], second: list[float], edges: list[float]
) -> None:
    added = add_counts(count_in_bins(first, edges), count_in_bins(second, edges))
    assert added == count_in_bins(first + second, edges)


def test_counts_of_different_bins_are_not_added() -> None:
    with pytest.raises(WireError) as caught:
        add_counts((1, 2), (1, 2, 3))
    assert caught.value.code == "wire.bins"
