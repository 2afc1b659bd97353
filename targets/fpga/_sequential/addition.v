// The sum of two tensors, element by element, each first brought to the finer fraction of the two.
module addition #(
    parameter BANKS = 2,
    parameter SIZE = 1,
    parameter ADDRESS = 1,
    parameter A_WIDTH = 8,
    parameter A_SIGNED = 1,
    parameter A_LEFT = 0,
    parameter B_WIDTH = 8,
    parameter B_SIGNED = 1,
    parameter B_LEFT = 0,
    parameter OUT_WIDTH = 8,
    parameter SUM = 16,
    parameter signed [SUM-1:0] HALF = 0,
    parameter SHIFT = 0,
    parameter signed [OUT_WIDTH:0] LOW = 0,
    parameter signed [OUT_WIDTH:0] HIGH = 0
) (
    input clk,
    input rst,
    input a_readable,
    input b_readable,
    output released,
    output [ADDRESS-1:0] read_address,
    input [A_WIDTH-1:0] a_data,
    input [B_WIDTH-1:0] b_data,
    input writable,
    output written,
    output write,
    output [ADDRESS-1:0] write_address,
    output [OUT_WIDTH-1:0] write_data
);
    reg busy, running, bank;
    reg [ADDRESS-1:0] issued, count;
    reg valid_1, valid_2, valid_3, valid_4;
    reg signed [SUM-1:0] a_2, b_2, sum_3;
    wire start = !busy && a_readable && b_readable && writable && !rst;
    wire a_extension = A_SIGNED ? a_data[A_WIDTH-1] : 1'b0;
    wire b_extension = B_SIGNED ? b_data[B_WIDTH-1] : 1'b0;
    wire signed [SUM-1:0] a_value = {{(SUM-A_WIDTH){a_extension}}, a_data};
    wire signed [SUM-1:0] b_value = {{(SUM-B_WIDTH){b_extension}}, b_data};
    // Each tensor keeps count of its banks alike, so one bit tells for all three.
    wire [ADDRESS-1:0] base = bank ? SIZE : 0;

    always @(posedge clk) begin
        if (rst) begin
            busy <= 0;
            running <= 0;
            bank <= 0;
        end else begin
            if (start) begin
                busy <= 1;
                running <= 1;
            end else if (issued == SIZE - 1) begin
                running <= 0;
            end
            if (written) begin
                busy <= 0;
                if (BANKS > 1) bank <= !bank;
            end
        end
    end
    always @(posedge clk) begin
        if (start) issued <= 0;
        else if (running) issued <= issued + 1;
        if (start) count <= 0;
        else if (write) count <= count + 1;
    end
    always @(posedge clk) begin
        valid_1 <= running && !rst;
        valid_2 <= valid_1 && !rst;
        valid_3 <= valid_2 && !rst;
        valid_4 <= valid_3 && !rst;
        a_2 <= a_value <<< A_LEFT;
        b_2 <= (b_value <<< B_LEFT) + HALF;
        sum_3 <= a_2 + b_2;
    end
    saturate #(.SUM(SUM), .SHIFT(SHIFT), .WIDTH(OUT_WIDTH), .LOW(LOW), .HIGH(HIGH)) rounding (
        .clk(clk), .sum(sum_3), .code(write_data)
    );
    assign released = written;
    assign read_address = base + issued;
    assign write = valid_4;
    assign write_address = base + count;
    assign written = write && count == SIZE - 1;
endmodule
