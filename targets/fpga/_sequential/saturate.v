// A sum to which half a step was added, in steps of 2**SHIFT of its own and within LOW and HIGH: requantized by rounding
// half up. Registered.
module saturate #(
    parameter SUM = 16,
    parameter SHIFT = 0,
    parameter WIDTH = 8,
    parameter signed [WIDTH:0] LOW = 0,
    parameter signed [WIDTH:0] HIGH = 0
) (
    input clk,
    input signed [SUM-1:0] sum,
    output reg [WIDTH-1:0] code
);
    localparam RIGHT = SHIFT > 0 ? SHIFT : 0;
    localparam LEFT = SHIFT < 0 ? -SHIFT : 0;
    localparam WIDE = SUM + LEFT;
    // One more than either, so that all three compare as they are.
    localparam BITS = (WIDE > WIDTH + 1 ? WIDE : WIDTH + 1) + 1;

    wire signed [BITS-1:0] extended = sum;
    wire signed [BITS-1:0] stepped = RIGHT > 0 ? extended >>> RIGHT : extended <<< LEFT;
    wire signed [BITS-1:0] low = LOW;
    wire signed [BITS-1:0] high = HIGH;

    always @(posedge clk) begin
        if (stepped < low) code <= low[WIDTH-1:0];
        else if (stepped > high) code <= high[WIDTH-1:0];
        else code <= stepped[WIDTH-1:0];
    end
endmodule
