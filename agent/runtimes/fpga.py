"""Networks of integers on a board with an FPGA, over a serial line.

The host quantizes a sample, sends its codes, reads the answer's, and computes what stays beside the FPGA. The board
says first which network it holds: one that holds another is never asked. A request that got lost or damaged is sent
again; the board never computes on damaged bytes.
"""

from __future__ import annotations

import importlib
import time
from typing import TYPE_CHECKING, Any

import numpy as np

from agent.config import serial_port
from agent.errors import AgentError
from agent.runtimes._arguments import Declared, checked_inputs
from agent.runtimes._fixed.network import network_identity, read_network
from agent.runtimes._frames import (
    DONE,
    IDENTIFY,
    IDENTITY_BYTES,
    REFUSALS,
    RUN,
    START,
    check_byte,
    element_bytes,
    framed,
    packed,
    read_link,
    unpacked,
)

if TYPE_CHECKING:
    from collections.abc import Mapping
    from pathlib import Path

    from numpy.typing import NDArray

    from agent.runtimes._fixed.network import Network
    from agent.runtimes._frames import Link
    from agent.runtimes._runtime import Runtime

DISTRIBUTION = "pyserial"
_ATTEMPTS = 3
_PATIENCE = 1.0
"""Seconds beyond what the bytes and the computation take: what USB and the system may add."""
_BITS_A_BYTE = 10
"""With start and stop bit."""


class _Line:
    """A serial line to a board, opened again by the next request where it was lost."""

    def __init__(self, place: str, link: Link) -> None:
        """`place` is a device file, or a URL of pyserial's such as ``rfc2217://host:port``."""
        self._serial: Any = importlib.import_module("serial")
        self._place = place
        self._link = link
        self._port: Any = None

    def ask(self, command: int, payload: bytes, expected: int) -> bytes:
        """The payload of the reply, of `expected` bytes.

        Raises:
            AgentError: the line is lost, or no attempt was answered as it should be.
        """
        request = framed(command, payload)
        reason = ""
        for attempt in range(_ATTEMPTS):
            try:
                if attempt:
                    self._settle()
                reason, reply = self._exchanged(request, command, expected)
            except OSError as error:  # of pyserial, every error is one
                self.close()
                raise AgentError(
                    "fpga.line",
                    f"the board at '{self._place}' can't be reached: {error}",
                    hint="is it plugged in, and no other program on its port? The next call tries again",
                ) from error
            if not reason:
                return reply
        raise AgentError(
            "fpga.reply",
            f"the board at '{self._place}' gave no right answer in {_ATTEMPTS} attempts: {reason}",
            hint=f"load the bitstream again: {self._link.programmer.format(self._link.bitstream)}",
        )

    def _exchanged(self, request: bytes, command: int, expected: int) -> tuple[str, bytes]:
        """What is wrong with the reply, empty where nothing is; and its payload."""
        port = self._opened()
        # Not reset_input_buffer, which tells of a lost line by an error that is not an OSError.
        port.read(port.in_waiting)
        port.write(request)
        moved = len(request) + expected + 3
        port.timeout = moved * _BITS_A_BYTE / self._link.baud + self._link.compute_ms / 1000 + _PATIENCE
        head: bytes = port.read_until(bytes([START]), len(request) + expected)
        if not head.endswith(bytes([START])):
            return ("no reply" if not head else "a reply that does not begin"), b""
        status: bytes = port.read(1)
        answered = status == bytes([DONE | command])
        rest: bytes = port.read((expected if answered else 0) + 1)
        body = status + rest[:-1]
        if not status or len(rest) != (expected if answered else 0) + 1:
            return "a reply that stops", b""
        if check_byte(body) != rest[-1]:
            return "a reply whose check is wrong", b""
        if not answered:
            return REFUSALS.get(status[0], f"status {status[0]:#04x}"), b""
        return "", rest[:-1]

    def _settle(self) -> None:
        """Wait until the board has forgotten the request before, and drop what it still says."""
        time.sleep(1.2 * self._link.timeout_ms / 1000)
        port = self._opened()
        port.read(port.in_waiting)

    def _opened(self) -> Any:  # noqa: ANN401 - pyserial has no types
        if self._port is None:
            self._port = self._serial.serial_for_url(
                self._place, baudrate=self._link.baud, write_timeout=_PATIENCE, exclusive=True
            )
        return self._port

    def close(self) -> None:
        """Give the port back; the next request opens it again."""
        if self._port is not None:
            self._port.close()
            self._port = None


