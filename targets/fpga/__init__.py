"""Fixed-point networks for FPGAs: Verilog, and a bitstream made with open tools."""
