// The cell of Gowin that Yosys' models are built of and that it declares without a body.

module MUX2(O, I0, I1, S0);
    output O;
    input I0, I1, S0;
    assign O = S0 ? I1 : I0;
endmodule
