"""Operators that onnxruntime's optimizer and quantizer write (``com.microsoft``) by ONNX's own: families in files."""
