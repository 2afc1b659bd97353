"""Networks of integers: what an FPGA computes, exactly, in numpy. The contract between what is built and what runs."""
