"""The declared steps before a model as nodes of its graph: cast, scale, mean, std and layout."""

from __future__ import annotations

from typing import TYPE_CHECKING

import msgspec

from manifests.pipeline import DeclaredInput
from packager.errors import ConversionError
from packager.hub.graph import opset, rename_values, value_names
from packager.pipeline import along_channels

if TYPE_CHECKING:
    import onnx

    from manifests.manifest import TensorSection
    from manifests.pipeline import FusedStep, InputPipeline

_FIRST_WITH_ROUND = 11
_FIRST_IR_WITH_CONSTANTS = 4
"""Before it, every initializer had to be an input too."""
_BYTES = (0.0, 255.0)


def fuse_input(
    model: onnx.ModelProto, step: InputPipeline, entry: TensorSection
) -> tuple[InputPipeline, DeclaredInput]:
    """Let the model take raw values; what is left of the step is returned, and what is known of the raw tensor.

    `entry` is the model's own input, its layout filled in. Values are computed in float32, or in float64 where the
    model takes that; scale, mean and std become one product and one sum.

    Raises:
        ConversionError: the model's operator set can't express it.
    """
    import onnx

    graph = model.graph
    value = next(known for known in graph.input if known.name == entry.name)
    fused = _fused(step)
    raw_layout = step.layout or entry.layout
    taken = value_names(graph)
    writer = _Writer(model, entry.name, taken)
    working = "float64" if entry.dtype == "float64" else "float32"
    current = writer.cast(entry.name, step.dtype or entry.dtype, working) if _computes(step) else entry.name
    if _computes(step):
        factor = _product(step, raw_layout, len(entry.shape))
        current = writer.combine(current, *factor, working)
        if entry.dtype not in ("float16", "float32", "float64"):
            if opset(model) < _FIRST_WITH_ROUND:
                raise ConversionError(
                    "fuse.opset",
                    f"input '{entry.name}' takes whole numbers, and opset {opset(model)} can't round",
                    hint="leave fuse out",
                )
            current = writer.node("Round", [current])
    if step.layout:
        current = writer.node("Transpose", [current], perm=[step.layout.index(axis) for axis in entry.layout])
    current = writer.cast(current, working if _computes(step) else step.dtype or entry.dtype, entry.dtype)
    if current != entry.name:
        model.ir_version = max(model.ir_version, _FIRST_IR_WITH_CONSTANTS)
        rename_values(graph, {entry.name: current})
        value.name = entry.name
        writer.prepend()
    kind = value.type.tensor_type
    if step.dtype:
        kind.elem_type = int(onnx.helper.np_dtype_to_tensor_dtype(_numpy_dtype(step.dtype)))
    if step.layout:
        sizes = [onnx.TensorShapeProto.Dimension.FromString(size.SerializeToString()) for size in kind.shape.dim]
        del kind.shape.dim[:]
        kind.shape.dim.extend(sizes[entry.layout.index(axis)] for axis in step.layout)
    left = msgspec.structs.replace(step, dtype=None, layout="", scale=(), mean=(), std=(), fused=fused)
    given = entry.range or (_BYTES if step.dtype == "uint8" else None)
    return left, DeclaredInput(layout=raw_layout, range=given)


def _fused(step: InputPipeline) -> tuple[FusedStep, ...]:
    found: list[FusedStep] = []
    if step.dtype:
        found.append("cast")
    if step.scale:
        found.append("scale")
    if step.mean:
        found.append("mean")
    if step.std:
        found.append("std")
    if step.layout:
        found.append("layout")
    return tuple(found)


def _computes(step: InputPipeline) -> bool:
    return bool(step.scale or step.mean or step.std)


def _product(step: InputPipeline, layout: str, rank: int) -> tuple[object, object]:
    """What raw values are multiplied with, and what is added then."""
    import numpy as np

    scale, mean, std = (
        along_channels(factors or default, layout, rank)
        for factors, default in ((step.scale, (1.0,)), (step.mean, (0.0,)), (step.std, (1.0,)))
    )
    return np.asarray(scale / std), np.asarray(-mean / std)


def _numpy_dtype(name: str) -> object:
    import numpy as np

    return np.dtype(name)


class _Writer:
    """Nodes that are put before all others of a graph."""

    def __init__(self, model: onnx.ModelProto, prefix: str, taken: set[str]) -> None:
        self._graph = model.graph
        self._prefix = prefix
        self._taken = taken
        self._nodes: list[onnx.NodeProto] = []

    def cast(self, source: str, given: str, wanted: str) -> str:
        """The value in the wanted dtype; itself where it has it."""
        import onnx

        if given == wanted:
            return source
        return self.node("Cast", [source], to=int(onnx.helper.np_dtype_to_tensor_dtype(_numpy_dtype(wanted))))

    def combine(self, source: str, factor: object, offset: object, dtype: str) -> str:
        """The value times `factor` plus `offset`; what changes nothing is left out."""
        import numpy as np

        for operator, operand, neutral in (("Mul", np.asarray(factor), 1), ("Add", np.asarray(offset), 0)):
            if not np.array_equal(operand, np.full_like(operand, neutral)):
                source = self.node(operator, [source, self._constant(operand.astype(dtype))])
        return source

    def node(self, operator: str, inputs: list[str], **attributes: int | list[int]) -> str:
        """The output of one more node."""
        import onnx

        name = self._fresh(operator.lower())
        node = onnx.helper.make_node(operator, inputs, [name], name=name)
        node.attribute.extend(onnx.helper.make_attribute(key, value) for key, value in attributes.items())
        self._nodes.append(node)
        return name

    def prepend(self) -> None:
        """Put the nodes before the graph's own."""
        import copy

        own = [copy.deepcopy(node) for node in self._graph.node]
        del self._graph.node[:]
        self._graph.node.extend([*self._nodes, *own])

    def _constant(self, value: object) -> str:
        import numpy as np
        import onnx.numpy_helper

        name = self._fresh("factor")
        self._graph.initializer.append(onnx.numpy_helper.from_array(np.asarray(value), name))
        return name

    def _fresh(self, what: str) -> str:
        name, number = f"{self._prefix}.{what}", 1
        while name in self._taken:
            number += 1
            name = f"{self._prefix}.{what}{number}"
        self._taken.add(name)
        return name
