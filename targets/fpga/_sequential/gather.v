// Elements of a tensor in an order of one's own, requantized.
module gather #(
    parameter BANKS = 2,
    parameter IN_WIDTH = 8,
    parameter IN_SIGNED = 1,
    parameter IN_SIZE = 1,
    parameter IN_ADDRESS = 1,
    parameter OUT_WIDTH = 8,
    parameter OUT_SIZE = 1,
    parameter OUT_ADDRESS = 1,
    parameter ORDER_FILE = "",
    parameter SUM = 16,
    parameter signed [SUM-1:0] HALF = 0,
    parameter SHIFT = 0,
    parameter signed [OUT_WIDTH:0] LOW = 0,
    parameter signed [OUT_WIDTH:0] HIGH = 0
) (
    input clk,
    input rst,
    input readable,
    output released,
    output reg [IN_ADDRESS-1:0] read_address,
    input [IN_WIDTH-1:0] read_data,
    input writable,
    output written,
    output write,
    output [OUT_ADDRESS-1:0] write_address,
    output [OUT_WIDTH-1:0] write_data
);
    reg busy, running, in_bank, out_bank;
    reg [OUT_ADDRESS-1:0] issued, count;
    reg [IN_ADDRESS-1:0] place;
    reg [IN_ADDRESS-1:0] order [0:OUT_SIZE-1];
    generate
        if (ORDER_FILE != "") initial $readmemh(ORDER_FILE, order);
    endgenerate
    reg valid_1, valid_2, valid_3, valid_4, valid_5;
    reg signed [SUM-1:0] sum;
    wire start = !busy && readable && writable && !rst;
    wire extension = IN_SIGNED ? read_data[IN_WIDTH-1] : 1'b0;
    wire signed [SUM-1:0] value = {{(SUM-IN_WIDTH){extension}}, read_data};
    wire [IN_ADDRESS-1:0] in_base = in_bank ? IN_SIZE : 0;
    wire [OUT_ADDRESS-1:0] out_base = out_bank ? OUT_SIZE : 0;

    always @(posedge clk) begin
        if (rst) begin
            busy <= 0;
            running <= 0;
            in_bank <= 0;
            out_bank <= 0;
        end else begin
            if (start) begin
                busy <= 1;
                running <= 1;
            end else if (issued == OUT_SIZE - 1) begin
                running <= 0;
            end
            if (written) begin
                busy <= 0;
                if (BANKS > 1) begin
                    in_bank <= !in_bank;
                    out_bank <= !out_bank;
                end
            end
        end
    end
    always @(posedge clk) begin
        if (start) issued <= 0;
        else if (running) issued <= issued + 1;
        if (start) count <= 0;
        else if (write) count <= count + 1;
    end
    always @(posedge clk) place <= order[issued];
    always @(posedge clk) begin
        valid_1 <= running && !rst;
        valid_2 <= valid_1 && !rst;
        valid_3 <= valid_2 && !rst;
        valid_4 <= valid_3 && !rst;
        valid_5 <= valid_4 && !rst;
        read_address <= in_base + place;
        sum <= value + HALF;
    end
    saturate #(.SUM(SUM), .SHIFT(SHIFT), .WIDTH(OUT_WIDTH), .LOW(LOW), .HIGH(HIGH)) rounding (
        .clk(clk), .sum(sum), .code(write_data)
    );
    assign released = written;
    assign write = valid_5;
    assign write_address = out_base + count;
    assign written = write && count == OUT_SIZE - 1;
endmodule
