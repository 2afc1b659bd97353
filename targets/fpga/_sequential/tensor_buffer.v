// The elements of one tensor, between the one that writes them and the READERS that read them, in BANKS banks: while a
// bank is read the other is filled. A reader has its data one cycle after the address, and keeps it while its `hold` is
// high.
module tensor_buffer #(
    parameter WIDTH = 8,
    parameter SIZE = 16,
    parameter BANKS = 2,
    parameter ADDRESS = 5,
    parameter READERS = 1
) (
    input clk,
    input rst,
    input write,
    input [ADDRESS-1:0] write_address,
    input [WIDTH-1:0] write_data,
    input written,
    output writable,
    input [READERS*ADDRESS-1:0] read_address,
    input [READERS-1:0] hold,
    output [READERS*WIDTH-1:0] read_data,
    input [READERS-1:0] released,
    output [READERS-1:0] readable
);
    wire [READERS-1:0] room;
    assign writable = &room;

    genvar reader;
    generate
        for (reader = 0; reader < READERS; reader = reader + 1) begin : port
            reg [WIDTH-1:0] memory [0:BANKS*SIZE-1];
            reg [WIDTH-1:0] data;
            reg [1:0] full;
            wire [ADDRESS-1:0] address = read_address[reader*ADDRESS +: ADDRESS];

            assign room[reader] = full < BANKS;
            assign readable[reader] = full != 0;
            assign read_data[reader*WIDTH +: WIDTH] = data;

            always @(posedge clk) begin
                if (write) memory[write_address] <= write_data;
            end
            always @(posedge clk) begin
                if (!hold[reader]) data <= memory[address];
            end
            always @(posedge clk) begin
                if (rst) full <= 0;
                else if (written && !released[reader]) full <= full + 1;
                else if (!written && released[reader]) full <= full - 1;
            end
        end
    endgenerate
endmodule
