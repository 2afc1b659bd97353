"""A board with an FPGA, played on a pseudoterminal by the integer model, with every fault a line can have."""

from __future__ import annotations

import os
import select
import threading
import tty
from typing import TYPE_CHECKING

import numpy as np

from agent.runtimes._fixed.formats import Format
from agent.runtimes._fixed.host import ArgMax, Port, Softmax
from agent.runtimes._fixed.layers import Dense, Tensor
from agent.runtimes._fixed.network import Network, network_identity, write_network
from agent.runtimes._frames import (
    DONE,
    IDENTIFY,
    RUN,
    Link,
    check_byte,
    element_bytes,
    framed,
    packed,
    unpacked,
    write_link,
)

if TYPE_CHECKING:
    from pathlib import Path

    from agent.runtimes._fixed.host import After

TIMEOUT = 0.05
"""Seconds after which the board forgets a request that stopped."""


def network(*, after: tuple[After, ...] = (Softmax(),), seed: int = 0) -> Network:
    """Four features into three scores of twelve bits."""
    generator = np.random.default_rng(seed)
    source = Tensor("x", (4,), Format(signed=True, integer=2, fraction=5))
    output = Tensor("scores", (3,), Format(signed=True, integer=5, fraction=6))
    layer = Dense(
        name="dense",
        sources=("x",),
        output=output,
        weights=generator.integers(-31, 32, (4, 3)),
        weight_fraction=4,
        bias=generator.integers(-200, 200, 3),
    )
    shape = () if any(isinstance(step, ArgMax) for step in after) else (3,)
    kind = "float32" if shape else "int64"
    return Network(
        input=source,
        layers=(layer,),
        output=output,
        accepts=Port(name="x", dtype="float32", shape=(4,)),
        returns=Port(name="y", dtype=kind, shape=shape),
        after=after,
    )


def bundle(folder: Path, held: Network) -> Path:
    """The files of a bundle that the driver reads; the path of its entry."""
    folder.mkdir(parents=True, exist_ok=True)
    write_network(held, folder)
    link = Link(
        interface="uart",
        baud=115_200,
        timeout_ms=round(TIMEOUT * 1000),
        compute_ms=1.0,
        programmer="openFPGALoader --board ulx3s {}",
        bitstream="bitstream.bit",
    )
    write_link(link, folder)
    return folder / "network.json"


class PlayedBoard:
    """What the Verilog does, byte by byte, in a thread."""

    def __init__(self, held: Network, folder: Path) -> None:
        """`folder` has the network's files, by which it is identified."""
        self.identity = network_identity(folder)
        self.requests = 0
        self.lost: set[int] = set()
        """Bytes that never arrive, counted from the first that the host ever sent."""
        self.damaged_replies = 0
        """So many replies have one bit flipped."""
        self.silent_replies = 0
        """So many replies are never sent."""
        self.cut_replies = 0
        """So many replies end in the middle."""
        self._network = held
        self._received = 0
        self._master, slave = os.openpty()
        tty.setraw(slave)
        self.port = os.ttyname(slave)
        self._slave = slave
        self._ends, self._end = os.pipe()
        self._thread = threading.Thread(target=self._serve)
        self._thread.start()

    def unplug(self) -> None:
        """Let the line vanish."""
        if self._master >= 0:
            os.write(self._end, b"x")
            self._thread.join()
            for descriptor in (self._master, self._slave, self._ends, self._end):
                os.close(descriptor)
            self._master = -1

    def _serve(self) -> None:
        request = b""
        while True:
            ready, _, _ = select.select([self._master, self._ends], [], [], TIMEOUT if request else None)
            if self._ends in ready:
                return
            if not ready:
                self._send(framed(0xE3))
                request = b""
                continue
            for byte in os.read(self._master, 4096):
                place, self._received = self._received, self._received + 1
                if place in self.lost:
                    continue
                request = self._taken(request + bytes([byte]))

    def _taken(self, request: bytes) -> bytes:
        """What is still wanted of the request."""
        source, output = self._network.input, self._network.output
        if request[0] != 0xA5:
            return b""
        if len(request) < 2:
            return request
        if request[1] not in {RUN, IDENTIFY}:
            self._send(framed(0xE2))
            return b""
        size = source.size * element_bytes(source.format.width) if request[1] == RUN else 0
        if len(request) < size + 3:
            return request
        self.requests += 1
        payload = request[2:-1]
        if check_byte(request[1:-1]) != request[-1]:
            self._send(framed(0xE1))
        elif request[1] == IDENTIFY:
            self._send(framed(DONE | IDENTIFY, self.identity))
        else:
            codes = unpacked(payload, source.format.width, signed=source.format.signed).reshape(1, *source.shape)
            self._send(framed(DONE | RUN, packed(self._network.run(codes), output.format.width)))
        return b""

    def _send(self, reply: bytes) -> None:
        if self.silent_replies:
            self.silent_replies -= 1
        elif self.damaged_replies:
            self.damaged_replies -= 1
            os.write(self._master, reply[:3] + bytes([reply[3] ^ 0x10]) + reply[4:])
        elif self.cut_replies:
            self.cut_replies -= 1
            os.write(self._master, reply[:-2])
        else:
            os.write(self._master, reply)
