"""Express scalers, normalizers and linear models of ``ai.onnx.ml`` by tensor operators.

Semantics: ONNX operator reference, ``ai.onnx.ml`` 1. One function an operator; what has none is left to the target to
refuse by name.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, TypeAlias

from packager.hub.graph import ML_DOMAIN, all_nodes, domain_of, opset, tidy_opsets

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence

    import numpy as np
    import onnx
    from numpy.typing import NDArray

    from packager.hub.form import Form

    Lowering: TypeAlias = Callable[["_Writer", onnx.NodeProto], bool]


_FLOAT = 1
"""`onnx.TensorProto.FLOAT`."""
_AXES_ARE_INPUTS = 18
"""The opset from which ReduceL1 and ReduceL2 take their axes as an input."""


class _Writer:
    """Collects the tensor operators that stand for one node."""

    def __init__(self, prefix: str, version: int, read: frozenset[str]) -> None:
        """`version` is the default opset's; `read` are the names that some node or output of the graph reads."""
        self.nodes: list[onnx.NodeProto] = []
        self.constants: list[onnx.TensorProto] = []
        self.version = version
        self.read = read
        self._prefix = prefix

    def constant(self, values: Sequence[float] | NDArray[np.generic]) -> str:
        import numpy as np
        import onnx.numpy_helper

        name = f"{self._prefix}/constant.{len(self.constants)}"
        self.constants.append(onnx.numpy_helper.from_array(np.asarray(values, dtype=np.float32), name))
        return name

    def axes(self, axis: int) -> str:
        import numpy as np
        import onnx.numpy_helper

        name = f"{self._prefix}/constant.{len(self.constants)}"
        self.constants.append(onnx.numpy_helper.from_array(np.array([axis], dtype=np.int64), name))
        return name

    def floats(self, source: str) -> str:
        """The tensor as float32: these operators take any number."""
        return self.add("Cast", [source], to=_FLOAT)

    def add(self, operator: str, inputs: Sequence[str], output: str = "", **attributes: int | list[int]) -> str:
        import onnx

        name = output or f"{self._prefix}/{operator}.{len(self.nodes)}"
        node = onnx.helper.make_node(operator, inputs, [name], name=f"{self._prefix}/{operator}.{len(self.nodes)}")
        node.attribute.extend(onnx.helper.make_attribute(key, value) for key, value in attributes.items())
        self.nodes.append(node)
        return name


def requires(form: Form) -> bool:
    """Where operators of ``ai.onnx.ml`` may not remain."""
    return not form.needs.ml_operators


def run(model: onnx.ModelProto, form: Form) -> onnx.ModelProto:
    """The model with tensor operators for those of ``ai.onnx.ml`` that have a lowering."""
    del form
    graph = model.graph
    read = frozenset(
        {name for node in all_nodes(graph) for name in node.input} | {entry.name for entry in graph.output}
    )
    nodes: list[onnx.NodeProto] = []
    for number, node in enumerate(list(graph.node)):
        writer = _Writer(f"{node.name or node.op_type}.{number}", opset(model), read)
        lowering = _LOWERINGS.get(node.op_type) if domain_of(node.domain) == ML_DOMAIN else None
        if lowering is None or not lowering(writer, node):
            nodes.append(node)
            continue
        nodes.extend(writer.nodes)
        graph.initializer.extend(writer.constants)
    copies = [_copied(node) for node in nodes]
    del graph.node[:]
    graph.node.extend(copies)
    tidy_opsets(model)
    return model


def ensures(model: onnx.ModelProto, form: Form) -> list[str]:
    """Nothing that has a lowering remains, but for a use that its function declined; the target names those."""
    del model, form
    return []


def _copied(node: onnx.NodeProto) -> onnx.NodeProto:
    import onnx

    copy = onnx.NodeProto()
    copy.CopyFrom(node)
    return copy


def _attributes(node: onnx.NodeProto) -> dict[str, object]:
    import onnx

    return {entry.name: onnx.helper.get_attribute_value(entry) for entry in node.attribute}


