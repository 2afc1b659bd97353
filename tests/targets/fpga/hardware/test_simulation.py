"""The simulation finds what is wrong with a core, and says where."""

from __future__ import annotations

import shutil
from typing import TYPE_CHECKING

import numpy as np
import pytest

from targets._target import TargetError
from targets.fpga._hardware.simulation import Stage, first_wrong_layer, require_match, simulate
from targets.fpga._hardware.simulators import simulator_version
from tests.targets.fpga.hardware.cores import summed, sums, vectors

if TYPE_CHECKING:
    from pathlib import Path


@pytest.mark.parametrize("pauses", [0, 1, 2, 3])
def test_a_right_core_matches_however_both_sides_pause(tmp_path: Path, pauses: int) -> None:
    inputs = vectors(200)
    simulation = simulate(sums(tmp_path), inputs, summed(inputs), pauses=pauses, simulator="iverilog")
    assert simulation.mismatch is None
    assert simulation.matched == 200
    assert simulation.simulator.startswith("iverilog ")
    require_match(simulation, "RTL")


def test_latency_and_interval_are_counted_where_nobody_pauses(tmp_path: Path) -> None:
    inputs = vectors(20)
    simulation = simulate(sums(tmp_path), inputs, summed(inputs), pauses=0)
    assert (simulation.latency_cycles, simulation.interval_cycles) == (4, 5)


@pytest.mark.skipif(shutil.which("verilator") is None, reason="verilator is not installed")
def test_verilator_says_the_same(tmp_path: Path) -> None:
    inputs = vectors(100)
    one, other = (
        simulate(sums(tmp_path), inputs, summed(inputs), simulator=simulator) for simulator in ("iverilog", "verilator")
    )
    assert (one.matched, one.cycles, one.mismatch) == (other.matched, other.cycles, other.mismatch)


def test_a_wrong_code_is_named_with_its_vector_and_element(tmp_path: Path) -> None:
    inputs = vectors(50)
    wanted = summed(inputs)
    simulation = simulate(sums(tmp_path, FAULT_CODE="difference[9:0]"), inputs, wanted)
    wrong = int(np.argmax((inputs[:, 0] * inputs[:, 1] - inputs[:, 2]) != wanted[:, 1]))
    assert simulation.mismatch is not None
    assert (simulation.mismatch.vector, simulation.mismatch.element) == (wrong, 1)
    assert simulation.mismatch.wanted == wanted[wrong, 1]
    assert simulation.matched == wrong
    with pytest.raises(TargetError, match=f"RTL does not match .* vector {wrong}, element 1: expected") as raised:
        require_match(simulation, "RTL")
    assert raised.value.code == "fpga.mismatch"


@pytest.mark.parametrize(
    ("fault", "words"),
    [
        ({"FAULT_LAST": "1'b0"}, "out_last = 0"),
        ({"FAULT_VALID": "1'b1"}, "expected"),
        ({"FAULT_STATE": "5"}, "stopped"),
        ({"FAULT_STATE": "3"}, "expected"),
        ({"FAULT_CODE": "bounded + 10'bx"}, "undefined bits"),
        ({"FAULT_LAST": "state == 4 && out_ready"}, "took back"),
    ],
)
def test_a_breach_of_the_stream_is_found(tmp_path: Path, fault: dict[str, str], words: str) -> None:
    inputs = vectors(40)
    simulation = simulate(sums(tmp_path, **fault), inputs, summed(inputs), pauses=5)
    with pytest.raises(TargetError, match=words):
        require_match(simulation, "RTL")


def test_a_surplus_answer_is_found_behind_the_last_vector(tmp_path: Path) -> None:
    core = sums(tmp_path, FAULT_STATE="3")
    inputs = vectors(1)
    simulation = simulate(core, inputs, summed(inputs), pauses=0)
    assert simulation.mismatch is not None
    assert "more elements" in simulation.mismatch.reason


def test_the_first_wrong_layer_is_named(tmp_path: Path) -> None:
    inputs = vectors(20)
    right, wrong = sums(tmp_path / "right"), sums(tmp_path / "wrong", FAULT_CODE="bounded ^ 1")
    stages = [Stage("dense_1", right, summed(inputs)), Stage("dense_2", wrong, summed(inputs))]
    found = first_wrong_layer(inputs, stages)
    assert found is not None
    assert (found.layer, found.vector, found.element) == ("dense_2", 0, 1)
    assert first_wrong_layer(inputs, stages[:1]) is None


def test_sources_that_are_no_verilog_are_refused_with_the_compilers_words(tmp_path: Path) -> None:
    core = sums(tmp_path, FAULT_CODE="missing_name")
    with pytest.raises(TargetError, match="missing_name") as raised:
        simulate(core, vectors(1), summed(vectors(1)))
    assert raised.value.code == "fpga.verilog"


def test_a_simulator_that_is_not_there_is_said_with_how_to_get_it(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("PATH", str(tmp_path))
    simulator_version.cache_clear()
    try:
        with pytest.raises(TargetError, match="'iverilog' is not installed") as raised:
            simulate(sums(tmp_path), vectors(1), summed(vectors(1)))
    finally:
        simulator_version.cache_clear()
    assert "apt install iverilog" in raised.value.hint
