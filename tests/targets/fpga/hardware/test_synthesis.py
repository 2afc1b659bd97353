"""The open tools build a bitstream of a core, and what they build computes what the integer model says."""

from __future__ import annotations

from typing import TYPE_CHECKING, NamedTuple

import numpy as np
import pytest

from targets._target import TargetError
from targets.fpga._hardware.boards import BOARDS, board_named, constraints
from targets.fpga._hardware.cells import Cells, require_fit
from targets.fpga._hardware.conversations import Board, require_answers
from targets.fpga._hardware.devices import DEVICES, device_named
from targets.fpga._hardware.netlists import design_source, netlist_source
from targets.fpga._hardware.simulation import simulate
from targets.fpga._hardware.synthesis import Place, host_link, place_and_route, synthesise, write_design
from tests.targets.fpga.hardware.cores import summed, sums, turned, turned_answers, vectors

if TYPE_CHECKING:
    from pathlib import Path

    from targets.fpga._hardware.synthesis import Netlist, Placement

# Yosys' first use on a machine compiles it.
pytestmark = [pytest.mark.slow, pytest.mark.timeout(1200)]
IDENTITY = bytes(range(8))
HEADS = {"ulx3s": b"\xff\x00", "icebreaker": b"\xff\x00", "tang-nano-9k": b"1111"}


class Built(NamedTuple):
    netlist: Netlist
    placement: Placement


@pytest.fixture(scope="module", params=["ulx3s", "icebreaker", "tang-nano-9k"])
def built(request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory) -> Built:
    folder = tmp_path_factory.mktemp(request.param)
    board = BOARDS[request.param]
    place = Place(device=DEVICES[board.devices[-1]], board=board, identity=IDENTITY)
    netlist = synthesise(write_design(sums(folder), place, folder))
    return Built(netlist, place_and_route(netlist))


def test_a_bitstream_is_made_for_each_family_at_the_boards_clock(built: Built) -> None:
    board = built.netlist.design.place.board
    assert board is not None
    assert built.placement.bitstream is not None
    assert built.placement.bitstream.read_bytes().startswith(HEADS[board.name])
    assert built.placement.achieved_mhz >= built.placement.goal_mhz == board.clock_hz / 1e6
    assert built.placement.trials[-1].seed == built.placement.seed
    assert "(PyPI)" in built.placement.versions["yosys"]


def test_cells_are_counted_after_synthesis_and_after_placement(built: Built) -> None:
    device = built.netlist.design.place.device
    for cells in (built.netlist.cells, built.placement.cells):
        assert 200 < cells.luts < 1500
        assert 100 < cells.flip_flops < 400
        assert cells.dsps == (0 if device.family == "gowin" else 1)
    assert built.placement.cells.luts <= 1.5 * built.netlist.cells.luts


def test_the_host_is_told_how_to_speak_to_the_board(built: Built) -> None:
    link = host_link(built.netlist.design, built.placement)
    assert link.baud == 1_000_000
    assert 0 < link.compute_ms < 0.01
    assert built.placement.bitstream is not None
    assert link.bitstream == built.placement.bitstream.name
    assert link.programmer.startswith("openFPGALoader --board ")


def test_the_netlist_matches_every_vector(built: Built) -> None:
    inputs = vectors(300)
    core, source = built.netlist.design.core, netlist_source(built.netlist)
    simulation = simulate(core, inputs, summed(inputs), source=source, simulator="iverilog")
    assert (simulation.mismatch, simulation.matched) == (None, 300)


def test_the_netlist_of_the_whole_board_answers_over_its_pins(built: Built) -> None:
    design, inputs = built.netlist.design, vectors(3)
    board = Board(source=netlist_source(built.netlist), link=design.link, folder=design.folder)
    answers = board.answers(design.core, inputs)
    assert answers is not None
    np.testing.assert_array_equal(answers, summed(inputs))


def test_the_same_seed_gives_the_same_bytes(built: Built, tmp_path: Path) -> None:
    design = built.netlist.design
    again = synthesise(write_design(sums(tmp_path), design.place, tmp_path))
    assert again.path.read_bytes() == built.netlist.path.read_bytes()
    if design.place.device.family == "ice40":
        placement = place_and_route(again)
        assert placement.bitstream is not None
        assert built.placement.bitstream is not None
        assert placement.bitstream.read_bytes() == built.placement.bitstream.read_bytes()


def test_a_clock_that_no_seed_meets_fails_with_every_number(tmp_path: Path) -> None:
    place = Place(device=DEVICES["ice40-up5k"], clock_hz=90_000_000, baud=1_000_000)
    netlist = synthesise(write_design(sums(tmp_path), place, tmp_path))
    with pytest.raises(TargetError, match=r"expected 90 MHz, got \d+\.\d with seed 1, \d+\.\d with seed 2") as raised:
        place_and_route(netlist, seeds=(1, 2))
    assert raised.value.code == "fpga.timing"
    assert "lower 'clock_mhz' to" in raised.value.hint


