"""A batch that stays free: the graph is made for two sizes of it, and what differs between them is the batch.

LiteRT computes all shapes anew when an input is resized, so only constants that hold the batch stand in the way. A
reshape can leave one number open, and so can a slice that takes all; some shapes are computed; what else needs the
number is refused by name.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

import msgspec
import numpy as np
import onnx

from targets._target import TargetError
from targets.edge_arm._batch_shapes import open_shape

if TYPE_CHECKING:
    from collections.abc import Iterator

    from numpy.typing import NDArray

    from manifests.manifest import SignatureSection, TensorSection
    from targets.edge_arm._graph import Graph, Operation, Tensor

SIZES = (2, 3)
"""Batches that the graph is made for. Not 1: an axis of one is taken for none in many places."""
SCHEMES = ("none", "float16", "dynamic-int8", "int4-weights")
"""Those that calibrate nothing."""
_OPEN = {"RESHAPE": 1, "SLICE": 2}
"""Operators that take -1 for what follows from the rest, and the input that says it."""


def bound_batch(model: onnx.ModelProto, size: int) -> onnx.ModelProto:
    """The model with that number in the first axis of each input that leaves it free.

    Raises:
        TargetError: another axis is free (``edge-arm.shape``).
    """
    bound = onnx.ModelProto()
    bound.CopyFrom(model)
    constants = {tensor.name for tensor in bound.graph.initializer}
    for entry in bound.graph.input:
        if entry.name in constants:
            continue
        for axis, dimension in enumerate(entry.type.tensor_type.shape.dim):
            if dimension.HasField("dim_value") and dimension.dim_value >= 0:
                continue
            if axis:
                raise TargetError(
                    "edge-arm.shape",
                    f"axis {axis} of input '{entry.name}' is free: only the first, the batch, can stay so",
                    hint=f"give model.inputs.{entry.name}.shape",
                )
            dimension.dim_value = size
    for output in bound.graph.output:
        for dimension in output.type.tensor_type.shape.dim:
            if not dimension.HasField("dim_value"):
                dimension.Clear()
    del bound.graph.value_info[:]
    return bound


def open_batch(graph: Graph, other: Graph) -> None:
    """Leave open in a graph, which is made for the first of `SIZES`, what is otherwise in one for the second.

    Raises:
        TargetError: an operation needs the batch as a number (``edge-arm.batch``).
    """
    graph.prune()
    other.prune()
    if [operation.code for operation in graph.operations] != [operation.code for operation in other.operations]:
        raise TargetError("edge-arm.batch", "the model computes otherwise for another batch", hint=_HINT)
    for ours, theirs in zip(list(graph.operations), other.operations, strict=True):
        if ours.graphs:
            raise _needs_number(ours)
        for place, (given, twin) in enumerate(zip(ours.inputs, theirs.inputs, strict=True)):
            if given is not None and twin is not None and given.data is not None and twin.data is not None:
                _open_constant(graph, ours, place, twin.data)
        for made, twin in zip(ours.outputs, theirs.outputs, strict=True):
            made.free = _free(made, twin)
    for name, given in graph.inputs.items():
        given.free = _free(given, other.inputs[name])


_END = 2
"""The place of a strided slice's ends among its inputs."""
_HINT = "give targets.edge-arm.batch a number"


def _free(ours: Tensor, theirs: Tensor) -> tuple[int, ...]:
    return tuple(axis for axis, sizes in enumerate(zip(ours.shape, theirs.shape, strict=True)) if sizes[0] != sizes[1])


def _open_constant(graph: Graph, operation: Operation, place: int, twin: NDArray[np.generic]) -> None:
    given = operation.inputs[place]
    data = given.data if given is not None else None
    if data is None or (data.shape == twin.shape and np.array_equal(data, twin)):
        return
    if operation.code == "STRIDED_SLICE" and _opens_end(operation, place, np.flatnonzero(data != twin)):
        return
    if open_shape(graph, operation, place, twin):
        return
    if _OPEN.get(operation.code) != place or data.shape != twin.shape:
        raise _needs_number(operation)
    differing = np.flatnonzero(data != twin)
    if operation.code == "RESHAPE" and len(differing) > 1:
        raise _needs_number(operation)
    if operation.code == "SLICE":
        start = operation.inputs[1]
        if start is None or start.data is None or start.data[differing].any():
            raise _needs_number(operation)
    opened = data.copy()
    opened[differing] = -1
    operation.inputs[place] = graph.constant(opened)
    if operation.code == "RESHAPE":
        operation.options.newShape = opened.tolist()


def _opens_end(operation: Operation, place: int, axes: NDArray[np.intp]) -> bool:
    """Whether the slice takes all along these axes, and now says so by its mask instead of by the ends."""
    whole, *parts = operation.inputs
    begin, end, step = (None if part is None else part.data for part in parts)
    if place != _END or whole is None or begin is None or end is None or step is None:
        return False
    if begin[axes].any() or (step[axes] != 1).any() or any(end[axis] != whole.shape[axis] for axis in axes):
        return False
    operation.options.endMask |= sum(1 << int(axis) for axis in axes)
    return True


def _needs_number(operation: Operation) -> TargetError:
    return TargetError(
        "edge-arm.batch",
        f"the batch can't stay free: node '{operation.source or operation.code}' ({operation.code}) needs its number",
        hint=_HINT,
    )


def with_free_batch(signature: SignatureSection, graph: Graph) -> SignatureSection:
    """The signature with names for the dimensions that are open."""

    def named(entries: tuple[TensorSection, ...], tensors: dict[str, Tensor]) -> Iterator[TensorSection]:
        for entry in entries:
            free = tensors[entry.name].free
            shape = tuple(
                (("batch" if size == SIZES[0] else f"{size // SIZES[0]}*batch") if axis in free else size)
                for axis, size in enumerate(map(int, entry.shape))
            )
            yield msgspec.structs.replace(entry, shape=shape)

    return msgspec.structs.replace(
        signature,
        inputs=tuple(named(signature.inputs, graph.inputs)),
        outputs=tuple(named(signature.outputs, graph.outputs)),
    )


def check_scheme(scheme: str, state: str) -> None:
    """Refuse what needs a number for the batch.

    Raises:
        TargetError: ``edge-arm.batch``.
    """
    if scheme not in SCHEMES:
        raise TargetError(
            "edge-arm.batch",
            f"quantize = '{scheme}' is calibrated for one batch: got batch = 'free'",
            hint=f"{_HINT}, or take one of {', '.join(SCHEMES)}",
        )
    if state != "inputs":
        raise TargetError("edge-arm.batch", "state that the file keeps has one batch: got batch = 'free'", hint=_HINT)
