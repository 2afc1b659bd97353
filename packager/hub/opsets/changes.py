"""Changes of meaning, of defaults and of names; what only widened its types needs nothing."""

from __future__ import annotations

from typing import TYPE_CHECKING, TypeAlias, cast

from packager.hub.opsets import early
from packager.hub.opsets._scope import Refusal, attribute, drop, make, put, set_input, set_inputs, source

if TYPE_CHECKING:
    from collections.abc import Callable

    import onnx

    from packager.hub.opsets._scope import Scope

    Adapter: TypeAlias = Callable[["onnx.NodeProto", Scope], list["onnx.NodeProto"]]

_FLAT_DEFAULT = 1
"""The axis of Softmax and its like before opset 13."""


def _flat_to_axis(node: onnx.NodeProto, scope: Scope) -> list[onnx.NodeProto]:
    """Up to 13: what flattened to two dimensions from `axis` on normalises along one axis now."""
    axis = cast("int", attribute(node, "axis", _FLAT_DEFAULT))
    rank = scope.known_rank(node.input[0])
    if rank is not None and axis % max(rank, 1) == rank - 1:
        put(node, "axis", -1)
        return [node]
    flat, done, shape = (scope.fresh(stem) for stem in ("flat", "normalised", "shape"))
    return [
        make("Flatten", [node.input[0]], [flat], axis=axis),
        make(node.op_type, [flat], [done], axis=-1),
        make("Shape", [node.input[0]], [shape]),
        make("Reshape", [done, shape], list(node.output)),
    ]


def _axis_to_flat(node: onnx.NodeProto, scope: Scope) -> list[onnx.NodeProto]:
    """Down from 13: an axis that is not the last one is moved there."""
    rank = scope.rank(node.input[0])
    axis = cast("int", attribute(node, "axis", -1)) % max(rank, 1)
    last = max(rank - 1, 0)
    put(node, "axis", last)
    if axis == last:
        return [node]
    order = [place for place in range(rank) if place != axis] + [axis]
    back = [order.index(place) for place in range(rank)]
    moved, done = scope.fresh("moved"), scope.fresh("normalised")
    output = node.output[0]
    first = make("Transpose", [node.input[0]], [moved], perm=order)
    set_inputs(node, [moved])
    node.output[0] = done
    return [first, node, make("Transpose", [done], [output], perm=back)]


def _batch_normalization_up(node: onnx.NodeProto, scope: Scope) -> list[onnx.NodeProto]:
    del scope
    if attribute(node, "spatial", 1) != 1:
        raise Refusal("it normalises each place on its own (spatial = 0)")
    if len(node.output) > 1:
        raise Refusal("it is trained here")
    drop(node, "spatial")
    return [node]


def _inference_only(node: onnx.NodeProto, scope: Scope) -> list[onnx.NodeProto]:
    del scope
    if attribute(node, "training_mode", 0) or sum(bool(name) for name in node.output) > 1:
        raise Refusal("it is trained here")
    drop(node, "training_mode")
    return [node]


def _dropout_down(node: onnx.NodeProto, scope: Scope) -> list[onnx.NodeProto]:
    """From 12: training is an input there, and before always an inference, whose mask was not specified."""
    if len(node.output) > 1 and node.output[1]:
        raise Refusal("its mask means something else there")
    training = source(node, 2)
    value = scope.constant(training) if training else None
    if training and (value is None or value.any()):
        raise Refusal("it may be trained here")
    drop(node, "seed")
    set_inputs(node, node.input[:2])
    return [node]


def _mask_unread(node: onnx.NodeProto, scope: Scope) -> list[onnx.NodeProto]:
    """Across 10 the mask's type differs."""
    del scope
    if len(node.output) > 1 and node.output[1]:
        raise Refusal("its mask has another type there")
    return [node]


def _split_up(node: onnx.NodeProto, scope: Scope) -> list[onnx.NodeProto]:
    del scope
    if not source(node, 1):
        put(node, "num_outputs", len(node.output))
    return [node]


