// Plays the host of a board with a UART by a script, and writes what the board sends.
//
// Plusargs: +in=FILE (one 32-bit word in hexadecimal a line), +out=FILE. A word's first byte is what to do:
// 00 send the lowest byte; 01 wait so many cycles; 02 wait until so many bytes came in all, or PATIENCE cycles have passed;
// 03 send the lowest byte without its stop bit; 04 pull the line down for so many cycles.
`timescale 1ns/1ns

module uart_tb;
    parameter DIVIDER = 8;   // of the host, which need not be that of the board
    parameter WORDS = 1;
    parameter PATIENCE = 100000;

    reg clk = 1'b0;
    reg rx = 1'b1;
    wire tx;
    packtrain_top dut (.clk(clk), .rx(rx), .tx(tx));
    always #5 clk = ~clk;

    reg [31:0] script [0:WORDS-1];
    reg [8*1024-1:0] in_path;
    reg [8*1024-1:0] out_path;
    integer out_file;
    integer step;
    integer index;
    integer waited;
    integer received = 0;
    integer cycle = 0;
    always @(posedge clk) cycle <= cycle + 1;

    task send;
        input [9:0] bits; // start bit lowest
        for (index = 0; index < 10; index = index + 1) begin
            rx <= bits[index];
            repeat (DIVIDER) @(posedge clk);
        end
    endtask

    initial begin
        if (!$value$plusargs("in=%s", in_path) || !$value$plusargs("out=%s", out_path)) $finish;
        $readmemh(in_path, script);
        out_file = $fopen(out_path, "w");
        repeat (40) @(posedge clk);
        for (step = 0; step < WORDS; step = step + 1) begin
            case (script[step][31:24])
                8'h00: send({1'b1, script[step][7:0], 1'b0});
                8'h01: repeat (script[step][23:0]) @(posedge clk);
                8'h02: begin
                    waited = 0;
                    while (received < script[step][23:0] && waited < PATIENCE) begin
                        @(posedge clk);
                        waited = waited + 1;
                    end
                end
                8'h03: begin
                    send({1'b0, script[step][7:0], 1'b0});
                    rx <= 1'b1;
                    repeat (2 * DIVIDER) @(posedge clk);
                end
                8'h04: begin
                    rx <= 1'b0;
                    repeat (script[step][23:0]) @(posedge clk);
                    rx <= 1'b1;
                    repeat (DIVIDER) @(posedge clk);
                end
                default: $fdisplay(out_file, "# unknown word");
            endcase
            rx <= 1'b1;
        end
        repeat (40 * DIVIDER) @(posedge clk);
        $fdisplay(out_file, "# complete %0d", cycle);
        $fclose(out_file);
        $finish;
    end

    reg [7:0] byte_in;
    integer bit_in;
    initial begin
        repeat (40) @(posedge clk);
        forever begin
            @(negedge tx);
            repeat (DIVIDER / 2) @(posedge clk);
            for (bit_in = 0; bit_in < 8; bit_in = bit_in + 1) begin
                repeat (DIVIDER) @(posedge clk);
                byte_in[bit_in] = tx;
            end
            repeat (DIVIDER) @(posedge clk);
            $fdisplay(out_file, "%h %b %0d", byte_in, tx, cycle);
            received = received + 1;
        end
    end
endmodule
