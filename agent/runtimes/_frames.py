"""Requests to a board with an FPGA and its replies, as bytes; the board's side stands in Verilog.

A request is ``0xA5``, command, payload, check; a reply ``0xA5``, status, payload, check. The check is CRC-8 (polynomial
0x07, from 0, as SMBus' packet error code) over all but the ``0xA5`` and itself. An element takes as many bytes as its
bits need, lowest first, sign-extended.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Literal

import msgspec
import numpy as np

if TYPE_CHECKING:
    from pathlib import Path

    from numpy.typing import NDArray

LINK_FILE = "link.json"

START = 0xA5
RUN, IDENTIFY = 0x01, 0x02
DONE = 0x80
"""The status of a reply to a command, less the command."""
REFUSALS = {
    0xE1: "the request's check is wrong",
    0xE2: "the request's command is unknown",
    0xE3: "the request stopped before its end",
}
IDENTITY_BYTES = 8
_POLYNOMIAL = 0x07


class Link(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """``link.json``: how a board with this bitstream is spoken to."""

    interface: Literal["uart", "spi", "stream"]
    baud: int
    """Of a UART: 8 data bits, no parity, 1 stop bit."""
    timeout_ms: int
    """After which the board forgets a request that stopped."""
    compute_ms: float
    """What one sample takes, between the request's last byte and the reply's first."""
    programmer: str
    """The command that loads the bitstream into the board, with ``{}`` for the file."""
    bitstream: str
    """The file's name."""


def read_link(folder: Path) -> Link:
    """The link that a bundle's folder describes.

    Raises:
        ValueError: the file is missing, or not what it should be.
    """
    path = folder / LINK_FILE
    if not path.is_file():
        raise ValueError(f"'{LINK_FILE}' is missing: the bundle has no bitstream for a board")
    try:
        return msgspec.json.decode(path.read_bytes(), type=Link)
    except msgspec.DecodeError as error:
        raise ValueError(f"'{LINK_FILE}' is not readable: {error}") from error


def write_link(link: Link, folder: Path) -> None:
    """Write ``link.json`` into a bundle's folder."""
    (folder / LINK_FILE).write_bytes(msgspec.json.format(msgspec.json.encode(link), indent=1) + b"\n")


def check_byte(data: bytes) -> int:
    """CRC-8 of `data`."""
    check = 0
    for byte in data:
        check ^= byte
        for _ in range(8):
            check = (check << 1) ^ (_POLYNOMIAL if check & 0x80 else 0)
            check &= 0xFF
    return check


def framed(kind: int, payload: bytes = b"") -> bytes:
    """A request of that command, or a reply of that status."""
    body = bytes([kind]) + payload
    return bytes([START]) + body + bytes([check_byte(body)])


def element_bytes(width: int) -> int:
    """Bytes of an element of that many bits."""
    return -(-width // 8)


def packed(codes: NDArray[np.int64], width: int) -> bytes:
    """The codes of one sample as bytes."""
    count = element_bytes(width)
    return np.ascontiguousarray(codes.ravel(), "<i8").view(np.uint8).reshape(-1, 8)[:, :count].tobytes()


def unpacked(data: bytes, width: int, *, signed: bool) -> NDArray[np.int64]:
    """Codes from bytes, shape (elements,)."""
    count = element_bytes(width)
    rows = np.frombuffer(data, np.uint8).reshape(-1, count)
    filling = 0xFF if signed else 0
    wide = np.where(rows[:, -1:] & 0x80, filling, 0).astype(np.uint8).repeat(8, axis=1)
    wide[:, :count] = rows
    return wide.view("<i8").ravel().astype(np.int64)