def _split_down(node: onnx.NodeProto, scope: Scope) -> list[onnx.NodeProto]:
    """From 18: shares that are not equal are written out."""
    import numpy as np

    drop(node, "num_outputs")
    if source(node, 1):
        return [node]
    axis = cast("int", attribute(node, "axis", 0))
    size = scope.shape(node.input[0])[axis]
    if size is None:
        raise Refusal("the size of the axis that it splits is not known")
    count = len(node.output)
    share = -(-size // count)
    shares = [max(0, min(share, size - share * place)) for place in range(count)]
    set_input(node, 1, scope.add(np.array(shares, dtype=np.int64)))
    return [node]


def _pad_down(node: onnx.NodeProto, scope: Scope) -> list[onnx.NodeProto]:
    """From 18: pads of some axes become pads of all."""
    import numpy as np

    axes = source(node, 3)
    if not axes:
        return [node]
    chosen, pads = scope.constant(axes), scope.constant(node.input[1])
    if chosen is None or pads is None:
        raise Refusal("the axes that it pads are computed")
    rank = scope.rank(node.input[0])
    full = np.zeros((2, rank), dtype=np.int64)
    full[:, chosen.astype(np.int64) % rank] = pads.reshape(2, -1)
    set_inputs(node, [node.input[0], scope.add(full.reshape(-1)), source(node, 2)])
    return [node]


def _no_wrap(node: onnx.NodeProto, scope: Scope) -> list[onnx.NodeProto]:
    del scope
    if attribute(node, "mode", b"constant") == b"wrap":
        raise Refusal("there is no mode 'wrap'")
    return [node]


def _resize_up(node: onnx.NodeProto, scope: Scope) -> list[onnx.NodeProto]:
    """To 11: places were counted from the corner, and rounded down."""
    put(node, "coordinate_transformation_mode", "asymmetric")
    if attribute(node, "mode", b"nearest") == b"nearest":
        put(node, "nearest_mode", "floor")
    set_inputs(node, [node.input[0], _nothing(scope), node.input[1]])
    return [node]


def _resize_down(node: onnx.NodeProto, scope: Scope) -> list[onnx.NodeProto]:
    """From 11: only what 10 could say."""
    del scope
    mode = attribute(node, "mode", b"nearest")
    fits = attribute(node, "coordinate_transformation_mode", b"half_pixel") == b"asymmetric" and (
        mode == b"linear" or (mode == b"nearest" and attribute(node, "nearest_mode", b"") == b"floor")
    )
    if not fits or source(node, 3) or not source(node, 2):
        raise Refusal("it resizes in a way that has no name there")
    drop(node, "coordinate_transformation_mode", "nearest_mode", "cubic_coeff_a", "exclude_outside")
    drop(node, "extrapolation_value")
    set_inputs(node, [node.input[0], node.input[2]])
    return [node]


def _resize_inputs(node: onnx.NodeProto, scope: Scope) -> list[onnx.NodeProto]:
    """From 13 down to 11: region and scales had to be given, if only as nothing."""
    inputs = [source(node, index) for index in range(4)]
    inputs[1] = inputs[1] or _nothing(scope)
    inputs[2] = inputs[2] or _nothing(scope)
    set_inputs(node, inputs)
    return [node]


def _nothing(scope: Scope) -> str:
    import numpy as np

    return scope.add(np.zeros(0, dtype=np.float32))


def _upsample_to_resize(node: onnx.NodeProto, scope: Scope) -> list[onnx.NodeProto]:
    del scope
    node.op_type = "Resize"
    return [node]


def _scatter_up(node: onnx.NodeProto, scope: Scope) -> list[onnx.NodeProto]:
    del scope
    node.op_type = "ScatterElements"
    return [node]


def _scatter_down(node: onnx.NodeProto, scope: Scope) -> list[onnx.NodeProto]:
    del scope
    node.op_type = "Scatter"
    return [node]


def _roi_align_up(node: onnx.NodeProto, scope: Scope) -> list[onnx.NodeProto]:
    del scope
    put(node, "coordinate_transformation_mode", "output_half_pixel")
    return [node]


def _roi_align_down(node: onnx.NodeProto, scope: Scope) -> list[onnx.NodeProto]:
    del scope
    if attribute(node, "coordinate_transformation_mode", b"half_pixel") != b"output_half_pixel":
        raise Refusal("places are shifted by half a pixel")
    drop(node, "coordinate_transformation_mode")
    return [node]


_GRID_MODES = {b"bilinear": "linear", b"bicubic": "cubic"}


def _grid_sample_up(node: onnx.NodeProto, scope: Scope) -> list[onnx.NodeProto]:
    del scope
    mode = cast("bytes", attribute(node, "mode", b"bilinear"))
    put(node, "mode", _GRID_MODES.get(mode, mode.decode()))
    return [node]


def _grid_sample_down(node: onnx.NodeProto, scope: Scope) -> list[onnx.NodeProto]:
    mode = cast("bytes", attribute(node, "mode", b"linear"))
    if scope.rank(node.input[0]) != 4:  # noqa: PLR2004 - batch, channels, height, width
        raise Refusal("it samples more than pictures")
    put(node, "mode", {"linear": "bilinear", "cubic": "bicubic"}.get(mode.decode(), mode.decode()))
    return [node]


def _shape_down(node: onnx.NodeProto, scope: Scope) -> list[onnx.NodeProto]:
    """From 15: a part of the shape is sliced off."""
    import numpy as np

    start, end = (attribute(node, name) for name in ("start", "end"))
    drop(node, "start", "end")
    if start is None and end is None:
        return [node]
    output, whole = node.output[0], scope.fresh("shape")
    node.output[0] = whole
    last = np.iinfo(np.int32).max if end is None else cast("int", end)
    bounds = [scope.add(np.array([place], dtype=np.int64)) for place in (cast("int", start or 0), last)]
    return [node, make("Slice", [whole, *bounds], [output])]


def _cast_like_down(node: onnx.NodeProto, scope: Scope) -> list[onnx.NodeProto]:
    return [make("Cast", [node.input[0]], list(node.output), to=scope.type_of(node.input[1]))]


def _reshape_down(node: onnx.NodeProto, scope: Scope) -> list[onnx.NodeProto]:
    """From 14: a 0 in the shape always stood for the input's own size."""
    shape = scope.constant(node.input[1])
    if attribute(node, "allowzero", 0) and (shape is None or (shape == 0).any()):
        raise Refusal("a 0 in its shape means no element")
    drop(node, "allowzero")
    return [node]


_FLOATS = frozenset({1, 10, 11, 16})
"""Of `onnx.TensorProto`: float32, float16, float64, bfloat16."""


def _modulus_of_floats(node: onnx.NodeProto, scope: Scope) -> list[onnx.NodeProto]:
    """From 28: before, floats only had the remainder with the sign of the dividend."""
    if not attribute(node, "fmod", 0) and scope.type_of(node.input[0]) in _FLOATS:
        raise Refusal("floats have only the remainder with the dividend's sign (fmod = 1)")
    return [node]


def _scale_of_a_tensor(node: onnx.NodeProto, scope: Scope) -> list[onnx.NodeProto]:
    """From 13: one scale for the whole tensor."""
    if scope.rank(node.input[1]) != 0:
        raise Refusal("there is one scale for the whole tensor")
    drop(node, "axis")
    return [node]


def _constant_down(node: onnx.NodeProto, scope: Scope) -> list[onnx.NodeProto]:
    """From 12: numbers and texts become a tensor."""
    del scope
    import numpy as np
    import onnx.numpy_helper

    kinds = {
        "value_float": np.float32, "value_floats": np.float32, "value_int": np.int64, "value_ints": np.int64,
        "value_string": np.object_, "value_strings": np.object_,
    }  # fmt: skip
    for name, kind in kinds.items():
        value = attribute(node, name)
        if value is not None:
            drop(node, name)
            put(node, "value", onnx.numpy_helper.from_array(np.asarray(value, dtype=kind)))
    return [node]


def _refused(reason: str) -> Adapter:
    def adapter(node: onnx.NodeProto, scope: Scope) -> list[onnx.NodeProto]:
        del node, scope
        raise Refusal(reason)

    return adapter


UP: dict[tuple[str, int], Adapter] = {
    ("BatchNormalization", 9): _batch_normalization_up,
    ("BatchNormalization", 14): _inference_only,
    ("Dropout", 10): _mask_unread,
    ("GridSample", 20): _grid_sample_up,
    ("GroupNormalization", 21): _refused("its scale is one a group: export the model again"),
    ("Resize", 11): _resize_up,
    ("RoiAlign", 16): _roi_align_up,
    ("Scan", 9): _refused("its batch axis is gone there"),
    ("Scatter", 11): _scatter_up,
    ("Split", 18): _split_up,
    ("Upsample", 10): _upsample_to_resize,
    **{(name, 13): _flat_to_axis for name in ("Softmax", "LogSoftmax", "Hardmax")},
}
"""What makes a node of the version before one of this version."""

DOWN: dict[tuple[str, int], Adapter] = {
    ("BatchNormalization", 14): _inference_only,
    ("CastLike", 15): _cast_like_down,
    ("Constant", 12): _constant_down,
    ("DequantizeLinear", 13): _scale_of_a_tensor,
    ("Dropout", 10): _mask_unread,
    ("Dropout", 12): _dropout_down,
    ("Equal", 11): early.equal_floats,
    ("Expand", 8): early.expand_to_tile,
    ("GridSample", 20): _grid_sample_down,
    ("Mod", 28): _modulus_of_floats,
    ("Pad", 18): _pad_down,
    ("Pad", 19): _no_wrap,
    ("QuantizeLinear", 13): _scale_of_a_tensor,
    ("Reshape", 14): _reshape_down,
    ("Resize", 10): early.resize_to_upsample,
    ("Resize", 11): _resize_down,
    ("Resize", 13): _resize_inputs,
    ("RoiAlign", 16): _roi_align_down,
    ("Scan", 9): _refused("it has no batch axis"),
    ("Scan", 14): _refused("onnxruntime would not find the shapes of its body"),
    ("ScatterElements", 11): _scatter_down,
    ("Split", 18): _split_down,
    ("Shape", 15): _shape_down,
    ("Slice", 10): early.slice_without_steps,
    **{(name, 8): early.same_shapes for name in ("Max", "Mean", "Min", "Sum")},
    **{(name, 13): _axis_to_flat for name in ("Softmax", "LogSoftmax", "Hardmax")},
}
"""What makes a node of this version one of the version before."""
