"""A whole board in simulation: a host's bytes go in through the pins of its interface, and its replies come back."""

from __future__ import annotations

import tempfile
from pathlib import Path
from typing import TYPE_CHECKING, Literal

import msgspec

from agent.runtimes._frames import DONE, IDENTIFY, RUN, element_bytes, framed, packed, unpacked
from targets._target import TargetError
from targets.fpga._hardware.interfaces import Link
from targets.fpga._hardware.simulation import Source
from targets.fpga._hardware.simulators import Design, simulated

if TYPE_CHECKING:
    from collections.abc import Sequence

    import numpy as np
    from numpy.typing import NDArray

    from targets.fpga._core import Core
    from targets.fpga._hardware.simulators import Simulator

_TESTBENCHES = Path(__file__).with_name("testbenches")
_OPERATIONS = {"send": 0, "wait": 1, "await": 2, "broken": 3, "pull": 4, "leave": 5, "select": 6, "clocks": 7}
_LARGEST = (1 << 24) - 1
Operation = tuple[Literal["send", "wait", "await", "broken", "pull", "leave", "select", "clocks"], int]
"""What the testbenches beside this file can do, with its number."""


def sending(data: bytes) -> list[Operation]:
    """The operations that send those bytes."""
    return [("send", byte) for byte in data]


class Board(msgspec.Struct, frozen=True, kw_only=True):
    """A top module in simulation."""

    source: Source
    """The top module, and all below it."""
    link: Link
    folder: Path
    """From which ``$readmemh`` reads."""
    patience: int = 100_000
    """Cycles for which a reply is waited for."""
    host_divider: int = 0
    """Of the host's UART, where it is not the board's; or half a period of SPI's clock in cycles."""

    def talk(self, script: Sequence[Operation], simulator: Simulator = "iverilog") -> bytes:
        """What the board sends while the host goes through the script.

        Raises:
            TargetError: as `simulated`; or the board sent a byte without a stop bit (``fpga.simulation``).
        """
        kind = self.link.interface
        divider = self.host_divider or (self.link.divider if kind == "uart" else 6)
        design = Design(
            top=f"{kind}_tb",
            files=(_TESTBENCHES / f"{kind}_tb.v", *self.source.files),
            parameters={
                "DIVIDER" if kind == "uart" else "HALF": divider,
                "WORDS": len(script),
                "PATIENCE": self.patience,
            },
            folder=self.folder,
        )
        with tempfile.TemporaryDirectory(prefix="packtrain-sim-") as scratch:
            given, answers = Path(scratch, "in.hex"), Path(scratch, "out.txt")
            words = (_OPERATIONS[name] << 24 | min(value, _LARGEST) for name, value in script)
            given.write_text("".join(f"{word:08x}\n" for word in words), encoding="ascii")
            simulated(design, simulator, Path(scratch), {"in": given, "out": answers})
            lines = answers.read_text(encoding="ascii").splitlines()
        sent = [line.split() for line in lines[:-1]]
        if any(stop != "1" or not text.isalnum() or "x" in text for text, stop, _ in sent):
            raise TargetError("fpga.simulation", "the board sent a byte that is not one")
        return bytes(int(text, 16) for text, _, _ in sent)

    def answers(
        self, core: Core, inputs: NDArray[np.int64], simulator: Simulator = "iverilog"
    ) -> NDArray[np.int64] | None:
        """The codes that the board answers to a few samples, shape (samples, core.out_count), its identity asked first.

        None: the board did not answer as it should, byte for byte.
        """
        replies = [framed(DONE | IDENTIFY, self.link.identity)]
        length = 3 + core.out_count * element_bytes(core.out_width)
        script: list[Operation] = [("select", 0)] if self.link.interface == "spi" else []
        came = len(replies[0])
        script += [*sending(framed(IDENTIFY)), ("await", came)]
        for sample in inputs:
            came += length
            awaited = came if self.link.interface == "uart" else length
            script += [*sending(framed(RUN, packed(sample, core.in_width))), ("await", awaited)]
        told = self.talk(script, simulator)
        identity, frames = told[: len(replies[0])], told[len(replies[0]) :]
        if identity != replies[0] or len(frames) != length * len(inputs):
            return None
        payloads = b""
        for start in range(0, len(frames), length):
            payload = frames[start + 2 : start + length - 1]
            if framed(DONE | RUN, payload) != frames[start : start + length]:
                return None
            payloads += payload
        codes = unpacked(payloads, core.out_width, signed=core.out_signed)
        return codes.reshape(len(inputs), core.out_count)


def require_answers(board: Board, core: Core, inputs: NDArray[np.int64], wanted: NDArray[np.int64]) -> None:
    """Nothing, where the board says who it is, and answers every sample over its pins as the integer model does.

    Raises:
        TargetError: it does not (``fpga.mismatch``).
    """
    found = board.answers(core, inputs)
    if found is None or (found != wanted).any():
        got = "no reply as the protocol has it" if found is None else f"{found.tolist()}"
        raise TargetError(
            "fpga.mismatch",
            f"the board's answers over '{board.link.interface}' don't match: expected {wanted.tolist()}, got {got}",
            hint="this is a fault of packtrain: please report it with the model",
        )
