"""Write an ONNX graph operator by operator: for importers that know what their framework computes."""

from __future__ import annotations

from typing import TYPE_CHECKING, Protocol

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence
    from typing import TypeAlias

    import numpy as np
    import onnx
    from numpy.typing import NDArray

    Attribute: TypeAlias = int | float | str | Sequence[int] | Sequence[float] | Sequence[str]

OPSET = 19
"""Of the default domain; every target's passes bring it to the target's range."""
ML_OPSET = 3
ML_DOMAIN = "ai.onnx.ml"
BATCH = "N"
INPUT = "x"
"""The only input of a model that takes numbers alone."""
_IR_VERSION = 9
"""Of onnx 1.14, which had these operator sets first."""


class Sink(Protocol):
    """Takes the operators of a graph, one by one."""

    def add(
        self,
        operator: str,
        inputs: Sequence[str],
        attributes: Mapping[str, Attribute] | None = None,
        *,
        place: int = 0,
    ) -> str:
        """The name of the only output that is wanted, at that `place`; `operator` may have ``ai.onnx.ml.`` in front."""
        ...

    def constant(self, array: NDArray[np.generic]) -> str:
        """The name of a constant."""
        ...


class Graph:
    """A sink that becomes a model."""

    def __init__(self) -> None:
        self._nodes: list[onnx.NodeProto] = []
        self._constants: list[onnx.TensorProto] = []

    def add(
        self,
        operator: str,
        inputs: Sequence[str],
        attributes: Mapping[str, Attribute] | None = None,
        *,
        place: int = 0,
    ) -> str:
        """The name of the operator's only wanted output."""
        import onnx

        domain, _, kind = operator.rpartition(".")
        name = f"{kind}.{len(self._nodes)}"
        node = onnx.helper.make_node(kind, list(inputs), [*[""] * place, name], name=name, domain=domain)
        node.attribute.extend(onnx.helper.make_attribute(key, value) for key, value in (attributes or {}).items())
        self._nodes.append(node)
        return name

    def constant(self, array: NDArray[np.generic]) -> str:
        """The name of an initializer."""
        import onnx

        name = f"constant.{len(self._constants)}"
        self._constants.append(onnx.numpy_helper.from_array(array, name))
        return name

    def split(self, source: str, count: int) -> list[str]:
        """The names of as many equal parts along the channels."""
        import onnx

        names = [f"Split.{len(self._nodes)}.{place}" for place in range(count)]
        node = onnx.helper.make_node("Split", [source], names, name=names[0], axis=1, num_outputs=count)
        self._nodes.append(node)
        return names

    def model(self, inputs: Sequence[onnx.ValueInfoProto], outputs: Mapping[str, tuple[str, int]]) -> onnx.ModelProto:
        """The model; `outputs` gives for each the value it is, which is float32 of (N, that many)."""
        return self.shaped_model(inputs, {name: (value, [width]) for name, (value, width) in outputs.items()})

    def shaped_model(
        self, inputs: Sequence[onnx.ValueInfoProto], outputs: Mapping[str, tuple[str, Sequence[int | None]]]
    ) -> onnx.ModelProto:
        """The model; `outputs` gives for each the value it is: float32 of (N, *those sizes), None where not known."""
        import onnx

        self._nodes.extend(
            onnx.helper.make_node("Identity", [value], [name], name=name) for name, (value, _) in outputs.items()
        )
        shapes = [
            onnx.helper.make_tensor_value_info(name, onnx.TensorProto.FLOAT, [BATCH, *sizes])
            for name, (_, sizes) in outputs.items()
        ]
        graph = onnx.helper.make_graph(self._nodes, "model", list(inputs), shapes, self._constants)
        sets = [onnx.helper.make_opsetid("", OPSET)]
        if any(node.domain == ML_DOMAIN for node in self._nodes):
            sets.append(onnx.helper.make_opsetid(ML_DOMAIN, ML_OPSET))
        return onnx.helper.make_model(graph, opset_imports=sets, ir_version=_IR_VERSION)


def tensor_info(name: str, width: int) -> onnx.ValueInfoProto:
    """An input or output of float32, (N, `width`)."""
    import onnx

    return onnx.helper.make_tensor_value_info(name, onnx.TensorProto.FLOAT, [BATCH, width])