@pytest.mark.parametrize(
    ("device", "depth", "width"),
    [
        ("ecp5-25k", 600, 8),
        ("ecp5-25k", 5000, 2),
        ("ecp5-25k", 9000, 1),
        ("ecp5-25k", 300, 33),
        ("ice40-up5k", 400, 12),
    ],
)
def test_memories_in_the_netlist_keep_what_they_are_given(tmp_path: Path, device: str, depth: int, width: int) -> None:
    core, table = turned(tmp_path, depth, width)
    place = Place(device=DEVICES[device], interface="stream", clock_hz=10_000_000)
    netlist = synthesise(write_design(core, place, tmp_path))
    assert netlist.cells.memories
    inputs = np.random.default_rng(depth).integers(0, 1 << width, (2, depth))
    wanted = turned_answers(inputs, table)
    assert simulate(core, inputs, wanted, simulator="iverilog").mismatch is None
    simulation = simulate(core, inputs, wanted, source=netlist_source(netlist), simulator="iverilog")
    assert simulation.mismatch is None


def test_cells_without_a_model_are_named(tmp_path: Path) -> None:
    core, _ = turned(tmp_path, 2000, 8)
    place = Place(device=DEVICES["gowin-gw1nr-9c"], interface="stream", clock_hz=10_000_000)
    netlist = synthesise(write_design(core, place, tmp_path))
    with pytest.raises(TargetError, match="no model is known of") as raised:
        netlist_source(netlist)
    assert raised.value.code == "fpga.model"


@pytest.mark.parametrize(
    ("board", "clock", "cell"), [("ulx3s", 50_000_000, "EHXPLLL"), ("icebreaker", 18_000_000, "PLL")]
)
def test_another_clock_than_the_boards_comes_from_the_plls(tmp_path: Path, board: str, clock: int, cell: str) -> None:
    place = Place(device=DEVICES[BOARDS[board].devices[-1]], board=BOARDS[board], clock_hz=clock, interface="spi")
    design = write_design(sums(tmp_path), place, tmp_path)
    assert design.link.clock_hz == pytest.approx(clock, rel=0.02)
    assert any(cell in (tmp_path / name).read_text() for name in design.files)
    inputs = vectors(2)
    simulated = Board(source=design_source(design), link=design.link, folder=tmp_path)
    require_answers(simulated, design.core, inputs, summed(inputs))
    with pytest.raises(TargetError, match="the board's answers over 'spi' don't match: expected"):
        require_answers(simulated, design.core, inputs, summed(inputs) + 1)


def test_a_clock_that_no_pll_makes_is_refused(tmp_path: Path) -> None:
    place = Place(device=DEVICES["gowin-gw1nr-9c"], board=BOARDS["tang-nano-9k"], clock_hz=50_000_000)
    with pytest.raises(TargetError, match="a clock of 50 MHz can't be made: the board has 27 MHz") as raised:
        write_design(sums(tmp_path), place, tmp_path)
    assert raised.value.code == "fpga.clock"


def test_verilog_that_yosys_refuses_fails_with_its_words(tmp_path: Path) -> None:
    core = sums(tmp_path, FAULT_CODE="bounded +")
    place = Place(device=DEVICES["ecp5-25k"], clock_hz=25_000_000)
    with pytest.raises(TargetError, match="syntax error") as raised:
        synthesise(write_design(core, place, tmp_path))
    assert raised.value.code == "fpga.synthesis"


def test_a_design_over_budget_is_refused_with_the_numbers() -> None:
    cells = Cells(luts=30000, flip_flops=100, dsps=29, memories=56)
    words = "does not fit 'ecp5-25k': estimated, it needs 30000 LUTs of 24288, 29 multipliers of 28"
    with pytest.raises(TargetError, match=words) as raised:
        require_fit(cells, DEVICES["ecp5-25k"], kind="estimated")
    assert raised.value.code == "fpga.budget"


def test_constraints_name_every_port_of_the_board() -> None:
    _, text = constraints(BOARDS["ulx3s"], "uart", "ecp5")
    assert [line.split('"')[1] for line in text.splitlines() if line.startswith("LOCATE")] == [
        "clk",
        "rx",
        "tx",
        "wifi_gpio0",
    ]
    name, text = constraints(BOARDS["icebreaker"], "spi", "ice40")
    assert name == "icebreaker.pcf"
    assert {line.split()[1] for line in text.splitlines()} == {"clk", "sck", "cs_n", "mosi", "miso"}


def test_what_is_not_known_is_refused_with_what_is() -> None:
    with pytest.raises(TargetError, match="device 'ecp5-99k' is not known: expected ecp5-25k, ecp5-45k"):
        device_named("ecp5-99k")
    with pytest.raises(TargetError, match="board 'arty' is not known: expected ulx3s, icebreaker"):
        board_named("arty")
    with pytest.raises(TargetError, match="board 'tang-nano-9k' has no pins for interface 'spi': expected uart"):
        constraints(BOARDS["tang-nano-9k"], "spi", "gowin")
