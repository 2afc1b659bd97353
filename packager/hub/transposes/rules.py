"""For each operator that a transpose can pass: what it computes of the inputs as they were before.

A rule gets a copy of the node, the permutation that its inputs went through (the same for all of them), and what adds
constants. It changes the node's attributes and its constant inputs, and says whether this node can be passed at all.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, TypeAlias

if TYPE_CHECKING:
    from collections.abc import Callable

    import numpy as np
    import onnx
    from numpy.typing import NDArray

    from packager.hub.opsets._scope import Scope

    Permutation: TypeAlias = tuple[int, ...]
    Rule: TypeAlias = Callable[[onnx.NodeProto, Permutation, Scope], bool]

_AXES_ARE_AN_INPUT = 18
_SUM_AXES_ARE_AN_INPUT = 13


def elementwise(node: onnx.NodeProto, order: Permutation, scope: Scope) -> bool:
    """Constants are brought to the order of the inputs; a scalar stays."""
    import numpy as np

    for place, name in enumerate(node.input):
        value = scope.constant(name) if name else None
        if value is None:
            continue
        if value.ndim > len(order):
            return False
        if value.size == 1:
            continue
        full = value.reshape([1] * (len(order) - value.ndim) + list(value.shape))
        node.input[place] = scope.add(np.ascontiguousarray(full.transpose(np.argsort(order))))
    return True


def along_axis(node: onnx.NodeProto, order: Permutation, scope: Scope) -> bool:
    """Its attribute ``axis`` is another one."""
    del scope
    from packager.hub.opsets._scope import attribute, put

    default = {"Softmax": -1, "LogSoftmax": -1, "Hardmax": -1, "LpNormalization": -1, "Split": 0}.get(node.op_type)
    axis = attribute(node, "axis", default)
    if not isinstance(axis, int):
        return False
    put(node, "axis", order[axis])
    return True


def joining(node: onnx.NodeProto, order: Permutation, scope: Scope) -> bool:
    """Constants are brought to the order of the others, and its axis is another one."""
    return elementwise(node, order, scope) and along_axis(node, order, scope)


def reduction(node: onnx.NodeProto, order: Permutation, scope: Scope) -> bool:
    """Its axes are others; only where it keeps them."""
    from packager.hub.opsets._scope import attribute, put

    if attribute(node, "keepdims", 1) != 1:
        return False
    if node.op_type in {"ArgMax", "ArgMin"}:
        axis = attribute(node, "axis", 0)
        put(node, "axis", order[axis if isinstance(axis, int) else 0])
        return True
    axes = attribute(node, "axes")
    if isinstance(axes, list):
        put(node, "axes", sorted(order[axis] for axis in axes))
        return True
    if len(node.input) > 1 and node.input[1]:
        given = scope.constant(node.input[1])
        if given is None:
            return False
        node.input[1] = scope.add(_moved(given, order))
    return True


def padding(node: onnx.NodeProto, order: Permutation, scope: Scope) -> bool:
    """Its sizes are in another order."""
    import numpy as np

    pads = scope.constant(node.input[1]) if len(node.input) > 1 else None
    if pads is None or (len(node.input) > 3 and node.input[3]) or pads.size != 2 * len(order):  # noqa: PLR2004 - axes
        return False
    node.input[1] = scope.add(np.ascontiguousarray(pads.reshape(2, -1)[:, np.argsort(order)]).reshape(-1))
    return True


def slicing(node: onnx.NodeProto, order: Permutation, scope: Scope) -> bool:
    """Its axes are others."""
    if len(node.input) < 4 or not node.input[3]:  # noqa: PLR2004 - data, starts, ends, axes, steps
        return False
    axes = scope.constant(node.input[3])
    if axes is None:
        return False
    node.input[3] = scope.add(_moved(axes, order, sort=False))
    return True


def quantization(node: onnx.NodeProto, order: Permutation, scope: Scope) -> bool:
    """One scale for all, or for each place of an axis, which is then another one."""
    from packager.hub.opsets._scope import attribute, put

    scale = scope.constant(node.input[1])
    if scale is None or attribute(node, "block_size", 0):
        return False
    axis = attribute(node, "axis", 1)
    if scale.ndim and isinstance(axis, int):
        put(node, "axis", order[axis])
    return True


def _moved(axes: NDArray[np.generic], order: Permutation, *, sort: bool = True) -> NDArray[np.generic]:
    import numpy as np

    found = [order[int(axis)] for axis in axes.reshape(-1)]
    return np.array(sorted(found) if sort else found, dtype=axes.dtype)


_UNARY = (
    "Abs", "Acos", "Acosh", "Asin", "Asinh", "Atan", "Atanh", "BitwiseNot", "Cast", "Ceil", "Celu", "Clip",
    "Cos", "Cosh", "Elu", "Erf", "Exp", "Floor", "Gelu", "HardSigmoid", "HardSwish", "Identity", "IsInf",
    "IsNaN", "LeakyRelu", "Log", "Mish", "Neg", "Not", "Reciprocal", "Relu", "Round", "Selu", "Shrink",
    "Sigmoid", "Sign", "Sin", "Sinh", "Softplus", "Softsign", "Sqrt", "Swish", "Tan", "Tanh", "ThresholdedRelu",
)  # fmt: skip
_TOGETHER = (
    "Add", "And", "BitShift", "BitwiseAnd", "BitwiseOr", "BitwiseXor", "Div", "Equal", "Greater",
    "GreaterOrEqual", "Less", "LessOrEqual", "Max", "Mean", "Min", "Mod", "Mul", "Or", "Pow", "Sub", "Sum",
    "Where", "Xor",
)  # fmt: skip
_REDUCTIONS = (
    "ArgMax", "ArgMin", "ReduceL1", "ReduceL2", "ReduceLogSum", "ReduceLogSumExp", "ReduceMax", "ReduceMean",
    "ReduceMin", "ReduceProd", "ReduceSum", "ReduceSumSquare",
)  # fmt: skip
RULES: dict[str, Rule] = {
    **dict.fromkeys((*_UNARY, *_TOGETHER), elementwise),
    **dict.fromkeys(("Softmax", "LogSoftmax", "Hardmax", "LpNormalization", "Split"), along_axis),
    **dict.fromkeys(_REDUCTIONS, reduction),
    **dict.fromkeys(("QuantizeLinear", "DequantizeLinear"), quantization),
    "Concat": joining,
    "Pad": padding,
    "Slice": slicing,
}
"""By operator."""
DATA_INPUTS = {
    **dict.fromkeys((*_UNARY, *_REDUCTIONS, "Softmax", "LogSoftmax", "Hardmax", "LpNormalization", "Split"), 1),
    **dict.fromkeys(("QuantizeLinear", "DequantizeLinear", "Pad", "Slice"), 1),
}
"""How many of the inputs hold data, and not parameters; all of them, where nothing stands here."""
FLATTENING = ("Softmax", "LogSoftmax", "Hardmax")
"""Before opset 13 these put all axes from theirs on together."""
EVERY_AXIS = 13
