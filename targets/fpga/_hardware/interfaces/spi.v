// Bytes over SPI, as a slave in mode 0, highest bit first. The lines are sampled with clk, so that sck may be at most a
// twelfth of it. Where nothing is to be sent, the master reads zeros: it asks for bytes until it sees the 0xA5 of a reply.

module packtrain_spi_slave (
    input clk,
    input rst,
    input sck,
    input cs_n,
    input mosi,
    output miso,
    output selected,
    output reg rx_valid,     // one cycle for each byte that came
    output reg [7:0] rx_byte,
    input tx_valid,
    output reg tx_ready,
    input [7:0] tx_byte
);
    reg [2:0] clock_line;    // the lines come from another clock
    reg [2:0] select_line;
    reg [1:0] data_line;
    reg [2:0] position;
    reg [7:0] outgoing;
    reg loaded;              // `outgoing` is a byte of a reply, not filling
    reg fresh;               // the next falling edge begins a byte
    wire rises = clock_line[1] && !clock_line[2];
    wire falls = !clock_line[1] && clock_line[2];
    wire begins = !select_line[1] && select_line[2];
    assign miso = outgoing[7];
    assign selected = !select_line[1];

    always @(posedge clk) begin
        clock_line <= {clock_line[1:0], sck};
        select_line <= {select_line[1:0], cs_n};
        data_line <= {data_line[0], mosi};
        rx_valid <= 1'b0;
        tx_ready <= 1'b0;
        if (begins || (selected && falls && fresh)) begin
            outgoing <= tx_valid ? tx_byte : 8'd0;
            loaded <= tx_valid;
            fresh <= 1'b0;
        end else if (selected && falls) outgoing <= {outgoing[6:0], 1'b0};
        if (begins) position <= 0;
        else if (selected && rises) begin
            rx_byte <= {rx_byte[6:0], data_line[1]};
            position <= position + 1;
            if (position == 7) begin
                // Only a byte that was read to its last bit counts as sent.
                rx_valid <= 1'b1;
                tx_ready <= loaded;
                fresh <= 1'b1;
            end
        end
        if (rst) begin
            clock_line <= 3'b000;
            select_line <= 3'b111;
            position <= 0;
            loaded <= 1'b0;
            fresh <= 1'b0;
            outgoing <= 8'd0;
        end
    end
endmodule
