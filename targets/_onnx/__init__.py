"""What the targets that ship ONNX files have in common."""
