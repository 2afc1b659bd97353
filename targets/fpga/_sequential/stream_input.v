// Takes a sample from the stream into a buffer. A sample that ends before its last element is forgotten.
module stream_input #(
    parameter WIDTH = 8,
    parameter SIZE = 16,
    parameter BANKS = 2,
    parameter ADDRESS = 5
) (
    input clk,
    input rst,
    input in_valid,
    output in_ready,
    input [WIDTH-1:0] in_data,
    input in_last,
    input writable,
    output write,
    output [ADDRESS-1:0] write_address,
    output [WIDTH-1:0] write_data,
    output written
);
    reg bank;
    reg [ADDRESS-1:0] count;
    wire [ADDRESS-1:0] base = bank ? SIZE : 0;
    wire last = count == SIZE - 1;

    assign in_ready = writable && !rst;
    assign write = in_valid && in_ready;
    assign write_address = base + count;
    assign write_data = in_data;
    assign written = write && last;

    always @(posedge clk) begin
        if (rst) begin
            bank <= 0;
            count <= 0;
        end else if (write) begin
            count <= (last || in_last) ? 0 : count + 1;
            if (last && BANKS > 1) bank <= !bank;
        end
    end
endmodule
