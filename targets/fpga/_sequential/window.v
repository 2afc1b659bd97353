// Walks the windows of a convolution or of a pool over a tensor (channels, rows, columns) in a buffer, one element a
// cycle: for each group, pass, row and column of the result all channels of the group and all places of the kernel.
// A window's last element waits while `hold` is high. What it says is registered, and late by one cycle.
module window #(
    parameter GROUPS = 1,
    parameter PASSES = 1,
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
    parameter SIZE = 1,
    parameter ADDRESS = 1,
    parameter PLACE = 4,
    parameter COUNT = 4,
    parameter WEIGHT = 1
) (
    input clk,
    input rst,
    input start,
    input bank,
    input hold,
    output reg running,
    output issued_last,
    output reg valid,
    output reg first,
    output reg last,
    output reg in_picture,
    output reg [ADDRESS-1:0] address,
    output reg [WEIGHT-1:0] weight
);
    localparam ORIGIN = -(PAD_Y * WIDTH + PAD_X);
    localparam PLANE = HEIGHT * WIDTH;
    localparam BACK_X = (KERNEL_X - 1) * DILATION_X;
    localparam BACK_Y = (KERNEL_Y - 1) * DILATION_Y * WIDTH;

    reg [COUNT-1:0] group, pass, row, column, channel, kernel_y, kernel_x;
    // Places are modulo 2**PLACE: what lies before the first row or column is larger than any that is inside.
    reg [PLACE-1:0] window_y, window_x, offset_y, offset_x;
    // Addresses are modulo 2**ADDRESS, and right where the element is inside.
    reg [ADDRESS-1:0] base, origin, offset;
    reg [WEIGHT-1:0] weight_base, weight_next;
    wire [ADDRESS-1:0] bank_base = bank ? SIZE : 0;

    wire last_x = kernel_x == KERNEL_X - 1;
    wire last_y = kernel_y == KERNEL_Y - 1;
    wire last_channel = channel == CHANNELS - 1;
    wire last_column = column == COLUMNS - 1;
    wire last_row = row == ROWS - 1;
    wire last_pass = pass == PASSES - 1;
    wire last_group = group == GROUPS - 1;
    wire window_end = last_x && last_y && last_channel;
    wire pass_end = window_end && last_column && last_row;
    wire go = running && !(window_end && hold);
    wire [PLACE-1:0] y = window_y + offset_y;
    wire [PLACE-1:0] x = window_x + offset_x;

    assign issued_last = go && window_end;

    always @(posedge clk) begin
        if (rst) begin
            running <= 0;
        end else if (start) begin
            running <= 1;
        end else if (go && pass_end && last_pass && last_group) begin
            running <= 0;
        end
    end

    always @(posedge clk) begin
        if (start) begin
            kernel_x <= 0;
            kernel_y <= 0;
            channel <= 0;
            offset <= 0;
            offset_x <= 0;
            offset_y <= 0;
        end else if (go) begin
            if (!last_x) begin
                kernel_x <= kernel_x + 1;
                offset_x <= offset_x + DILATION_X;
                offset <= offset + DILATION_X;
            end else begin
                kernel_x <= 0;
                offset_x <= 0;
                if (!last_y) begin
                    kernel_y <= kernel_y + 1;
                    offset_y <= offset_y + DILATION_Y;
                    offset <= offset + (DILATION_Y * WIDTH - BACK_X);
                end else begin
                    kernel_y <= 0;
                    offset_y <= 0;
                    channel <= last_channel ? 0 : channel + 1;
                    offset <= last_channel ? 0 : offset + (PLANE - BACK_X - BACK_Y);
                end
            end
        end
    end

    always @(posedge clk) begin
        if (start) begin
            group <= 0;
            pass <= 0;
            row <= 0;
            column <= 0;
            base <= bank_base + ORIGIN;
            origin <= bank_base + ORIGIN;
            window_x <= -PAD_X;
            window_y <= -PAD_Y;
            weight_base <= 0;
            weight_next <= 0;
        end else if (go) begin
            weight_next <= (window_end && !pass_end) ? weight_base : weight_next + 1;
            if (pass_end) begin
                column <= 0;
                row <= 0;
                window_x <= -PAD_X;
                window_y <= -PAD_Y;
                weight_base <= weight_next + 1;
                pass <= last_pass ? 0 : pass + 1;
                origin <= last_pass ? base + CHANNELS * PLANE : base;
                if (last_pass) begin
                    group <= group + 1;
                    base <= base + CHANNELS * PLANE;
                end
            end else if (window_end) begin
                if (!last_column) begin
                    column <= column + 1;
                    window_x <= window_x + STRIDE_X;
                    origin <= origin + STRIDE_X;
                end else begin
                    column <= 0;
                    window_x <= -PAD_X;
                    row <= row + 1;
                    window_y <= window_y + STRIDE_Y;
                    origin <= origin + (STRIDE_Y * WIDTH - (COLUMNS - 1) * STRIDE_X);
                end
            end
        end
    end

    always @(posedge clk) begin
        valid <= go && !rst;
        first <= kernel_x == 0 && kernel_y == 0 && channel == 0;
        last <= window_end;
        in_picture <= !PADDED || (y < HEIGHT && x < WIDTH);
        address <= origin + offset;
        weight <= weight_next;
    end
endmodule
