from __future__ import annotations

import pytest

from manifests.manifest import OutputParity, ParitySection
from packager.gates.accuracy import gate_accuracy
from packager.gates.latency import gate_latency
from packager.gates.parity import gate_parity
from packager.gates.size import gate_size
from packager.measures.latency import Latency
from packager.measures.scores import Scores
from packager.quantities import parse_limit


def parity(*values: tuple[float, float]) -> ParitySection:
    outputs = tuple(
        OutputParity(output=f"y{index}", max_absolute=largest, max_relative=largest, rms_relative=root_mean_square)
        for index, (largest, root_mean_square) in enumerate(values)
    )
    return ParitySection(samples=5, inputs="data", fidelity="runtime", outputs=outputs)


@pytest.mark.parametrize(
    ("value", "limit", "verdict"), [(0.01, None, "passed"), (0.02, None, "failed"), (0.02, "5%", "passed")]
)
def test_parity_gates_by_the_worst_output_at_the_targets_limit_or_the_projects(
    value: float, limit: str | None, verdict: str
) -> None:
    written = parse_limit(limit, "ratio") if limit else None
    found = gate_parity(written, parity((0.0, 0.0), (value, 0.0)), measure="max", default=0.01)
    assert (found.verdict, found.value) == (verdict, value)
    assert "y1" in found.note


def test_parity_is_gated_by_the_measure_that_the_target_declares_and_says_which() -> None:
    one_far_value, all_a_little_off = (0.5, 0.01), (0.1, 0.09)
    measured = parity(one_far_value, all_a_little_off)
    largest = gate_parity(None, measured, measure="max", default=0.05)
    overall = gate_parity(None, measured, measure="rms", default=0.05)
    assert (largest.value, overall.value) == (0.5, 0.09)
    assert "largest difference of output 'y0'" in largest.note
    assert "root mean square of the differences of output 'y1'" in overall.note


@pytest.mark.parametrize(
    ("shipped", "waiver", "verdict"),
    [(0.90, "", "passed"), (0.88, "", "failed"), (0.88, "pilot", "waived"), (0.95, "pilot", "passed")],
)
def test_accuracy_gates_by_the_drop(shipped: float, waiver: str, verdict: str) -> None:
    scores = Scores(metric="accuracy", source=0.91, shipped=shipped, samples=100)
    found = gate_accuracy(parse_limit("1%", "ratio"), scores, waiver=waiver, evaluated=True)
    assert found is not None
    assert found.verdict == verdict
    assert found.waiver == (waiver if verdict == "waived" else "")


@pytest.mark.parametrize(
    ("limit", "evaluated", "note"),
    [("1%", False, "no evaluation data"), (None, False, "no evaluation data"), ("1%", True, "no label")],
)
def test_accuracy_without_data_says_so_limit_or_not(limit: str | None, note: str, *, evaluated: bool) -> None:
    written = parse_limit(limit, "ratio") if limit else None
    found = gate_accuracy(written, None, waiver="", evaluated=evaluated)
    assert found is not None
    assert (found.verdict, found.value, found.measured) == ("no-data", None, "no data")
    assert note in found.note


def test_a_drop_that_is_no_number_fails() -> None:
    scores = Scores(metric="r2", source=0.9, shipped=float("nan"), samples=10)
    found = gate_accuracy(parse_limit("1%", "share"), scores, waiver="", evaluated=True)
    assert found is not None
    assert found.verdict == "failed"


def test_accuracy_that_nobody_limits_is_no_gate() -> None:
    scores = Scores(metric="accuracy", source=0.9, shipped=0.1, samples=10)
    assert gate_accuracy(None, scores, waiver="", evaluated=True) is None


@pytest.mark.parametrize(("size", "verdict"), [(64_000, "passed"), (64_001, "failed")])
def test_size_gates_at_the_byte(size: int, verdict: str) -> None:
    assert gate_size(parse_limit("64 KB", "bytes"), size, waiver="").verdict == verdict


@pytest.mark.parametrize(
    ("time", "waiver", "verdict"), [(5.0, "", "passed"), (5.1, "", "failed"), (5.1, "x", "waived")]
)
def test_latency_gates_by_a_quantile(time: float, waiver: str, verdict: str) -> None:
    latency = Latency(p50=1.0, p95=time, runs=200, alone=True, others=0.1)
    found = gate_latency("latency_p95", parse_limit("5 ms", "ms"), latency, waiver=waiver)
    assert (found.name, found.verdict) == ("latency_p95", verdict)


@pytest.mark.parametrize(
    ("alone", "others", "note"),
    [
        (True, 0.1, "on the machine that built"),
        (True, None, "on the machine that built"),
        (True, 1.5, "on the machine that built, beside 1.5 busy processors"),
        (False, None, "on the machine that built, beside other conversions"),
    ],
)
def test_latency_says_what_ran_beside_the_measurement(note: str, others: float | None, *, alone: bool) -> None:
    latency = Latency(p50=1.0, p95=2.0, runs=200, alone=alone, others=others)
    assert gate_latency("latency_p50", parse_limit("5 ms", "ms"), latency, waiver="").note == note
