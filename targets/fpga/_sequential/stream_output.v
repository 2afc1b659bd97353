// Gives a tensor to the stream in the order of its elements.
module stream_output #(
    parameter WIDTH = 8,
    parameter SIZE = 16,
    parameter BANKS = 2,
    parameter ADDRESS = 5
) (
    input clk,
    input rst,
    output reg out_valid,
    input out_ready,
    output [WIDTH-1:0] out_data,
    output reg out_last,
    input readable,
    output [ADDRESS-1:0] read_address,
    output hold,
    input [WIDTH-1:0] read_data,
    output reg released
);
    reg bank;
    reg [ADDRESS-1:0] count;
    wire [ADDRESS-1:0] base = bank ? SIZE : 0;
    wire last = count == SIZE - 1;
    // The buffer says one cycle late that its bank was given back.
    wire read = readable && !released && !hold;

    assign hold = out_valid && !out_ready;
    assign read_address = base + count;
    assign out_data = read_data;

    always @(posedge clk) begin
        if (rst) begin
            bank <= 0;
            count <= 0;
            out_valid <= 0;
            out_last <= 0;
            released <= 0;
        end else begin
            released <= read && last;
            if (!hold) begin
                out_valid <= read;
                out_last <= read && last;
            end
            if (read) begin
                count <= last ? 0 : count + 1;
                if (last && BANKS > 1) bank <= !bank;
            end
        end
    end
endmodule
