// Bytes over two lines: 8 data bits, no parity, one stop bit; DIVIDER cycles a bit.

module packtrain_uart_receiver #(
    parameter DIVIDER = 104
) (
    input clk,
    input rst,
    input line,
    output reg valid,        // one cycle for each byte whose stop bit is there
    output reg [7:0] value
);
    reg [2:0] settled;       // the line comes from another clock
    reg [$clog2(DIVIDER)-1:0] wait_cycles;
    reg [3:0] position;      // 0: idle, 1: start bit, 2..9: data, 10: stop bit
    always @(posedge clk) begin
        settled <= {settled[1:0], line};
        valid <= 1'b0;
        if (position == 0) begin
            if (!settled[1] && settled[2]) begin
                position <= 1;
                wait_cycles <= DIVIDER / 2 - 1;
            end
        end else if (wait_cycles != 0) wait_cycles <= wait_cycles - 1;
        else begin
            wait_cycles <= DIVIDER - 1;
            position <= position + 1;
            if (position == 1) begin
                if (settled[1]) position <= 0; // a glitch
            end else if (position == 10) begin
                position <= 0;
                valid <= settled[1];
            end else value <= {settled[1], value[7:1]};
        end
        if (rst) begin
            position <= 0;
            settled <= 3'b111;
            valid <= 1'b0;
        end
    end
endmodule

module packtrain_uart_sender #(
    parameter DIVIDER = 104
) (
    input clk,
    input rst,
    input valid,
    output ready,
    input [7:0] value,
    output line
);
    reg [8:0] bits;          // what is still to come, lowest first
    reg [3:0] left;
    reg [$clog2(DIVIDER)-1:0] wait_cycles;
    reg level;
    assign line = level;
    assign ready = left == 0;
    always @(posedge clk) begin
        if (left == 0) begin
            level <= 1'b1;
            if (valid) begin
                level <= 1'b0;
                bits <= {1'b1, value};
                left <= 10;
                wait_cycles <= DIVIDER - 1;
            end
        end else if (wait_cycles != 0) wait_cycles <= wait_cycles - 1;
        else begin
            wait_cycles <= DIVIDER - 1;
            left <= left - 1;
            level <= bits[0];
            bits <= {1'b1, bits[8:1]};
        end
        if (rst) begin
            left <= 0;
            level <= 1'b1;
        end
    end
endmodule
