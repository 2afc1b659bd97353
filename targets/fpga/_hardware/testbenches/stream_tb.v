// Drives a stream core with the codes of a file and writes what it answers, with pauses on both sides.
//
// Plusargs: +in=FILE (codes in hexadecimal, one a line), +out=FILE. Of each answer one line: code, last, cycle; then one
// line of `# ` and what ended the run. Between elements the inputs carry garbage, so that a core that reads them without
// in_valid is caught.
`timescale 1ns/1ns

module stream_tb;
    parameter IN_WIDTH = 8;
    parameter OUT_WIDTH = 8;
    parameter IN_COUNT = 1;
    parameter OUT_COUNT = 1;
    parameter SAMPLES = 1;
    parameter SEED = 0;        // 0: nobody ever pauses
    parameter PATIENCE = 1000; // cycles without any element until the run is given up

    localparam FED = SAMPLES * IN_COUNT;
    localparam WANTED = SAMPLES * OUT_COUNT;

    reg clk = 1'b0;
    reg rst = 1'b1;
    reg in_valid = 1'b0;
    reg [IN_WIDTH-1:0] in_data = {IN_WIDTH{1'b0}};
    reg in_last = 1'b0;
    reg out_ready = 1'b0;
    wire in_ready;
    wire out_valid;
    wire [OUT_WIDTH-1:0] out_data;
    wire out_last;

    core dut (
        .clk(clk), .rst(rst),
        .in_valid(in_valid), .in_ready(in_ready), .in_data(in_data), .in_last(in_last),
        .out_valid(out_valid), .out_ready(out_ready), .out_data(out_data), .out_last(out_last)
    );

    reg [IN_WIDTH-1:0] codes [0:FED-1];
    reg [8*1024-1:0] in_path;
    reg [8*1024-1:0] out_path;
    integer out_file;
    integer cycle = 0;
    integer offered = 0;  // elements that were put on the input
    integer taken = 0;    // elements that the core took
    integer answered = 0;
    integer idle = 0;
    integer first_start = 0;
    integer last_start = 0;
    integer first_end = 0;
    integer pending = 0;  // an answer was offered and not taken
    reg [OUT_WIDTH:0] pended;
    reg [31:0] noise = SEED ^ 32'h9e3779b9;
    reg [1:0] in_mood = 2'd3;
    reg [1:0] out_mood = 2'd3;

    wire takes = in_valid && in_ready === 1'b1;
    wire answers = out_ready && out_valid === 1'b1;
    wire in_goes = SEED == 0 || (in_mood == 0 ? noise[10:8] == 0 : in_mood == 1 ? noise[8] : in_mood == 2 ? noise[10:8] != 0 : 1'b1);
    wire out_goes = SEED == 0 || (out_mood == 0 ? noise[15:13] == 0 : out_mood == 1 ? noise[13] : out_mood == 2 ? noise[15:13] != 0 : 1'b1);

    always #5 clk = ~clk;

    function [31:0] stirred; // xorshift32 of G. Marsaglia, Journal of Statistical Software 8 (14), 2003
        input [31:0] value;
        reg [31:0] x;
        begin
            x = value ^ (value << 13);
            x = x ^ (x >> 17);
            stirred = x ^ (x << 5);
        end
    endfunction

    task finish;
        input [8*16-1:0] reason;
        begin
            $fdisplay(out_file, "# %0s %0d %0d %0d %0d", reason, cycle, taken, first_end - first_start,
                SAMPLES > 1 ? (last_start - first_start) / (SAMPLES - 1) : 0);
            $fclose(out_file);
            $finish;
        end
    endtask

    initial begin
        if (!$value$plusargs("in=%s", in_path) || !$value$plusargs("out=%s", out_path)) $finish;
        $readmemh(in_path, codes);
        out_file = $fopen(out_path, "w");
    end

    always @(posedge clk) begin
        cycle <= cycle + 1;
        rst <= cycle < 8;
        noise <= stirred(noise);
        if (noise[5:0] == 0) begin
            in_mood <= noise[17:16];
            out_mood <= noise[19:18];
        end
        if (!rst) begin
            if (takes) begin
                taken <= taken + 1;
                if (taken % IN_COUNT == 0) last_start <= cycle;
                if (taken == 0) first_start <= cycle;
            end
            if (!in_valid || takes) begin
                in_valid <= offered < FED && in_goes;
                in_data <= offered < FED && in_goes ? codes[offered] : noise[IN_WIDTH % 32:0];
                in_last <= offered < FED && in_goes ? offered % IN_COUNT == IN_COUNT - 1 : noise[7];
                if (offered < FED && in_goes) offered <= offered + 1;
            end
            out_ready <= out_goes;
            pending <= out_valid === 1'b1 && !answers;
            pended <= {out_last, out_data};
            if (pending != 0 && (out_valid !== 1'b1 || {out_last, out_data} !== pended)) finish("withdrawn");
`ifndef VERILATOR // which knows no undefined bits
            if (out_valid === 1'bx || out_valid === 1'bz || in_ready === 1'bx || in_ready === 1'bz) finish("undefined");
`endif
            if (answers) begin
                $fdisplay(out_file, "%h %b %0d", out_data, out_last, cycle);
                answered <= answered + 1;
                if (answered == OUT_COUNT - 1) first_end <= cycle;
            end
            idle <= takes || answers ? 0 : idle + 1;
            // Goes on for as long as a core needs that answers more than it was asked.
            if (answered > WANTED) finish("surplus");
            if (answered == WANTED && taken == FED && idle > 64) finish("complete");
            if (idle > PATIENCE) finish("silent");
        end
    end
endmodule
