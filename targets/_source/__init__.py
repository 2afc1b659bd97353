"""The ONNX model as targets read it that emit files of another format: constants folded, shapes inferred."""
