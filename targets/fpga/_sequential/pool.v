// The largest element of each window, or the sum of its elements times FACTOR.
module pool #(
    parameter MAXIMUM = 1,
    parameter CHANNELS = 1,
    parameter HEIGHT = 1,
    parameter WIDTH = 1,
    parameter ROWS = 1,
    parameter COLUMNS = 1,
    parameter KERNEL_Y = 1,
    parameter KERNEL_X = 1,
    parameter STRIDE_Y = 1,
    parameter STRIDE_X = 1,
    parameter DILATION_Y = 1,
    parameter DILATION_X = 1,
    parameter PAD_Y = 0,
    parameter PAD_X = 0,
    parameter PADDED = 0,
    parameter PLACE = 4,
    parameter COUNT = 4,
    parameter BANKS = 2,
    parameter IN_WIDTH = 8,
    parameter IN_SIGNED = 1,
    parameter IN_SIZE = 1,
    parameter IN_ADDRESS = 1,
    parameter OUT_WIDTH = 8,
    parameter OUT_SIZE = 1,
    parameter OUT_ADDRESS = 1,
    parameter SUM = 16,
    parameter FACTOR_WIDTH = 2,
    parameter signed [FACTOR_WIDTH-1:0] FACTOR = 1,
    parameter RESULT = 18,
    parameter signed [RESULT-1:0] HALF = 0,
    parameter SHIFT = 0,
    parameter signed [OUT_WIDTH:0] LOW = 0,
    parameter signed [OUT_WIDTH:0] HIGH = 0
) (
    input clk,
    input rst,
    input readable,
    output released,
    output [IN_ADDRESS-1:0] read_address,
    input [IN_WIDTH-1:0] read_data,
    input writable,
    output written,
    output write,
    output [OUT_ADDRESS-1:0] write_address,
    output [OUT_WIDTH-1:0] write_data
);
    localparam signed [SUM-1:0] LOWEST = {1'b1, {(SUM-1){1'b0}}};

    reg busy, in_bank, out_bank;
    wire start = !busy && readable && writable && !rst;
    always @(posedge clk) begin
        if (rst) begin
            busy <= 0;
            in_bank <= 0;
            out_bank <= 0;
        end else if (start) begin
            busy <= 1;
        end else if (written) begin
            busy <= 0;
            if (BANKS > 1) begin
                in_bank <= !in_bank;
                out_bank <= !out_bank;
            end
        end
    end
    assign released = written;

    wire running, issued_last, valid_1, first_1, last_1, in_picture_1;
    wire unused_weight;
    window #(
        .GROUPS(CHANNELS), .PASSES(1), .CHANNELS(1), .HEIGHT(HEIGHT), .WIDTH(WIDTH), .ROWS(ROWS),
        .COLUMNS(COLUMNS), .KERNEL_Y(KERNEL_Y), .KERNEL_X(KERNEL_X), .STRIDE_Y(STRIDE_Y), .STRIDE_X(STRIDE_X),
        .DILATION_Y(DILATION_Y), .DILATION_X(DILATION_X), .PAD_Y(PAD_Y), .PAD_X(PAD_X), .PADDED(PADDED),
        .SIZE(IN_SIZE), .ADDRESS(IN_ADDRESS), .PLACE(PLACE), .COUNT(COUNT), .WEIGHT(1)
    ) walk (
        .clk(clk), .rst(rst), .start(start), .bank(in_bank), .hold(1'b0), .running(running),
        .issued_last(issued_last), .valid(valid_1), .first(first_1), .last(last_1), .in_picture(in_picture_1),
        .address(read_address), .weight(unused_weight)
    );

    reg valid_2, first_2, last_2, in_picture_2, valid_3, first_3, last_3, valid_4, valid_5, valid_6, write_now;
    reg signed [SUM-1:0] value_3, gathered_4;
    reg signed [RESULT-1:0] result_5, result_6;
    wire extension = IN_SIGNED ? read_data[IN_WIDTH-1] : 1'b0;
    wire signed [SUM-1:0] value = {{(SUM-IN_WIDTH){extension}}, read_data};
    wire [OUT_ADDRESS-1:0] bank_base = out_bank ? OUT_SIZE : 0;
    reg [OUT_ADDRESS-1:0] count;
    always @(posedge clk) begin
        valid_2 <= valid_1 && !rst;
        first_2 <= first_1;
        last_2 <= last_1;
        in_picture_2 <= in_picture_1;
        valid_3 <= valid_2 && !rst;
        first_3 <= first_2;
        last_3 <= last_2;
        value_3 <= in_picture_2 ? value : MAXIMUM ? LOWEST : {SUM{1'b0}};
        valid_4 <= valid_3 && last_3 && !rst;
        if (valid_3) begin
            if (first_3) gathered_4 <= value_3;
            else if (!MAXIMUM) gathered_4 <= gathered_4 + value_3;
            else if (value_3 > gathered_4) gathered_4 <= value_3;
        end
        valid_5 <= valid_4 && !rst;
        result_5 <= gathered_4 * FACTOR;
        valid_6 <= valid_5 && !rst;
        result_6 <= result_5 + HALF;
        write_now <= valid_6 && !rst;
    end
    always @(posedge clk) begin
        if (rst || written) count <= 0;
        else if (write) count <= count + 1;
    end
    saturate #(.SUM(RESULT), .SHIFT(SHIFT), .WIDTH(OUT_WIDTH), .LOW(LOW), .HIGH(HIGH)) rounding (
        .clk(clk), .sum(result_6), .code(write_data)
    );
    assign write = write_now;
    assign write_address = bank_base + count;
    assign written = write_now && count == OUT_SIZE - 1;
endmodule
