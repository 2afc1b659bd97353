"""Small cores written by hand, and their integer models: what simulation, interfaces and synthesis are tried on."""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np

from targets.fpga._core import Core

if TYPE_CHECKING:
    from pathlib import Path

    from numpy.typing import NDArray

COUNT = 3
SUMS = """
module core(
    input clk, input rst,
    input in_valid, output in_ready, input signed [5:0] in_data, input in_last,
    output out_valid, input out_ready, output signed [9:0] out_data, output out_last
);
    // Of three elements a, b, c the answers are a + b + c and a * b - c.
    reg [2:0] state;
    reg signed [5:0] a, b, c;
    assign in_ready = state < 3;
    assign out_valid = state == 3 || state == 4;
    wire [9:0] total = {{4{a[5]}}, a} + {{4{b[5]}}, b} + {{4{c[5]}}, c};
    wire signed [12:0] product = a * b;
    wire signed [12:0] difference = product - c;
    wire signed [9:0] bounded = difference > 511 ? 10'sd511 : difference < -512 ? -10'sd512 : difference[9:0];
    assign out_data = state == 3 ? total : FAULT_CODE;
    assign out_last = FAULT_LAST;
    always @(posedge clk) begin
        if (rst) state <= 0;
        else if (in_ready) begin
            if (FAULT_VALID) begin
                a <= b; b <= c; c <= in_data;
                state <= state + 1;
            end
        end else if (out_valid && out_ready) state <= state == 4 ? FAULT_STATE : state + 1;
    end
endmodule
"""
RIGHT = {"FAULT_CODE": "bounded", "FAULT_LAST": "state == 4", "FAULT_VALID": "in_valid", "FAULT_STATE": "0"}


def sums(folder: Path, **faults: str) -> Core:
    """The core of `SUMS`, with some of its expressions replaced by wrong ones."""
    text = SUMS
    for name, expression in (RIGHT | faults).items():
        text = text.replace(name, expression)
    folder.mkdir(parents=True, exist_ok=True)
    (folder / "core.v").write_text(text, encoding="ascii")
    return Core(
        folder=folder,
        files=("core.v",),
        in_width=6,
        in_count=COUNT,
        in_signed=True,
        out_width=10,
        out_count=2,
        out_signed=True,
        latency_cycles=4,
        interval_cycles=5,
    )


def summed(codes: NDArray[np.int64]) -> NDArray[np.int64]:
    """What the core of `SUMS` has to answer."""
    a, b, c = codes.T
    return np.stack([a + b + c, np.clip(a * b - c, -512, 511)], axis=1)


def vectors(count: int, seed: int = 0) -> NDArray[np.int64]:
    """Codes over the whole range of the input, both ends first."""
    drawn = np.random.default_rng(seed).integers(-32, 32, (count, COUNT))
    drawn[0], drawn[min(1, count - 1)] = -32, 31
    return drawn


TURNED = """
module core(
    input clk, input rst,
    input in_valid, output in_ready, input [WIDTH-1:0] in_data, input in_last,
    output out_valid, input out_ready, output [WIDTH-1:0] out_data, output out_last
);
    // Answers a sample's elements in reverse order, each of them changed by a table that stands in block RAM.
    reg [WIDTH-1:0] kept [0:DEPTH-1];
    reg [WIDTH-1:0] table_of [0:1023];
    initial $readmemh("table.hex", table_of);
    reg [15:0] place;
    reg filling;
    reg [1:0] settle;
    reg [WIDTH-1:0] element, change;
    assign in_ready = filling;
    assign out_valid = !filling && settle == 0;
    assign out_data = element ^ change;
    assign out_last = place == 0;
    always @(posedge clk) begin
        if (in_valid && in_ready) kept[place] <= in_data;
        element <= kept[place];
        change <= table_of[place[9:0]];
        if (settle != 0) settle <= settle - 1;
        if (rst) begin
            place <= 0;
            filling <= 1;
        end else if (filling) begin
            settle <= 2;
            if (in_valid) begin
                filling <= place != DEPTH - 1;
                place <= place == DEPTH - 1 ? place : place + 1;
            end
        end else if (out_valid && out_ready) begin
            settle <= 2;
            filling <= place == 0;
            place <= place == 0 ? 0 : place - 1;
        end
    end
endmodule
"""


def turned(folder: Path, depth: int, width: int) -> tuple[Core, NDArray[np.int64]]:
    """The core of `TURNED`, and its table."""
    table = np.random.default_rng(width).integers(0, 1 << width, 1024)
    folder.mkdir(parents=True, exist_ok=True)
    (folder / "table.hex").write_text("".join(f"{code:x}\n" for code in table), encoding="ascii")
    text = TURNED.replace("WIDTH-1", str(width - 1)).replace("DEPTH-1", str(depth - 1)).replace("DEPTH", str(depth))
    (folder / "core.v").write_text(text, encoding="ascii")
    core = Core(
        folder=folder,
        files=("core.v",),
        data=("table.hex",),
        in_width=width,
        in_count=depth,
        in_signed=False,
        out_width=width,
        out_count=depth,
        out_signed=False,
        latency_cycles=2 * depth,
        interval_cycles=4 * depth,
    )
    return core, table


def turned_answers(codes: NDArray[np.int64], table: NDArray[np.int64]) -> NDArray[np.int64]:
    """What the core of `TURNED` has to answer."""
    return (codes ^ table[np.arange(codes.shape[1]) % 1024])[:, ::-1]