class _Board:
    """One network on one board; not safe for concurrent calls, since they share the line."""

    def __init__(self, network: Network, identity: bytes, line: _Line, link: Link) -> None:
        self._network = network
        self._identity = identity
        self._line = line
        self._link = link
        self._declared = [Declared(network.accepts.name, network.accepts.dtype, ("samples", *network.accepts.shape))]
        self._known = False

    def identify(self) -> None:
        """Make sure that the board holds this network.

        Raises:
            AgentError: it holds another, or does not answer.
        """
        found = self._line.ask(IDENTIFY, b"", IDENTITY_BYTES)
        if found != self._identity:
            raise AgentError(
                "fpga.identity",
                f"the board holds another network: expected {self._identity.hex()}, got {found.hex()}",
                hint=f"load the bitstream: {self._link.programmer.format(self._link.bitstream)}",
            )
        self._known = True

    def run(self, inputs: Mapping[str, NDArray[np.generic]]) -> dict[str, NDArray[np.generic]]:
        """Outputs by name, for one call; samples go to the board one by one.

        Raises:
            ValueError: an input is missing, unknown, or of the wrong dtype or shape, or is NaN.
            AgentError: the board can't be reached, holds another network, or answers wrongly.
        """
        checked = checked_inputs(self._declared, inputs)
        codes = self._network.encode(checked[self._network.accepts.name])
        return {self._network.returns.name: self._network.decode(self.run_codes(codes))}

    def run_codes(self, codes: NDArray[np.int64]) -> NDArray[np.int64]:
        """The output's codes, shape (samples, *shape), for those of the input."""
        if not self._known:
            self.identify()
        source, output = self._network.input, self._network.output
        expected = output.size * element_bytes(output.format.width)
        answers = np.empty((len(codes), output.size), np.int64)
        for row, sample in enumerate(codes):
            try:
                reply = self._line.ask(RUN, packed(sample, source.format.width), expected)
            except AgentError:
                # Whoever comes back on this line may be another board.
                self._known = False
                raise
            answers[row] = unpacked(reply, output.format.width, signed=output.format.signed)
        return answers.reshape(len(codes), *output.shape)

    def reset(self) -> None:
        """Nothing to forget: a network of integers keeps no state between calls."""

    def close(self) -> None:
        self._line.close()


def open_model(path: Path, *, threads: int) -> Runtime:
    """The network whose ``network.json`` is `path`, on the board that ``PACK_AGENT_SERIAL_PORT`` names.

    Raises:
        ValueError: the bundle has no bitstream, no port is named, or the board there holds another network or does not
            answer; the message says which.
    """
    del threads
    return open_board(path.parent, serial_port())


def open_board(folder: Path, port: str) -> _Board:
    """The network in `folder` on the board at `port`, which has said that it holds it.

    Raises:
        ValueError: as `open_model`.
    """
    link = read_link(folder)
    if link.interface != "uart":
        raise ValueError(
            f"the board is spoken to by '{link.interface}': expected 'uart', for which alone a driver is here"
        )
    if not port:
        raise ValueError("no board is named: set PACK_AGENT_SERIAL_PORT to its serial port, such as /dev/ttyUSB0")
    board = _Board(read_network(folder), network_identity(folder), _Line(port, link), link)
    try:
        board.identify()
    except AgentError as error:
        board.close()
        raise ValueError(f"{error}; {error.hint}") from error
    return board
