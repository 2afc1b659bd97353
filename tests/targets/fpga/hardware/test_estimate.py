"""Estimates are those of the measured designs, and refuse only what surely does not fit."""

from __future__ import annotations

import json
from pathlib import Path

import msgspec
import numpy as np
import pytest

from agent.runtimes._fixed.formats import Format
from agent.runtimes._fixed.host import Port
from agent.runtimes._fixed.layers import Dense, Tensor
from agent.runtimes._fixed.network import Network
from targets._target import TargetError
from targets.fpga._hardware.cells import Cells
from targets.fpga._hardware.devices import DEVICES
from targets.fpga._hardware.estimate import (
    FACTORS,
    Estimate,
    estimate,
    predicted,
    require_room,
    sequential_work,
    unrolled_work,
)

FIGURES = json.loads(Path("bench/results/fpga-designs.json").read_text())["figures"]
MEASURED = [(name, family) for name in sorted(FACTORS) for family in FIGURES[name]["factors"]]


def network() -> Network:
    source = Tensor("x", (4,), Format(signed=True, integer=1, fraction=6))
    output = Tensor("y", (2,), Format(signed=True, integer=3, fraction=4))
    layer = Dense(
        name="l",
        sources=("x",),
        output=output,
        weights=np.array([[7, -8], [1, 2], [3, 4], [0, 1]]),
        weight_fraction=3,
        bias=np.array([1, 2]),
    )
    port = Port(name="x", dtype="float32", shape=(4,))
    return Network(input=source, layers=(layer,), output=output, accepts=port, returns=port)


@pytest.mark.parametrize(("architecture", "family"), MEASURED)
def test_the_factors_are_those_that_were_measured(architecture: str, family: str) -> None:
    measured = FIGURES[architecture]["factors"][family]
    stated = msgspec.to_builtins(FACTORS[architecture][family])  # type: ignore[index]  # the names are parameters
    for field in ("luts", "flip_flops"):
        assert stated[field] == {name: factor for name, factor in measured[field].items() if factor}
    assert stated["error"] == measured["error"]


@pytest.mark.parametrize(("architecture", "family"), MEASURED)
def test_three_in_four_measured_designs_are_within_the_error(architecture: str, family: str) -> None:
    factors = FACTORS[architecture][family]  # type: ignore[index]  # the names are parameters
    rows = FIGURES[architecture]["designs"]
    right = [
        abs(row["cells"][family]["luts"] / predicted(row["work"], factors.luts) - 1) <= factors.error + 0.01
        for row in rows
    ]
    assert sum(right) >= 0.75 * len(right)


def test_the_estimate_of_a_design_has_its_cells_and_its_error() -> None:
    device = DEVICES["ecp5-25k"]
    found = estimate(unrolled_work(network(), 500, 300), "unrolled", device)
    assert found.cells.luts > 0
    assert found.cells.dsps == 0
    assert found.least.luts <= found.cells.luts
    planned = estimate(sequential_work(network(), {"l": 2}), "sequential", device, dsps=2, memories=3)
    assert (planned.cells.dsps, planned.cells.memories) == (2, 3)


def test_more_lanes_are_estimated_to_take_more() -> None:
    device = DEVICES["gowin-gw1nr-9c"]
    one, two = (estimate(sequential_work(network(), {"l": lanes}), "sequential", device) for lanes in (1, 2))
    assert one.cells.luts < two.cells.luts


def test_only_what_surely_does_not_fit_is_refused() -> None:
    device = DEVICES["ice40-up5k"]
    perhaps = Estimate(cells=Cells(luts=6000), error=0.25)
    require_room(perhaps, device)
    never = Estimate(cells=Cells(luts=60000), error=0.25)
    with pytest.raises(TargetError, match="estimated at the least, it needs 48000 LUTs of 5280") as raised:
        require_room(never, device)
    assert raised.value.code == "fpga.budget"
