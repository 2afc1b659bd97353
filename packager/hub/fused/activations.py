"""Activations, some with a bias before them."""

from __future__ import annotations

import math
from typing import TYPE_CHECKING

from packager.hub.writer import attributes_of

if TYPE_CHECKING:
    import onnx

    from packager.hub.writer import Writer

_SIGMOID_OF_QUICK = 1.702
"""The default of onnxruntime's QuickGelu."""
_CUBE = 0.044715


def gelu(writer: Writer, node: onnx.NodeProto) -> None:
    """Gelu, BiasGelu: x times the normal distribution of x."""
    source = _biased(writer, node)
    like = node.input[0]
    inside = writer.add("Erf", [writer.add("Mul", [source, writer.alike(1 / math.sqrt(2), like)])])
    half = writer.add("Mul", [source, writer.alike(0.5, like)])
    writer.add("Mul", [half, writer.add("Add", [inside, writer.alike(1, like)])], node.output[0])


def fast_gelu(writer: Writer, node: onnx.NodeProto) -> None:
    """FastGelu: the same by a hyperbolic tangent."""
    source = _biased(writer, node)
    like = node.input[0]
    cube = writer.add("Mul", [writer.add("Mul", [source, source]), source])
    bent = writer.add("Add", [source, writer.add("Mul", [cube, writer.alike(_CUBE, like)])])
    inside = writer.add("Tanh", [writer.add("Mul", [bent, writer.alike(math.sqrt(2 / math.pi), like)])])
    half = writer.add("Mul", [source, writer.alike(0.5, like)])
    writer.add("Mul", [half, writer.add("Add", [inside, writer.alike(1, like)])], node.output[0])


def quick_gelu(writer: Writer, node: onnx.NodeProto) -> None:
    """QuickGelu: x times the sigmoid of alpha x."""
    alpha = attributes_of(node).get("alpha", _SIGMOID_OF_QUICK)
    scaled = writer.add("Mul", [node.input[0], writer.alike(float(str(alpha)), node.input[0])])
    writer.add("Mul", [node.input[0], writer.add("Sigmoid", [scaled])], node.output[0])


def _biased(writer: Writer, node: onnx.NodeProto) -> str:
    bias = node.input[1] if len(node.input) > 1 else ""
    return writer.add("Add", [node.input[0], bias]) if bias else node.input[0]
