"""Collects the tensor operators that stand for one node, and reads that node."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, TypeAlias

if TYPE_CHECKING:
    from collections.abc import Collection, Iterable, Iterator, Mapping, Sequence

    import numpy as np
    import onnx
    from numpy.typing import NDArray

Array: TypeAlias = "NDArray[np.generic]"

FLOAT, INT64, BOOL, DOUBLE, INT32, STRING = 1, 7, 9, 11, 6, 8
"""Of `onnx.TensorProto`."""
_AXES_ARE_INPUTS = {"ReduceSum": 13, "Squeeze": 13, "Unsqueeze": 13}
"""The opset from which an operator takes its axes as an input; 18 for the other reductions."""


class Unsupported(Exception):  # noqa: N818 - not an error: the node stays, and the target names it
    """A node has no lowering; the message says why."""


class Writer:
    """The nodes and constants that one node becomes."""

    def __init__(
        self,
        prefix: str,
        version: int,
        read: frozenset[str],
        kinds: Mapping[str, tuple[int, tuple[int | None, ...] | None]],
        known: Mapping[str, onnx.TensorProto],
    ) -> None:
        """`version` is the default opset's; `read` are the names that some node or output of the graph reads.

        `kinds` are the element type and the shape of each value, as far as they are known; `known` the constants.
        """
        self.nodes: list[onnx.NodeProto] = []
        self.constants: list[onnx.TensorProto] = []
        self.version = version
        self.read = read
        self.prefix = prefix
        self._kinds = kinds
        self._constants = known
        self._known: dict[tuple[str, tuple[int, ...], bytes], str] = {}

    def type_of(self, name: str) -> int:
        """The element type of a value of the graph.

        Raises:
            Unsupported: it is not known.
        """
        if name not in self._kinds:
            raise Unsupported(f"the type of '{name}' is not known")
        return self._kinds[name][0]

    def dtype(self, name: str) -> np.dtype[np.generic]:
        """The same for numpy.

        Raises:
            Unsupported: it is not known.
        """
        import onnx

        return onnx.helper.tensor_dtype_to_np_dtype(self.type_of(name))

    def value(self, name: str) -> Array | None:
        """What a constant holds; None where it is computed, or a caller may override it."""
        import onnx.numpy_helper

        return onnx.numpy_helper.to_array(self._constants[name]) if name in self._constants else None

    def rank(self, name: str) -> int:
        """The number of dimensions of a value of the graph.

        Raises:
            Unsupported: it is not known.
        """
        return len(self.shape(name))

    def width(self, name: str) -> int | None:
        """The size of the last dimension; None where it is free."""
        return self.shape(name)[-1]

    def shape(self, name: str) -> tuple[int | None, ...]:
        """The dimensions; None for those that are free.

        Raises:
            Unsupported: their number is not known.
        """
        shape = self._kinds[name][1] if name in self._kinds else None
        if shape is None:
            raise Unsupported(f"the rank of '{name}' is not known")
        return shape

    def constant(self, values: Array | Sequence[float]) -> str:
        """The name of a constant; a list of numbers is float32."""
        import numpy as np
        import onnx.numpy_helper

        array = values if isinstance(values, np.ndarray) else np.asarray(values, dtype=np.float32)
        key = (array.dtype.str, array.shape, array.tobytes())
        if array.dtype.kind == "O" or key not in self._known:
            name = f"{self.prefix}/constant.{len(self.constants)}"
            self.constants.append(onnx.numpy_helper.from_array(array, name))
            self._known[key] = name
        return self._known[key]

    def used_constants(self) -> list[onnx.TensorProto]:
        """The constants that a node reads."""
        read = {name for node in every_node(self.nodes) for name in node.input}
        return [entry for entry in self.constants if entry.name in read]

    def alike(self, value: float, name: str) -> str:
        """The name of a constant of the type of a value of the graph."""
        import numpy as np

        return self.constant(np.array(value, dtype=self.dtype(name)))

    def integers(self, *values: int) -> str:
        """The name of a constant of int64."""
        import numpy as np

        return self.constant(np.array(values, dtype=np.int64))

    def scalar(self, value: int) -> str:
        """The name of a constant of int64 without dimensions."""
        import numpy as np

        return self.constant(np.array(value, dtype=np.int64))

    def floats(self, source: str) -> str:
        """The tensor as float32: most of these operators take any number."""
        known = source in self._kinds and self._kinds[source][0] == FLOAT
        return source if known else self.add("Cast", [source], to=FLOAT)

    def inner(self, name: str) -> Writer:
        """What collects the nodes of a subgraph; its constants belong to the graph around it."""
        return Writer(f"{self.prefix}/{name}", self.version, self.read, self._kinds, self._constants)

    def add_many(
        self,
        operator: str,
        inputs: Sequence[str],
        count: int,
        **attributes: Any,  # noqa: ANN401 - whatever onnx.helper.make_attribute takes
    ) -> list[str]:
        """Add a node of the default domain with several outputs; their names are returned."""
        import onnx

        name = f"{self.prefix}/{operator}.{len(self.nodes)}"
        outputs = [f"{name}.{place}" for place in range(count)]
        node = onnx.helper.make_node(operator, inputs, outputs, name=name)
        node.attribute.extend(onnx.helper.make_attribute(key, value) for key, value in attributes.items())
        self.nodes.append(node)
        return outputs

    def add(
        self,
        operator: str,
        inputs: Sequence[str],
        output: str = "",
        **attributes: Any,  # noqa: ANN401 - whatever onnx.helper.make_attribute takes
    ) -> str:
        """Add a node of the default domain; the name of its output is returned."""
        import onnx

        name = output or f"{self.prefix}/{operator}.{len(self.nodes)}"
        node = onnx.helper.make_node(operator, inputs, [name], name=f"{self.prefix}/{operator}.{len(self.nodes)}")
        node.attribute.extend(onnx.helper.make_attribute(key, value) for key, value in attributes.items())
        self.nodes.append(node)
        return name

    def unsqueeze(self, source: str, axis: int) -> str:
        """The tensor with one more axis."""
        if self.version >= _AXES_ARE_INPUTS["Unsqueeze"]:
            return self.add("Unsqueeze", [source, self.integers(axis)])
        return self.add("Unsqueeze", [source], axes=[axis])

    def reduce(self, operator: str, source: str, axis: int, output: str = "", *, keepdims: bool = True) -> str:
        """A reduction along one axis."""
        if self.version >= _AXES_ARE_INPUTS.get(operator, 18):
            return self.add(operator, [source, self.integers(axis)], output, keepdims=int(keepdims))
        return self.add(operator, [source], output, axes=[axis], keepdims=int(keepdims))

    def reads(self, node: onnx.NodeProto, index: int) -> bool:
        """Whether anything reads that output of a node."""
        return index < len(node.output) and node.output[index] in self.read


def every_node(nodes: Iterable[onnx.NodeProto]) -> Iterator[onnx.NodeProto]:
    """The nodes, and those of their subgraphs."""
    for node in nodes:
        yield node
        for entry in node.attribute:
            yield from every_node(entry.g.node)


def attributes_of(node: onnx.NodeProto) -> dict[str, object]:
    """The attributes that are written, by name."""
    import onnx

    return {entry.name: onnx.helper.get_attribute_value(entry) for entry in node.attribute}


def copy_attributes(node: onnx.NodeProto, drop: Collection[str]) -> dict[str, Any]:
    """The attributes that are written but for some, to be given to another node."""
    return {name: value for name, value in attributes_of(node).items() if name not in drop}


def floats(attributes: Mapping[str, object], name: str) -> list[float]:
    """A list of numbers; empty where it is left out."""
    values = attributes.get(name, [])
    return [float(value) for value in values] if isinstance(values, list) else []


def integers(attributes: Mapping[str, object], name: str) -> list[int]:
    """A list of whole numbers; empty where it is left out."""
    values = attributes.get(name, [])
    return [int(value) for value in values] if isinstance(values, list) else []


def text(attributes: Mapping[str, object], name: str, default: str) -> str:
    """A word."""
    value = attributes.get(name, default.encode())
    return value.decode() if isinstance(value, bytes) else str(value)


def number(attributes: Mapping[str, object], name: str, default: int) -> int:
    """A whole number."""
    value = attributes.get(name, default)
    return value if isinstance(value, int) else default


def tensor(attributes: Mapping[str, object], name: str) -> Array | None:
    """A tensor; None where it is left out."""
    import onnx
    import onnx.numpy_helper

    value = attributes.get(name)
    return onnx.numpy_helper.to_array(value) if isinstance(value, onnx.TensorProto) else None


def labels(attributes: Mapping[str, object]) -> Array:
    """The class labels of a classifier, int64 or text.

    Raises:
        Unsupported: it has none.
    """
    import numpy as np

    for name in ("classlabels_ints", "classlabels_int64s"):
        found = integers(attributes, name)
        if found:
            return np.array(found, dtype=np.int64)
    words = attributes.get("classlabels_strings")
    if isinstance(words, list) and words:
        return np.array([word.decode() for word in words], dtype=np.object_)
    raise Unsupported("it has no class labels")
