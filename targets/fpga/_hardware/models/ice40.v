// The PLL of iCE40, of which Yosys ships no model; without its frequency: in simulation, the design's clock is that of the
// board.

module SB_PLL40_PAD(
    input PACKAGEPIN, RESETB, BYPASS,
    output PLLOUTCORE, PLLOUTGLOBAL, LOCK
);
    parameter FEEDBACK_PATH = "SIMPLE";
    parameter DIVR = 4'b0000;
    parameter DIVF = 7'b0000000;
    parameter DIVQ = 3'b000;
    parameter FILTER_RANGE = 3'b000;
    assign PLLOUTCORE = PACKAGEPIN;
    assign PLLOUTGLOBAL = PACKAGEPIN;
    assign LOCK = 1'b1;
endmodule
