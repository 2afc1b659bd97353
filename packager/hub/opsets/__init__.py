"""What changed in ONNX's operators from one operator set to the next, both ways: one adapter a change.

Source: ONNX's Changelog.md and the schemas in `onnx.defs`. An adapter gets one node and gives the nodes that mean the
same on the other side of its boundary; what can't be said there is refused.
"""
