"""Attributes that became inputs: axes, pads, bounds and the like."""

from __future__ import annotations

from typing import TYPE_CHECKING, Literal, NamedTuple, cast

from packager.hub.opsets._scope import Refusal, attribute, drop, make, put, set_input, set_inputs, source

if TYPE_CHECKING:
    import numpy as np
    import onnx
    from numpy.typing import NDArray

    from packager.hub.opsets._scope import Scope


class Moved(NamedTuple):
    """One attribute of an operator that is an input from a version on."""

    version: int
    name: str
    place: int
    kind: Literal["integers", "integer", "floats", "like-input", "float"]
    """Type of the input: 1-D int64, 0-D int64, 1-D float32, 0-D of the first input's type, 0-D float32."""


_REDUCTIONS = ("L1", "L2", "LogSum", "LogSumExp", "Max", "Mean", "Min", "Prod", "SumSquare")
MOVED: dict[str, tuple[Moved, ...]] = {
    "Clip": (Moved(11, "min", 1, "like-input"), Moved(11, "max", 2, "like-input")),
    "DFT": (Moved(20, "axis", 2, "integer"),),
    "Dropout": (Moved(12, "ratio", 1, "float"),),
    "Pad": (Moved(11, "pads", 1, "integers"), Moved(11, "value", 2, "like-input")),
    "ReduceSum": (Moved(13, "axes", 1, "integers"),),
    "Slice": (
        Moved(10, "starts", 1, "integers"),
        Moved(10, "ends", 2, "integers"),
        Moved(10, "axes", 3, "integers"),
    ),
    "Split": (Moved(13, "split", 1, "integers"),),
    "Squeeze": (Moved(13, "axes", 1, "integers"),),
    "TopK": (Moved(10, "k", 1, "integers"),),
    "Unsqueeze": (Moved(13, "axes", 1, "integers"),),
    "Upsample": (Moved(9, "scales", 1, "floats"),),
    **{f"Reduce{name}": (Moved(18, "axes", 1, "integers"),) for name in _REDUCTIONS},
}


def raise_inputs(node: onnx.NodeProto, version: int, scope: Scope) -> None:
    """Write the attributes that are inputs from `version` on as constants."""
    for moved in MOVED.get(node.op_type, ()):
        value = attribute(node, moved.name)
        if moved.version == version and value is not None:
            set_input(node, moved.place, scope.add(_tensor(moved, value, node, scope)))
            drop(node, moved.name)


def lower_inputs(node: onnx.NodeProto, version: int, scope: Scope) -> list[onnx.NodeProto]:
    """Write the inputs that are attributes before `version` as these.

    Raises:
        Refusal: an input is computed.
    """
    entries = [moved for moved in MOVED.get(node.op_type, ()) if moved.version == version]
    if not entries:
        return [node]
    names = [moved.name for moved in entries]
    if "axes" in names and not source(node, 1) and attribute(node, "noop_with_empty_axes", 0):
        return [make("Identity", [node.input[0]], list(node.output))]
    for moved in entries:
        name = source(node, moved.place)
        if not name:
            continue
        value = scope.constant(name)
        if value is None:
            raise Refusal(f"its input '{name}' is computed: there it is an attribute ('{moved.name}')")
        put(node, moved.name, _plain(moved, value))
    drop(node, "noop_with_empty_axes")
    set_inputs(node, node.input[: min(moved.place for moved in entries)])
    return [node]


def _tensor(moved: Moved, value: object, node: onnx.NodeProto, scope: Scope) -> NDArray[np.generic]:
    import numpy as np
    import onnx

    if moved.kind == "integers":
        return np.atleast_1d(np.asarray(value, dtype=np.int64))
    if moved.kind == "integer":
        return np.asarray(value, dtype=np.int64)
    if moved.kind == "floats":
        return np.asarray(value, dtype=np.float32)
    if moved.kind == "float":
        return np.asarray(value, dtype=np.float32)
    return np.asarray(value, dtype=onnx.helper.tensor_dtype_to_np_dtype(scope.type_of(node.input[0])))


def _plain(moved: Moved, value: NDArray[np.generic]) -> object:
    """The attribute's value.

    Raises:
        Refusal: it holds more than one number where the attribute is a single one.
    """
    import numpy as np

    if moved.kind == "integers" and moved.name != "k":
        return [int(entry) for entry in np.atleast_1d(value)]
    if moved.kind == "floats":
        return [float(entry) for entry in np.atleast_1d(value)]
    if value.size != 1:
        raise Refusal(f"'{moved.name}' holds {value.size} numbers: expected one")
    only = cast("float", value.reshape(-1)[0])
    return int(only) if moved.kind in {"integers", "integer"} else float(only)
