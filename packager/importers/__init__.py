"""One file a framework: its model file becomes ONNX, checked against the framework's own predictions."""
