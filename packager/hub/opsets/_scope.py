"""What an adapter may know of a node's surroundings, and the constants that it adds to them."""

from __future__ import annotations

from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Iterable, Sequence

    import numpy as np
    import onnx
    from numpy.typing import NDArray


class Refusal(Exception):  # noqa: N818 - not an error of ours: the other operator set has no word for it
    """A node can't be expressed in the wanted operator set; the message says why."""


class Scope:
    """Constants, types and ranks of a model's values, by name; names are unique in a valid model."""

    def __init__(self, model: onnx.ModelProto) -> None:
        self.added: list[onnx.TensorProto] = []
        self._constants: dict[str, onnx.TensorProto] = {}
        self._types: dict[str, int] = {}
        self._shapes: dict[str, tuple[int | None, ...]] = {}
        self._count = 0
        self._taken = set[str]()
        given = {entry.name for entry in model.graph.input}
        self._read(model.graph, given)

    def constant(self, name: str) -> NDArray[np.generic] | None:
        """The value of an initializer or a Constant that no caller can override; None: it is computed."""
        import onnx.numpy_helper

        tensor = self._constants.get(name)
        return None if tensor is None else onnx.numpy_helper.to_array(tensor)

    def type_of(self, name: str) -> int:
        """The element type; raises Refusal where it is not known."""
        if name not in self._types:
            raise Refusal(f"the type of '{name}' is not known")
        return self._types[name]

    def rank(self, name: str) -> int:
        """The number of dimensions; raises Refusal where it is not known."""
        return len(self.shape(name))

    def known_rank(self, name: str) -> int | None:
        """The number of dimensions; None where it is not known."""
        return len(self._shapes[name]) if name in self._shapes else None

    def shape(self, name: str) -> tuple[int | None, ...]:
        """Dimensions, None where one is free; raises Refusal where their number is not known."""
        if name not in self._shapes:
            raise Refusal(f"the rank of '{name}' is not known")
        return self._shapes[name]

    def add(self, values: NDArray[np.generic]) -> str:
        """The name of a new constant."""
        import onnx.numpy_helper

        tensor = onnx.numpy_helper.from_array(values, self.fresh("constant"))
        self.added.append(tensor)
        self._constants[tensor.name] = tensor
        self._types[tensor.name] = tensor.data_type
        self._shapes[tensor.name] = tuple(tensor.dims)
        return tensor.name

    def fresh(self, stem: str) -> str:
        """A name that nothing has."""
        while True:
            self._count += 1
            name = f"opset/{stem}.{self._count}"
            if name not in self._taken:
                return name

    def _read(self, graph: onnx.GraphProto, given: set[str]) -> None:
        for entry in [*graph.input, *graph.output, *graph.value_info]:
            self._describe(entry)
        for tensor in graph.initializer:
            self._types[tensor.name] = tensor.data_type
            self._shapes[tensor.name] = tuple(tensor.dims)
            if tensor.name not in given:
                self._constants[tensor.name] = tensor
        self._taken.update(tensor.name for tensor in graph.initializer)
        for node in graph.node:
            self._taken.update(node.output)
            for attribute in node.attribute:
                if node.op_type == "Constant":
                    self._read_constant(node.output[0], attribute)
                if attribute.HasField("g"):
                    self._read(attribute.g, given)

    def _read_constant(self, name: str, entry: onnx.AttributeProto) -> None:
        import numpy as np
        import onnx.numpy_helper

        kinds = {"value_float": np.float32, "value_floats": np.float32, "value_int": np.int64, "value_ints": np.int64}
        if entry.name == "value":
            self._constants[name] = entry.t
        elif entry.name in kinds:
            value = np.asarray(onnx.helper.get_attribute_value(entry), dtype=kinds[entry.name])
            self._constants[name] = onnx.numpy_helper.from_array(value, name)

    def _describe(self, entry: onnx.ValueInfoProto) -> None:
        kind = entry.type.tensor_type
        if entry.type.HasField("tensor_type") and kind.elem_type:
            self._types[entry.name] = kind.elem_type
            if kind.HasField("shape"):
                self._shapes[entry.name] = tuple(
                    size.dim_value if size.HasField("dim_value") else None for size in kind.shape.dim
                )


def attribute(node: onnx.NodeProto, name: str, default: object = None) -> object:
    """An attribute's value, or the default."""
    import onnx

    for entry in node.attribute:
        if entry.name == name:
            return onnx.helper.get_attribute_value(entry)
    return default


def drop(node: onnx.NodeProto, *names: str) -> None:
    """Take attributes away."""
    kept = [entry for entry in node.attribute if entry.name not in names]
    copies = [_copied(entry) for entry in kept]
    del node.attribute[:]
    node.attribute.extend(copies)


def put(node: onnx.NodeProto, name: str, value: object) -> None:
    """Set an attribute."""
    import onnx

    drop(node, name)
    node.attribute.append(onnx.helper.make_attribute(name, value))


def source(node: onnx.NodeProto, index: int) -> str:
    """The name of an input; empty where it is left out."""
    return node.input[index] if index < len(node.input) else ""


def set_input(node: onnx.NodeProto, index: int, name: str) -> None:
    """Set an input; those between are left out."""
    inputs = [*node.input, *[""] * (index + 1 - len(node.input))]
    inputs[index] = name
    set_inputs(node, inputs)


def set_inputs(node: onnx.NodeProto, names: Iterable[str]) -> None:
    """Set all inputs; those left out at the end are not written."""
    inputs = list(names)
    while inputs and not inputs[-1]:
        inputs.pop()
    del node.input[:]
    node.input.extend(inputs)


def make(operator: str, inputs: Sequence[str], outputs: Sequence[str], **attributes: object) -> onnx.NodeProto:
    """A node of the default domain."""
    import onnx

    node = onnx.helper.make_node(operator, inputs, outputs, name=outputs[0])
    node.attribute.extend(onnx.helper.make_attribute(name, value) for name, value in attributes.items())
    return node


def _copied(entry: onnx.AttributeProto) -> onnx.AttributeProto:
    import onnx

    copy = onnx.AttributeProto()
    copy.CopyFrom(entry)
    return copy
