"""The driver of a board on a serial line: right answers through every fault, and no sample to the wrong board."""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np
import pytest

from agent.errors import AgentError
from agent.runtimes import _runtime, fpga
from agent.runtimes._fixed.host import ArgMax
from agent.runtimes._frames import check_byte, framed, packed, unpacked
from tests.agent.runtimes.boards import PlayedBoard, bundle, network

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

HELD = network()
X = np.random.default_rng(1).uniform(-4, 4, (5, 4)).astype(np.float32)
BYTES_OF_IDENTIFY = 3


@pytest.fixture
def board(tmp_path: Path) -> Iterator[PlayedBoard]:
    bundle(tmp_path, HELD)
    played = PlayedBoard(HELD, tmp_path)
    yield played
    played.unplug()


@pytest.fixture
def opened(board: PlayedBoard, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[fpga._Board]:
    # A line of a simulation needs no second to answer.
    monkeypatch.setattr(fpga, "_PATIENCE", 0.2)
    runtime = fpga.open_board(tmp_path, board.port)
    yield runtime
    runtime.close()


def test_outputs_are_those_of_the_integer_model_with_the_hosts_last_step(opened: fpga._Board) -> None:
    outputs = opened.run({"x": X})
    assert list(outputs) == ["y"]
    np.testing.assert_array_equal(outputs["y"], HELD.predict(X))
    np.testing.assert_allclose(outputs["y"].sum(axis=1), 1, rtol=1e-6)


def test_a_label_is_computed_on_the_host(tmp_path: Path) -> None:
    labelled = network(after=(ArgMax(),), seed=3)
    bundle(tmp_path, labelled)
    played = PlayedBoard(labelled, tmp_path)
    try:
        runtime = fpga.open_board(tmp_path, played.port)
        np.testing.assert_array_equal(runtime.run({"x": X})["y"], labelled.predict(X))
        runtime.close()
    finally:
        played.unplug()


def test_the_port_comes_from_the_environment(
    board: PlayedBoard, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("PACK_AGENT_SERIAL_PORT", board.port)
    runtime = fpga.open_model(tmp_path / "network.json", threads=1)
    np.testing.assert_array_equal(runtime.run({"x": X[:1]})["y"], HELD.predict(X[:1]))
    runtime.close()


def test_without_a_port_nothing_is_computed_elsewhere(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv("PACK_AGENT_SERIAL_PORT", raising=False)
    with pytest.raises(ValueError, match="set PACK_AGENT_SERIAL_PORT to its serial port"):
        fpga.open_model(bundle(tmp_path, HELD), threads=1)


def test_a_board_with_another_network_is_refused_before_any_sample(board: PlayedBoard, tmp_path: Path) -> None:
    bundle(tmp_path / "other", network(seed=9))
    words = "holds another network: expected [0-9a-f]{16}, got [0-9a-f]{16}; load the bitstream: openFPGALoader"
    with pytest.raises(ValueError, match=words):
        fpga.open_board(tmp_path / "other", board.port)
    assert board.requests == 1


@pytest.mark.parametrize("lost", range(7))
def test_a_byte_lost_on_the_way_there_is_sent_again(opened: fpga._Board, board: PlayedBoard, lost: int) -> None:
    board.lost = {BYTES_OF_IDENTIFY + lost}
    np.testing.assert_array_equal(opened.run({"x": X[:2]})["y"], HELD.predict(X[:2]))


@pytest.mark.parametrize("fault", ["damaged_replies", "silent_replies", "cut_replies"])
def test_a_reply_that_is_damaged_missing_or_cut_is_asked_for_again(
    opened: fpga._Board, board: PlayedBoard, fault: str
) -> None:
    setattr(board, fault, 1)
    np.testing.assert_array_equal(opened.run({"x": X[:2]})["y"], HELD.predict(X[:2]))
    assert getattr(board, fault) == 0


def test_a_board_that_never_answers_is_given_up_with_the_reason(opened: fpga._Board, board: PlayedBoard) -> None:
    board.silent_replies = 100
    with pytest.raises(AgentError, match="no right answer in 3 attempts: no reply") as raised:
        opened.run({"x": X[:1]})
    assert raised.value.code == "fpga.reply"
    board.silent_replies = 0
    np.testing.assert_array_equal(opened.run({"x": X[:1]})["y"], HELD.predict(X[:1]))


def test_an_unplugged_board_is_an_error_of_its_own(opened: fpga._Board, board: PlayedBoard) -> None:
    opened.run({"x": X[:1]})
    board.unplug()
    with pytest.raises(AgentError, match="can't be reached") as raised:
        opened.run({"x": X[:1]})
    assert raised.value.code == "fpga.line"


def test_after_a_failure_the_board_is_asked_anew_which_network_it_holds(
    opened: fpga._Board, board: PlayedBoard
) -> None:
    board.silent_replies = 3
    with pytest.raises(AgentError):
        opened.run({"x": X[:1]})
    board.identity = bytes(8)
    with pytest.raises(AgentError, match="holds another network") as raised:
        opened.run({"x": X[:1]})
    assert raised.value.code == "fpga.identity"


def test_a_port_that_is_not_there_is_said(tmp_path: Path) -> None:
    bundle(tmp_path, HELD)
    with pytest.raises(ValueError, match="'/dev/no-such-port' can't be reached"):
        fpga.open_board(tmp_path, "/dev/no-such-port")


def test_a_bundle_without_a_bitstream_is_refused(tmp_path: Path) -> None:
    bundle(tmp_path, HELD)
    (tmp_path / "link.json").unlink()
    with pytest.raises(ValueError, match="has no bitstream"):
        fpga.open_board(tmp_path, "/dev/ttyUSB0")


def test_inputs_that_do_not_fit_are_refused_by_name(opened: fpga._Board) -> None:
    with pytest.raises(ValueError, match="dtype of input 'x' does not match: expected float32"):
        opened.run({"x": X.astype(np.float64)})
    with pytest.raises(ValueError, match="NaN"):
        opened.run({"x": np.full((1, 4), np.nan, np.float32)})


def test_the_runtime_is_known_by_its_distribution() -> None:
    assert _runtime.is_available("fpga")
    assert _runtime.installed_version("fpga")


@pytest.mark.parametrize(("width", "signed"), [(1, False), (6, True), (8, False), (9, True), (16, True), (23, False)])
def test_codes_survive_their_bytes(width: int, signed: bool) -> None:  # noqa: FBT001 - a parameter of the test
    low, high = (-(1 << (width - 1)), (1 << (width - 1)) - 1) if signed else (0, (1 << width) - 1)
    codes = np.array([low, high, 0, (low + high) // 2])
    assert unpacked(packed(codes, width), width, signed=signed).tolist() == codes.tolist()


def test_the_check_is_that_of_smbus() -> None:
    # The check value of CRC-8 with polynomial 0x07 in the catalogue of parametrised CRC algorithms.
    assert check_byte(b"123456789") == 0xF4
    assert framed(2) == bytes([0xA5, 0x02, 0x0E])
