"""A board in simulation answers every request, and none that was damaged on its way wedges it."""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np
import pytest

from agent.runtimes._frames import DONE, IDENTIFY, RUN, framed, packed, unpacked
from targets._target import TargetError
from targets.fpga._hardware.conversations import Board, sending
from targets.fpga._hardware.interfaces import Link, uart_rate, write_top
from targets.fpga._hardware.simulation import Source
from tests.targets.fpga.hardware.cores import summed, sums, vectors

if TYPE_CHECKING:
    from pathlib import Path

    from targets.fpga._core import Core
    from targets.fpga._hardware.conversations import Operation
    from targets.fpga._hardware.interfaces import Interface

IDENTITY = bytes.fromhex("0123456789abcdef")
SAMPLE = np.array([-32, 31, 5])
ANSWER = framed(DONE | RUN, packed(summed(SAMPLE[None])[0], 10))
WHO = framed(DONE | IDENTIFY, IDENTITY)
REQUEST = framed(RUN, packed(SAMPLE, 6))
WRONG, UNKNOWN, LATE = (framed(status) for status in (0xE1, 0xE2, 0xE3))
PAUSE = 5000
"""Cycles, longer than the board waits for the rest of a request."""


def board(core: Core, folder: Path, interface: Interface, *, host_divider: int = 0) -> Board:
    link = Link(interface=interface, clock_hz=1_000_000, baud=125_000, timeout_ms=3, identity=IDENTITY)
    names = write_top(core, link, folder)
    source = Source((*core.sources, *(folder / name for name in names)))
    return Board(source=source, link=link, folder=core.folder, host_divider=host_divider)


@pytest.fixture
def uart(tmp_path: Path) -> Board:
    return board(sums(tmp_path), tmp_path, "uart")


def talk(uart: Board, *parts: bytes | Operation) -> bytes:
    script: list[Operation] = []
    for part in parts:
        script += sending(part) if isinstance(part, bytes) else [part]
    return uart.talk([*script, ("wait", PAUSE)])


@pytest.mark.parametrize("interface", ["uart", "spi"])
def test_samples_in_and_answers_out_are_those_of_the_integer_model(tmp_path: Path, interface: Interface) -> None:
    core, inputs = sums(tmp_path), vectors(12)
    answers = board(core, tmp_path, interface).answers(core, inputs)
    assert answers is not None
    np.testing.assert_array_equal(answers, summed(inputs))


def test_the_board_says_which_network_it_holds(uart: Board) -> None:
    assert talk(uart, framed(IDENTIFY), ("await", len(WHO))) == WHO


def test_answers_come_back_with_their_sign_and_lowest_byte_first(uart: Board) -> None:
    reply = talk(uart, REQUEST, ("await", len(ANSWER)))
    assert reply == ANSWER
    assert unpacked(reply[2:-1], 10, signed=True).tolist() == [4, -512]


@pytest.mark.parametrize("lost", range(1, len(REQUEST)))
def test_a_lost_byte_is_reported_after_the_time_limit_and_the_next_request_answered(uart: Board, lost: int) -> None:
    cut = REQUEST[:lost] + REQUEST[lost + 1 :]
    replies = talk(uart, cut, ("wait", PAUSE), REQUEST, ("await", 3 + len(ANSWER)))
    refusal = {1: UNKNOWN}.get(lost, LATE)
    assert replies == refusal + ANSWER


def test_a_lost_start_is_a_request_that_never_was(uart: Board) -> None:
    assert talk(uart, REQUEST[1:], ("wait", PAUSE), REQUEST, ("await", len(ANSWER))) == ANSWER


@pytest.mark.parametrize("flipped", range(8))
def test_a_damaged_byte_never_reaches_the_core(uart: Board, flipped: int) -> None:
    damaged = bytearray(REQUEST)
    damaged[3] ^= 1 << flipped
    assert talk(uart, bytes(damaged), ("wait", PAUSE), REQUEST, ("await", 3 + len(ANSWER))) == WRONG + ANSWER


def test_an_unknown_command_is_refused(uart: Board) -> None:
    assert talk(uart, framed(0x07), ("wait", PAUSE), framed(IDENTIFY), ("await", 14)) == UNKNOWN + WHO


def test_a_byte_without_its_stop_bit_is_not_taken(uart: Board) -> None:
    script: list[bytes | Operation] = [REQUEST[:2], ("broken", REQUEST[2]), REQUEST[2:], ("await", len(ANSWER))]
    assert talk(uart, *script) == ANSWER


def test_a_glitch_on_the_line_is_no_byte(uart: Board) -> None:
    assert talk(uart, ("pull", 2), REQUEST[:3], ("pull", 2), REQUEST[3:], ("await", len(ANSWER))) == ANSWER


def test_bytes_that_come_while_the_board_answers_are_dropped(uart: Board) -> None:
    reply = talk(uart, REQUEST, framed(IDENTIFY)[:2], ("wait", PAUSE), framed(IDENTIFY), ("wait", PAUSE))
    assert reply == ANSWER + WHO


@pytest.mark.parametrize("host_divider", [98, 102])
def test_a_host_whose_clock_is_off_by_two_percent_is_understood(tmp_path: Path, host_divider: int) -> None:
    core = sums(tmp_path)
    link = Link(interface="uart", clock_hz=1_000_000, baud=10_000, timeout_ms=50, identity=IDENTITY)
    source = Source((*core.sources, *(tmp_path / name for name in write_top(core, link, tmp_path))))
    slanted = Board(source=source, link=link, folder=tmp_path, host_divider=host_divider)
    assert talk(slanted, REQUEST, ("await", len(ANSWER))) == ANSWER


def test_spi_starts_anew_where_the_master_left_in_the_middle_of_a_byte(tmp_path: Path) -> None:
    spi = board(sums(tmp_path), tmp_path, "spi")
    script: list[Operation] = [("select", 0), ("clocks", 3), ("leave", 0), ("select", 0), *sending(REQUEST)]
    assert spi.talk([*script, ("await", len(ANSWER))]) == ANSWER


def test_spi_keeps_a_reply_until_it_is_read_to_its_last_bit(tmp_path: Path) -> None:
    spi = board(sums(tmp_path), tmp_path, "spi")
    script: list[Operation] = [("select", 0), *sending(REQUEST), ("wait", 200)]
    script += [("leave", 0), ("select", 0), ("clocks", 5), ("leave", 0), ("select", 0), ("await", len(ANSWER))]
    assert spi.talk(script) == ANSWER


def test_a_plain_stream_has_the_ports_of_the_core(tmp_path: Path) -> None:
    names = write_top(sums(tmp_path), Link(interface="stream", clock_hz=25_000_000), tmp_path)
    assert names == ("packtrain_top.v",)
    assert "input signed" not in (tmp_path / names[0]).read_text()


@pytest.mark.parametrize(
    ("clock", "rate"), [(25_000_000, 1_000_000), (12_000_000, 1_000_000), (7_372_800, 921_600), (1_000_000, 38_400)]
)
def test_the_rate_of_the_uart_is_the_fastest_that_the_clock_divides(clock: int, rate: int) -> None:
    assert uart_rate(clock) == rate


def test_a_clock_that_is_too_slow_for_any_rate_is_refused() -> None:
    with pytest.raises(TargetError, match="too slow for a UART"):
        uart_rate(20_000)
