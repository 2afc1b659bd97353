// Plays the master of a board with SPI by a script, and writes what the board sends.
//
// Plusargs: +in=FILE (one 32-bit word in hexadecimal a line), +out=FILE. A word's first byte is what to do:
// 00 exchange the lowest byte, dropping what comes; 01 wait so many cycles; 02 exchange zeros until the board's 0xA5 comes,
// or PATIENCE cycles have passed, and write that and the bytes behind it, so many in all; 05 leave the board; 06 select it;
// 07 give so many cycles of the bus' clock, which is less than a byte.
`timescale 1ns/1ns

module spi_tb;
    parameter HALF = 6;      // cycles of half a period of the bus' clock
    parameter WORDS = 1;
    parameter PATIENCE = 100000;

    reg clk = 1'b0;
    reg sck = 1'b0;
    reg cs_n = 1'b1;
    reg mosi = 1'b0;
    wire miso;
    packtrain_top dut (.clk(clk), .sck(sck), .cs_n(cs_n), .mosi(mosi), .miso(miso));
    always #5 clk = ~clk;

    reg [31:0] script [0:WORDS-1];
    reg [8*1024-1:0] in_path;
    reg [8*1024-1:0] out_path;
    integer out_file;
    integer step;
    integer index;
    integer began;
    integer count;
    reg [7:0] came;
    integer cycle = 0;
    always @(posedge clk) cycle <= cycle + 1;

    task exchange;
        input [7:0] value;
        input integer bits;
        for (index = 0; index < bits; index = index + 1) begin
            mosi <= value[7 - index];
            repeat (HALF) @(posedge clk);
            sck <= 1'b1;
            came = {came[6:0], miso};
            repeat (HALF) @(posedge clk);
            sck <= 1'b0;
        end
    endtask

    initial begin
        if (!$value$plusargs("in=%s", in_path) || !$value$plusargs("out=%s", out_path)) $finish;
        $readmemh(in_path, script);
        out_file = $fopen(out_path, "w");
        repeat (40) @(posedge clk);
        for (step = 0; step < WORDS; step = step + 1) begin
            case (script[step][31:24])
                8'h00: exchange(script[step][7:0], 8);
                8'h01: repeat (script[step][23:0]) @(posedge clk);
                8'h02: begin
                    began = cycle;
                    came = 8'h00;
                    while (came !== 8'hA5 && cycle - began < PATIENCE) exchange(8'h00, 8);
                    if (came === 8'hA5) begin
                        $fdisplay(out_file, "%h 1 %0d", came, cycle);
                        for (count = 1; count < script[step][23:0]; count = count + 1) begin
                            exchange(8'h00, 8);
                            $fdisplay(out_file, "%h 1 %0d", came, cycle);
                        end
                    end
                end
                8'h05: begin
                    cs_n <= 1'b1;
                    repeat (4 * HALF) @(posedge clk);
                end
                8'h06: begin
                    cs_n <= 1'b0;
                    repeat (4 * HALF) @(posedge clk);
                end
                8'h07: exchange(8'hA5, script[step][23:0]);
                default: $fdisplay(out_file, "# unknown word");
            endcase
        end
        $fdisplay(out_file, "# complete %0d", cycle);
        $fclose(out_file);
        $finish;
    end
endmodule
