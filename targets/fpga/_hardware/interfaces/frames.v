// Frames of bytes on one side, a stream core on the other.
//
// A request is 0xA5, command, payload, check; a reply is 0xA5, status, payload, check. The check is CRC-8 (polynomial 0x07,
// from 0) over all but the 0xA5 and itself. Commands: 1, run: one sample, each element in (IN_WIDTH + 7) / 8 bytes, lowest
// first; 2, identify: no payload. Status: 0x80 + command, then the answers in bytes likewise, sign-extended, or IDENTITY,
// highest byte first; 0xE1: wrong check; 0xE2: unknown command; 0xE3: the request stopped for TIMEOUT cycles. What
// comes in while a request is computed or answered is dropped.
//
// A sample enters the core only after its check, so that no damaged byte reaches it; answers are kept until the last is
// there, so that the reply has no gaps, whatever the core's pace.

module packtrain_frames #(
    parameter IN_WIDTH = 8,
    parameter IN_COUNT = 1,
    parameter OUT_WIDTH = 8,
    parameter OUT_COUNT = 1,
    parameter OUT_SIGNED = 1,
    parameter TIMEOUT = 1000000,
    parameter [63:0] IDENTITY = 64'd0
) (
    input clk,
    input rst,

    input rx_valid,              // one cycle for each byte that came
    input [7:0] rx_byte,
    output tx_valid,
    input tx_ready,
    output reg [7:0] tx_byte,

    output reg in_valid,         // to the core
    input in_ready,
    output reg [IN_WIDTH-1:0] in_data,
    output reg in_last,
    input out_valid,             // from the core
    output out_ready,
    input [OUT_WIDTH-1:0] out_data
);
    localparam IN_BYTES = (IN_WIDTH + 7) / 8;
    localparam OUT_BYTES = (OUT_WIDTH + 7) / 8;

    localparam IN_BITS = $clog2(IN_COUNT + 1);
    localparam OUT_BITS = $clog2(OUT_COUNT + 9); // counts the bytes of the identity too
    localparam TIME_BITS = $clog2(TIMEOUT + 1);

    localparam [2:0] IDLE = 0, COMMAND = 1, PAYLOAD = 2, CHECK = 3, RUN = 4, REPLY = 5;
    localparam [1:0] HEAD = 0, STATUS = 1, BODY = 2, TAIL = 3;
    localparam [7:0] START = 8'hA5;
    localparam [7:0] DO_RUN = 8'h01, DO_IDENTIFY = 8'h02;
    localparam [7:0] DONE = 8'h80, WRONG_CHECK = 8'hE1, UNKNOWN = 8'hE2, TOO_LATE = 8'hE3;

    function [7:0] checked;
        input [7:0] check;
        input [7:0] value;
        integer bit_index;
        begin
            checked = check ^ value;
            for (bit_index = 0; bit_index < 8; bit_index = bit_index + 1)
                checked = checked[7] ? {checked[6:0], 1'b0} ^ 8'h07 : {checked[6:0], 1'b0};
        end
    endfunction

    reg [2:0] state;
    reg [7:0] command;
    reg [7:0] status;
    reg [7:0] check;
    reg [TIME_BITS-1:0] silence;

    // The request's elements.
    reg [IN_WIDTH-1:0] samples [0:IN_COUNT-1];
    reg [IN_BITS-1:0] got;            // elements written
    reg [7:0] got_bytes;              // bytes of the next one
    reg [8*IN_BYTES-1:0] assembled;   // its bytes so far
    wire [8*IN_BYTES+7:0] shifted = {rx_byte, assembled};
    wire element_complete = state == PAYLOAD && rx_valid && got_bytes == IN_BYTES - 1;
    always @(posedge clk) if (element_complete) samples[got] <= shifted[8 +: IN_WIDTH];

    // Fed to the core.
    reg [IN_BITS-1:0] fed;
    reg [1:0] fetch;                  // 0: address stands, 1: data stands, 2: offered
    reg [IN_WIDTH-1:0] fetched;
    always @(posedge clk) fetched <= samples[fed];

    // The core's answers.
    reg [OUT_WIDTH-1:0] answers [0:OUT_COUNT-1];
    reg [OUT_BITS-1:0] answered;
    assign out_ready = state == RUN && answered < OUT_COUNT;
    always @(posedge clk) if (out_ready && out_valid) answers[answered] <= out_data;

    // Sent back.
    reg [1:0] part;
    reg [OUT_BITS-1:0] sent;          // elements, or bytes of the identity
    reg [7:0] sent_bytes;
    reg [1:0] settle;                 // a read of `answers` takes a cycle
    reg [OUT_WIDTH-1:0] answer;
    wire [8*OUT_BYTES:0] extended = {{(8*OUT_BYTES+1-OUT_WIDTH){OUT_SIGNED != 0 && answer[OUT_WIDTH-1]}}, answer};
    always @(posedge clk) answer <= answers[sent];
    assign tx_valid = state == REPLY && settle == 0;

    always @* begin
        case (part)
            HEAD: tx_byte = START;
            STATUS: tx_byte = status;
            BODY: tx_byte = command == DO_IDENTIFY ? IDENTITY[8*(7 - sent[2:0]) +: 8] : extended[8*sent_bytes +: 8];
            default: tx_byte = check;
        endcase
    end

    wire late = silence == TIMEOUT;

    always @(posedge clk) begin
        silence <= rx_valid || state == IDLE || late ? 0 : silence + 1;
        if (settle != 0) settle <= settle - 1;
        case (state)
            IDLE: if (rx_valid && rx_byte == START) state <= COMMAND;

            COMMAND: if (rx_valid) begin
                command <= rx_byte;
                check <= checked(8'd0, rx_byte);
                got <= 0;
                got_bytes <= 0;
                state <= rx_byte == DO_RUN ? PAYLOAD : CHECK;
                if (rx_byte != DO_RUN && rx_byte != DO_IDENTIFY) begin
                    status <= UNKNOWN;
                    state <= REPLY;
                end
            end

            PAYLOAD: if (rx_valid) begin
                check <= checked(check, rx_byte);
                assembled <= shifted[8*IN_BYTES+7:8];
                got_bytes <= element_complete ? 0 : got_bytes + 1;
                if (element_complete) begin
                    got <= got + 1;
                    if (got == IN_COUNT - 1) state <= CHECK;
                end
            end

            CHECK: if (rx_valid) begin
                status <= rx_byte == check ? DONE | command : WRONG_CHECK;
                fed <= 0;
                fetch <= 0;
                answered <= 0;
                state <= rx_byte == check && command == DO_RUN ? RUN : REPLY;
            end

            RUN: begin
                if (out_ready && out_valid) answered <= answered + 1;
                if (fed < IN_COUNT) begin
                    if (fetch == 0) fetch <= 1;
                    else if (fetch == 1) begin
                        in_valid <= 1'b1;
                        in_data <= fetched;
                        in_last <= fed == IN_COUNT - 1;
                        fetch <= 2;
                    end else if (in_ready) begin
                        in_valid <= 1'b0;
                        fed <= fed + 1;
                        fetch <= 0;
                    end
                end
                if (fed == IN_COUNT && answered == OUT_COUNT) state <= REPLY;
            end

            REPLY: if (tx_valid && tx_ready) begin
                settle <= 2;
                check <= part == HEAD ? 8'd0 : checked(check, tx_byte);
                case (part)
                    HEAD: part <= STATUS;
                    STATUS: part <= status[7:4] == 4'h8 ? BODY : TAIL;
                    BODY: if (command == DO_IDENTIFY) begin
                        sent <= sent + 1;
                        if (sent == 7) part <= TAIL;
                    end else if (sent_bytes == OUT_BYTES - 1) begin
                        sent_bytes <= 0;
                        sent <= sent + 1;
                        if (sent == OUT_COUNT - 1) part <= TAIL;
                    end else sent_bytes <= sent_bytes + 1;
                    default: state <= IDLE;
                endcase
            end

            default: state <= IDLE;
        endcase

        if (late && (state == COMMAND || state == PAYLOAD || state == CHECK)) begin
            status <= TOO_LATE;
            state <= REPLY;
        end
        if (state != REPLY) begin
            part <= HEAD;
            sent <= 0;
            sent_bytes <= 0;
            settle <= 2;
        end
        if (rst) begin
            state <= IDLE;
            silence <= 0;
            in_valid <= 1'b0;
        end
    end
endmodule
