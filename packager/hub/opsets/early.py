"""The way down to the first operator sets, 7 to 10, where much of what is common now was not yet there."""

from __future__ import annotations

from typing import TYPE_CHECKING

from packager.hub.opsets._scope import Refusal, make, set_inputs, source

if TYPE_CHECKING:
    import onnx

    from packager.hub.opsets._scope import Scope

_FLOATS = frozenset({1, 10, 11, 16})
"""Of `onnx.TensorProto`: float32, float16, float64, bfloat16."""


def slice_without_steps(node: onnx.NodeProto, scope: Scope) -> list[onnx.NodeProto]:
    """From 10: a part with steps is gathered, place by place, along each axis."""
    import numpy as np

    if not source(node, 4):
        return [node]
    steps = scope.constant(source(node, 4))
    if steps is not None and (steps == 1).all():
        set_inputs(node, node.input[:4])
        return [node]
    starts, ends = (scope.constant(source(node, place)) for place in (1, 2))
    axes = scope.constant(source(node, 3)) if source(node, 3) else None
    if steps is None or starts is None or ends is None or (source(node, 3) and axes is None):
        raise Refusal("its bounds or steps are computed")
    shape = scope.shape(node.input[0])
    value, nodes = node.input[0], []
    for place, (start, end, step) in enumerate(zip(starts.tolist(), ends.tolist(), steps.tolist(), strict=True)):
        axis = int(axes[place]) % len(shape) if axes is not None else place
        size = shape[axis]
        if size is None:
            raise Refusal(f"it takes steps along a free dimension ({axis})")
        places = np.arange(size, dtype=np.int64)[slice(*_bounds(start, end, step, size))]
        name = scope.fresh("slice")
        nodes.append(make("Gather", [value, scope.add(places)], [name], axis=axis))
        value = name
    nodes[-1].output[0] = node.output[0]
    return nodes


def _bounds(start: int, end: int, step: int, size: int) -> tuple[int, int | None, int]:
    """The bounds as Python's slices have them; going down, an end below all places is None there."""
    first, last = (place + size if place < 0 else place for place in (start, end))
    if step > 0:
        return max(first, 0), max(last, 0), step
    return min(max(first, -1), size - 1), None if last < 0 else last, step


def resize_to_upsample(node: onnx.NodeProto, scope: Scope) -> list[onnx.NodeProto]:
    """From 10: only enlarging had a name."""
    scales = scope.constant(source(node, 1))
    if scales is None or min(scales.tolist()) < 1:
        raise Refusal("it does not only enlarge, by known factors")
    node.op_type = "Upsample"
    return [node]


def equal_floats(node: onnx.NodeProto, scope: Scope) -> list[onnx.NodeProto]:
    """From 11: floats could only be less or greater; what is neither is equal, or no number at all."""
    import numpy as np
    import onnx

    kind = scope.type_of(node.input[0])
    if kind not in _FLOATS:
        return [node]
    below = scope.add(np.array(-1, onnx.helper.tensor_dtype_to_np_dtype(kind)))
    left, right = node.input
    names = [scope.fresh("equal") for _ in range(8)]
    less, greater, differs, same, left_size, right_size, left_number, right_number = names
    numbers = scope.fresh("equal")
    return [
        make("Less", [left, right], [less]),
        make("Greater", [left, right], [greater]),
        make("Or", [less, greater], [differs]),
        make("Not", [differs], [same]),
        make("Abs", [left], [left_size]),
        make("Abs", [right], [right_size]),
        make("Greater", [left_size, below], [left_number]),
        make("Greater", [right_size, below], [right_number]),
        make("And", [left_number, right_number], [numbers]),
        make("And", [same, numbers], list(node.output)),
    ]


def expand_to_tile(node: onnx.NodeProto, scope: Scope) -> list[onnx.NodeProto]:
    """From 8: what is repeated must be known."""
    wanted = scope.constant(node.input[1])
    if wanted is None:
        raise Refusal("the shape is computed")
    given = _known(node.input[0], scope)
    shape = _broadcast([given, tuple(int(size) for size in wanted)])
    return _spread(node.input[0], given, shape, node.output[0], scope)


def same_shapes(node: onnx.NodeProto, scope: Scope) -> list[onnx.NodeProto]:
    """From 8: before, all inputs had one shape, so that the smaller ones are repeated."""
    shapes = {scope.shape(name) for name in node.input}
    if len(shapes) == 1 and None not in next(iter(shapes)):
        return [node]
    shape = _broadcast([_known(name, scope) for name in node.input])
    nodes: list[onnx.NodeProto] = []
    for place, name in enumerate(node.input):
        if _known(name, scope) != shape:
            node.input[place] = scope.fresh("spread")
            nodes.extend(_spread(name, _known(name, scope), shape, node.input[place], scope))
    return [*nodes, node]


def _known(name: str, scope: Scope) -> tuple[int, ...]:
    sizes = tuple(size for size in scope.shape(name) if size is not None)
    if len(sizes) != scope.rank(name):
        raise Refusal("its inputs are not known to have one shape")
    return sizes


def _broadcast(shapes: list[tuple[int, ...]]) -> tuple[int, ...]:
    import numpy as np

    try:
        return np.broadcast_shapes(*shapes)
    except ValueError as error:
        raise Refusal(f"its shapes don't go together: {error}") from error


def _spread(
    name: str, given: tuple[int, ...], shape: tuple[int, ...], output: str, scope: Scope
) -> list[onnx.NodeProto]:
    """Nodes that repeat a value until it has the shape."""
    import numpy as np

    full = (1,) * (len(shape) - len(given)) + given
    repeats = [size // own if own else 1 for size, own in zip(shape, full, strict=True)]
    reshaped = scope.fresh("spread")
    return [
        make("Reshape", [name, scope.add(np.array(full, np.int64))], [reshaped]),
        make("Tile", [reshaped, scope.add(np.array(repeats, np.int64))], [output]),
    ]
