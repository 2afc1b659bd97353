// What the written-out products are made of. Parameters stand in the order in which da4ml's generator gives them.

// in0 plus or minus in1, one of them shifted left; the lowest BW_OUT bits.
module shift_adder #(
    parameter BW_INPUT0 = 1, parameter BW_INPUT1 = 1, parameter SIGNED0 = 0, parameter SIGNED1 = 0,
    parameter BW_OUT = 1, parameter SHIFT1 = 0, parameter IS_SUB = 0
) (
    input [BW_INPUT0-1:0] in0,
    input [BW_INPUT1-1:0] in1,
    output [BW_OUT-1:0] out
);
    localparam LEFT0 = SHIFT1 < 0 ? -SHIFT1 : 0;
    localparam LEFT1 = SHIFT1 > 0 ? SHIFT1 : 0;
    wire [BW_OUT-1:0] first, second;
    widened #(BW_INPUT0, SIGNED0, LEFT0, BW_OUT) widen0 (in0, first);
    widened #(BW_INPUT1, SIGNED1, LEFT1, BW_OUT) widen1 (in1, second);
    generate
        if (IS_SUB) begin : subtraction
            assign out = first - second;
        end else begin : addition
            assign out = first + second;
        end
    endgenerate
endmodule

// in0 where the key is set, else in1 or its negative, one of them shifted left; the lowest BW_OUT bits.
module mux #(
    parameter BW_INPUT0 = 1, parameter BW_INPUT1 = 1, parameter SIGNED0 = 0, parameter SIGNED1 = 0,
    parameter BW_OUT = 1, parameter SHIFT1 = 0, parameter INVERT1 = 0
) (
    input key,
    input [BW_INPUT0-1:0] in0,
    input [BW_INPUT1-1:0] in1,
    output [BW_OUT-1:0] out
);
    localparam LEFT0 = SHIFT1 < 0 ? -SHIFT1 : 0;
    localparam LEFT1 = SHIFT1 > 0 ? SHIFT1 : 0;
    wire [BW_OUT-1:0] first, second;
    widened #(BW_INPUT0, SIGNED0, LEFT0, BW_OUT) widen0 (in0, first);
    widened #(BW_INPUT1, SIGNED1, LEFT1, BW_OUT) widen1 (in1, second);
    generate
        if (INVERT1) begin : inverted
            assign out = key ? first : -second;
        end else begin : plain
            assign out = key ? first : second;
        end
    endgenerate
endmodule

// The negative of the input; the lowest BW_OUT bits.
module negative #(
    parameter BW_IN = 1, parameter BW_OUT = 1, parameter IN_SIGNED = 0
) (
    input [BW_IN-1:0] in,
    output [BW_OUT-1:0] out
);
    wire [BW_OUT-1:0] wide;
    widened #(BW_IN, IN_SIGNED, 0, BW_OUT) widen (in, wide);
    assign out = -wide;
endmodule

// The input shifted left, and made wider by its sign or by zeros, or cut to the lowest WIDTH_OUT bits.
module widened #(
    parameter WIDTH_IN = 1, parameter IS_SIGNED = 0, parameter LEFT = 0, parameter WIDTH_OUT = 1
) (
    input [WIDTH_IN-1:0] in,
    output [WIDTH_OUT-1:0] out
);
    wire signed [WIDTH_IN+LEFT:0] number;
    generate
        if (LEFT) begin : shifted
            assign number = {(IS_SIGNED ? in[WIDTH_IN-1] : 1'b0), in, {LEFT{1'b0}}};
        end else begin : straight
            assign number = {(IS_SIGNED ? in[WIDTH_IN-1] : 1'b0), in};
        end
        if (WIDTH_OUT > WIDTH_IN + LEFT + 1) begin : wider
            assign out = {{(WIDTH_OUT - WIDTH_IN - LEFT - 1){number[WIDTH_IN+LEFT]}}, number};
        end else begin : cut
            assign out = number[WIDTH_OUT-1:0];
        end
    endgenerate
endmodule
