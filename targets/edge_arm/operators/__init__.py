"""One file a family of ONNX operators; a file that stands here is served."""