def _floats(attributes: dict[str, object], name: str) -> list[float]:
    values = attributes.get(name, [])
    return [float(value) for value in values] if isinstance(values, list) else []


def _text(attributes: dict[str, object], name: str, default: str) -> str:
    value = attributes.get(name, default.encode())
    return value.decode() if isinstance(value, bytes) else str(value)


def _number(attributes: dict[str, object], name: str, default: int) -> int:
    value = attributes.get(name, default)
    return value if isinstance(value, int) else default


def _scaler(writer: _Writer, node: onnx.NodeProto) -> bool:
    """(X - offset) * scale."""
    attributes = _attributes(node)
    shifted = writer.add("Sub", [writer.floats(node.input[0]), writer.constant(_floats(attributes, "offset"))])
    writer.add("Mul", [shifted, writer.constant(_floats(attributes, "scale"))], node.output[0])
    return True


def _normalizer(writer: _Writer, node: onnx.NodeProto) -> bool:
    """Each row divided by its norm; a row of zeros stays.

    The norm MAX is declined: whether it takes magnitudes differs between onnx's reference and onnxruntime.
    """
    operator = {"L1": "ReduceL1", "L2": "ReduceL2"}.get(_text(_attributes(node), "norm", "MAX"))
    if operator is None:
        return False
    source = writer.floats(node.input[0])
    if writer.version >= _AXES_ARE_INPUTS:
        length = writer.add(operator, [source, writer.axes(1)], keepdims=1)
    else:
        length = writer.add(operator, [source], axes=[1], keepdims=1)
    # The larger of norm and tiny leaves a row of zeros as it is, and changes no other row.
    bounded = writer.add("Max", [length, writer.constant([1e-30])])
    writer.add("Div", [source, bounded], node.output[0])
    return True


def _linear_regressor(writer: _Writer, node: onnx.NodeProto) -> bool:
    """X times coefficients plus intercepts."""
    attributes = _attributes(node)
    if _text(attributes, "post_transform", "NONE") != "NONE":
        return False
    _linear(writer, node.input[0], attributes, _number(attributes, "targets", 1), node.output[0])
    return True


def _linear_classifier(writer: _Writer, node: onnx.NodeProto) -> bool:
    """The scores alone: whoever asks for the labels keeps the operator."""
    attributes = _attributes(node)
    transform = _text(attributes, "post_transform", "NONE")
    classes = len(_labels(attributes))
    fits = classes and len(_floats(attributes, "intercepts")) == classes
    if not fits or node.output[0] in writer.read or transform not in {"NONE", "SOFTMAX", "LOGISTIC"}:
        return False
    scores = node.output[1]
    if transform == "NONE":
        _linear(writer, node.input[0], attributes, classes, scores)
        return True
    raw = _linear(writer, node.input[0], attributes, classes, "")
    if transform == "SOFTMAX":
        writer.add("Softmax", [raw], scores, axis=1)
    else:
        writer.add("Sigmoid", [raw], scores)
    return True


def _linear(writer: _Writer, source: str, attributes: dict[str, object], outputs: int, output: str) -> str:
    import numpy as np

    weights = np.array(_floats(attributes, "coefficients"), dtype=np.float32).reshape(outputs, -1).T
    product = writer.add(
        "MatMul", [writer.floats(source), writer.constant(weights)], "" if "intercepts" in attributes else output
    )
    if "intercepts" not in attributes:
        return product
    return writer.add("Add", [product, writer.constant(_floats(attributes, "intercepts"))], output)


def _labels(attributes: dict[str, object]) -> list[object]:
    for name in ("classlabels_ints", "classlabels_strings"):
        values = attributes.get(name)
        if isinstance(values, list) and values:
            return values
    return []


_LOWERINGS: dict[str, Lowering] = {
    "LinearClassifier": _linear_classifier,
    "LinearRegressor": _linear_regressor,
    "Normalizer": _normalizer,
    "Scaler": _scaler,
}
