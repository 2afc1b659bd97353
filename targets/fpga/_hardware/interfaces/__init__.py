"""What stands between a stream core and the pins of a board: the Verilog beside this file, and its top module."""

from __future__ import annotations

import shutil
from pathlib import Path
from typing import TYPE_CHECKING, Literal

import msgspec

from targets._target import TargetError

if TYPE_CHECKING:
    from collections.abc import Mapping

    from targets.fpga._core import Core

Interface = Literal["uart", "spi", "stream"]

TOP = "packtrain_top"
"""The top module's name."""
TOP_FILE = "packtrain_top.v"
_FOLDER = Path(__file__).parent
_FILES: dict[str, tuple[str, ...]] = {"uart": ("frames.v", "uart.v"), "spi": ("frames.v", "spi.v"), "stream": ()}
_RATES = (1_000_000, 921_600, 460_800, 230_400, 115_200, 57_600, 38_400, 19_200, 9_600)
_RATE_ERROR = 0.015
"""Two clocks may drift apart by 5 % in a frame of ten bits; the other side has its own error."""
_LEAST_DIVIDER = 8
_IDENTITY_BYTES = 8


class Link(msgspec.Struct, frozen=True, kw_only=True):
    """How the board is spoken to."""

    interface: Interface
    clock_hz: int
    """Of the core and of the interface."""
    baud: int = 0
    """Of a UART."""
    timeout_ms: int = 250
    """A request that stops for so long is dropped."""
    identity: bytes = bytes(_IDENTITY_BYTES)
    """What the board answers when it is asked which network it holds."""

    @property
    def divider(self) -> int:
        """Clock cycles of one bit of a UART."""
        return round(self.clock_hz / self.baud)


def uart_rate(clock_hz: int) -> int:
    """The fastest usual rate, in baud, that divides that clock well enough.

    Raises:
        TargetError: none does.
    """
    for rate in _RATES:
        divider = round(clock_hz / rate)
        if divider >= _LEAST_DIVIDER and abs(clock_hz / divider / rate - 1) <= _RATE_ERROR:
            return rate
    raise TargetError("fpga.clock", f"a clock of {clock_hz} Hz is too slow for a UART", hint="raise 'clock_mhz'")


def write_top(
    core: Core, link: Link, out: Path, *, clock: str = "", constants: Mapping[str, int] | None = None
) -> tuple[str, ...]:
    """The names of the files written to `out`: the interface's sources and the top module, in reading order.

    The top module's clock is ``clk``; its other ports are ``rx`` and ``tx`` (uart), ``sck``, ``cs_n``, ``mosi`` and
    ``miso`` (spi), or the core's own (stream).

    Args:
        core: what computes.
        link: how it is spoken to.
        out: folder.
        clock: Verilog that makes ``clock`` and ``locked`` from ``clk``; empty: ``clk`` itself is the clock.
        constants: further outputs that the board wants at a fixed level, by name.
    """
    for name in _FILES[link.interface]:
        shutil.copyfile(_FOLDER / name, out / name)
    (out / TOP_FILE).write_text(_top(core, link, clock or _SAME_CLOCK, constants or {}), encoding="ascii")
    return (*_FILES[link.interface], TOP_FILE)


def _top(core: Core, link: Link, clock: str, constants: Mapping[str, int]) -> str:
    if link.interface == "stream":
        return _stream(core, clock)
    further = "".join(f",\n    output {name}" for name in constants)
    levels = "".join(f"    assign {name} = 1'b{level};\n" for name, level in constants.items())
    ports, lines = (_UART_PORTS, _uart(link)) if link.interface == "uart" else (_SPI_PORTS, _SPI)
    return f"""module {TOP}(
    input clk,
{ports}{further}
);
{levels}{clock}{_RESET}
    wire rx_valid, tx_valid, tx_ready;
    wire [7:0] rx_byte, tx_byte;
{lines}
    wire in_valid, in_ready, in_last, out_valid, out_ready;
    wire [{core.in_width - 1}:0] in_data;
    wire [{core.out_width - 1}:0] out_data;
    packtrain_frames #(
        .IN_WIDTH({core.in_width}), .IN_COUNT({core.in_count}),
        .OUT_WIDTH({core.out_width}), .OUT_COUNT({core.out_count}), .OUT_SIGNED({int(core.out_signed)}),
        .TIMEOUT({max(1, link.clock_hz * link.timeout_ms // 1000)}), .IDENTITY(64'h{link.identity.hex()})
    ) frames (
        .clk(clock), .rst(rst),
        .rx_valid(rx_valid), .rx_byte(rx_byte), .tx_valid(tx_valid), .tx_ready(tx_ready), .tx_byte(tx_byte),
        .in_valid(in_valid), .in_ready(in_ready), .in_data(in_data), .in_last(in_last),
        .out_valid(out_valid), .out_ready(out_ready), .out_data(out_data)
    );
    (* keep_hierarchy *)
    core network (
        .clk(clock), .rst(rst),
        .in_valid(in_valid), .in_ready(in_ready), .in_data(in_data), .in_last(in_last),
        .out_valid(out_valid), .out_ready(out_ready), .out_data(out_data), .out_last()
    );
endmodule
"""


def _uart(link: Link) -> str:
    return f"""    packtrain_uart_receiver #(.DIVIDER({link.divider})) receiver (
        .clk(clock), .rst(rst), .line(rx), .valid(rx_valid), .value(rx_byte)
    );
    packtrain_uart_sender #(.DIVIDER({link.divider})) sender (
        .clk(clock), .rst(rst), .valid(tx_valid), .ready(tx_ready), .value(tx_byte), .line(tx)
    );"""


def _stream(core: Core, clock: str) -> str:
    return f"""module {TOP}(
    input clk,
    input reset,
    input in_valid, output in_ready, input [{core.in_width - 1}:0] in_data, input in_last,
    output out_valid, input out_ready, output [{core.out_width - 1}:0] out_data, output out_last
);
{clock}{_RESET}
    (* keep_hierarchy *)
    core network (
        .clk(clock), .rst(rst | reset),
        .in_valid(in_valid), .in_ready(in_ready), .in_data(in_data), .in_last(in_last),
        .out_valid(out_valid), .out_ready(out_ready), .out_data(out_data), .out_last(out_last)
    );
endmodule
"""


_UART_PORTS = "    input rx,\n    output tx"
_SPI_PORTS = "    input sck,\n    input cs_n,\n    input mosi,\n    output miso"
_SPI = """    wire selected, bit_out;
    assign miso = selected ? bit_out : 1'bz;
    packtrain_spi_slave slave (
        .clk(clock), .rst(rst), .sck(sck), .cs_n(cs_n), .mosi(mosi), .miso(bit_out), .selected(selected),
        .rx_valid(rx_valid), .rx_byte(rx_byte), .tx_valid(tx_valid), .tx_ready(tx_ready), .tx_byte(tx_byte)
    );"""
_SAME_CLOCK = "    wire clock = clk;\n    wire locked = 1'b1;\n"
_RESET = """    // Registers start at zero when the device has been configured: hold the reset for the first cycles.
    reg [3:0] up = 4'd0;
    always @(posedge clock) if (locked && !(&up)) up <= up + 4'd1;
    wire rst = !(&up);
"""
