"""What each ONNX operator becomes: a layer in the FPGA, a change to the layer before, or a step of the host."""
