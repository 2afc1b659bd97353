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
