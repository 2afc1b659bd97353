// A dense layer or a convolution: LANES channels of the result at a time, each with a multiplier and an accumulator of
// its own; all lanes see the same element of the input. While the sums of one window leave, one a cycle, through bias
// and rounding, those of the next are taken. A dense layer is a convolution whose kernel is a whole row. The result's
// elements stand OUT_CHANNEL apart from channel to channel, and OUT_PIXEL from window to window.
module product #(
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
    parameter OUT_CHANNEL = 1,
    parameter OUT_PIXEL = 1,
    parameter LANES = 1,
    parameter REST = 1,
    parameter WEIGHT_WIDTH = 8,
    parameter WEIGHT_DEPTH = 1,
    parameter WEIGHT_ADDRESS = 1,
    parameter WEIGHT_FILE = "",
    parameter BIAS_DEPTH = 1,
    parameter BIAS_ADDRESS = 1,
    parameter BIAS_FILE = "",
    parameter SUM = 16,
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
    localparam VALUE = IN_SIGNED ? IN_WIDTH : IN_WIDTH + 1;
    localparam PIXELS = ROWS * COLUMNS;

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

    // Sums leave one a cycle: the windows' ends keep as far apart as there are lanes.
    wire running, issued_last, valid_1, first_1, last_1, in_picture_1;
    wire [WEIGHT_ADDRESS-1:0] weight_address;
    reg [COUNT-1:0] distance;
    always @(posedge clk) begin
        if (rst) distance <= 0;
        else if (issued_last) distance <= LANES - 1;
        else if (distance != 0) distance <= distance - 1;
    end
    window #(
        .GROUPS(GROUPS), .PASSES(PASSES), .CHANNELS(CHANNELS), .HEIGHT(HEIGHT), .WIDTH(WIDTH), .ROWS(ROWS),
        .COLUMNS(COLUMNS), .KERNEL_Y(KERNEL_Y), .KERNEL_X(KERNEL_X), .STRIDE_Y(STRIDE_Y), .STRIDE_X(STRIDE_X),
        .DILATION_Y(DILATION_Y), .DILATION_X(DILATION_X), .PAD_Y(PAD_Y), .PAD_X(PAD_X), .PADDED(PADDED),
        .SIZE(IN_SIZE), .ADDRESS(IN_ADDRESS), .PLACE(PLACE), .COUNT(COUNT), .WEIGHT(WEIGHT_ADDRESS)
    ) walk (
        .clk(clk), .rst(rst), .start(start), .bank(in_bank), .hold(distance != 0), .running(running),
        .issued_last(issued_last), .valid(valid_1), .first(first_1), .last(last_1), .in_picture(in_picture_1),
        .address(read_address), .weight(weight_address)
    );

    // One register after each memory, one after the multipliers.
    reg [LANES*WEIGHT_WIDTH-1:0] weights [0:WEIGHT_DEPTH-1];
    generate
        if (WEIGHT_FILE != "") initial $readmemh(WEIGHT_FILE, weights);
    endgenerate
    reg [LANES*WEIGHT_WIDTH-1:0] weight_2, weight_3;
    reg signed [VALUE-1:0] value_3;
    reg valid_2, first_2, last_2, in_picture_2, valid_3, first_3, last_3, valid_4, first_4, last_4, load;
    wire signed [VALUE-1:0] value = IN_SIGNED ? {read_data[IN_WIDTH-1], read_data} : {1'b0, read_data};
    always @(posedge clk) weight_2 <= weights[weight_address];
    always @(posedge clk) begin
        valid_2 <= valid_1 && !rst;
        first_2 <= first_1;
        last_2 <= last_1;
        in_picture_2 <= in_picture_1;
        valid_3 <= valid_2 && !rst;
        first_3 <= first_2;
        last_3 <= last_2;
        value_3 <= in_picture_2 ? value : {VALUE{1'b0}};
        weight_3 <= weight_2;
        valid_4 <= valid_3 && !rst;
        first_4 <= first_3;
        last_4 <= last_3;
        load <= valid_4 && last_4 && !rst;
    end

    wire [LANES*SUM-1:0] sums;
    genvar lane;
    generate
        for (lane = 0; lane < LANES; lane = lane + 1) begin : lanes
            wire signed [WEIGHT_WIDTH-1:0] factor = weight_3[lane*WEIGHT_WIDTH +: WEIGHT_WIDTH];
            reg signed [VALUE+WEIGHT_WIDTH-1:0] multiplied;
            reg signed [SUM-1:0] sum;
            wire signed [SUM-1:0] term = multiplied;
            assign sums[lane*SUM +: SUM] = sum;
            always @(posedge clk) multiplied <= value_3 * factor;
            always @(posedge clk) begin
                if (valid_4) sum <= first_4 ? term : sum + term;
            end
        end
    endgenerate

    // The sums leave: lane after lane, window after window, pass after pass.
    reg [LANES*SUM-1:0] leaving;
    reg [COUNT-1:0] left;
    reg [COUNT-1:0] pass, pixel;
    reg [OUT_ADDRESS-1:0] pass_address, next_address, address_a, address_b, address_c, address_d;
    reg [BIAS_ADDRESS-1:0] pass_bias, bias_address;
    reg [COUNT-1:0] group;
    reg final_window, write_b, write_c, write_d, final_b, final_c, final_d;
    wire [OUT_ADDRESS-1:0] bank_base = out_bank ? OUT_SIZE : 0;
    wire last_pass = pass == PASSES - 1;
    wire last_pixel = pixel == PIXELS - 1;
    wire [COUNT-1:0] present = last_pass ? REST : LANES;
    wire [OUT_ADDRESS-1:0] following = pass_address + (last_pass ? REST * OUT_CHANNEL : LANES * OUT_CHANNEL);

    always @(posedge clk) begin
        if (load) leaving <= sums;
        else leaving <= leaving >> SUM;
    end
    always @(posedge clk) begin
        if (rst) left <= 0;
        else if (load) left <= present;
        else if (left != 0) left <= left - 1;
    end
    always @(posedge clk) begin
        if (start) begin
            pass <= 0;
            group <= 0;
            pixel <= 0;
            pass_address <= bank_base;
            next_address <= bank_base;
            pass_bias <= 0;
        end else if (load) begin
            address_a <= next_address;
            bias_address <= pass_bias;
            final_window <= last_pixel && last_pass && group == GROUPS - 1;
            if (last_pixel) begin
                pixel <= 0;
                pass <= last_pass ? 0 : pass + 1;
                if (last_pass) group <= group + 1;
                pass_address <= following;
                next_address <= following;
                pass_bias <= pass_bias + present;
            end else begin
                pixel <= pixel + 1;
                next_address <= next_address + OUT_PIXEL;
            end
        end else begin
            address_a <= address_a + OUT_CHANNEL;
            bias_address <= bias_address + 1;
        end
    end

    // A bias has half a step of the result in it.
    reg signed [SUM-1:0] biases [0:BIAS_DEPTH-1];
    generate
        if (BIAS_FILE != "") initial $readmemh(BIAS_FILE, biases);
    endgenerate
    reg signed [SUM-1:0] bias_b, sum_b, sum_c;
    always @(posedge clk) bias_b <= biases[bias_address];
    always @(posedge clk) begin
        sum_b <= leaving[SUM-1:0];
        sum_c <= sum_b + bias_b;
        write_b <= left != 0 && !rst;
        write_c <= write_b && !rst;
        write_d <= write_c && !rst;
        final_b <= final_window && left == 1;
        final_c <= final_b;
        final_d <= final_c;
        address_b <= address_a;
        address_c <= address_b;
        address_d <= address_c;
    end
    saturate #(.SUM(SUM), .SHIFT(SHIFT), .WIDTH(OUT_WIDTH), .LOW(LOW), .HIGH(HIGH)) rounding (
        .clk(clk), .sum(sum_c), .code(write_data)
    );
    assign write = write_d;
    assign write_address = address_d;
    assign written = write_d && final_d;
endmodule
