"""From a prepared ONNX model to layers of real numbers, and to what stays on the host before and after them."""

from __future__ import annotations

from dataclasses import dataclass, field, replace
from itertools import chain
from typing import TYPE_CHECKING, TypeAlias

import numpy as np
import onnx

from agent.runtimes._fixed.host import Affine, ArgMax, Port
from targets._source.model import read_source
from targets._source.refusal import UnsupportedError
from targets._target import Finding
from targets.fpga._registry import registry

if TYPE_CHECKING:
    from numpy.typing import NDArray

    from agent.runtimes._fixed.host import After, Before
    from targets._source.model import Node, Source
    from targets.fpga._layers import RealLayer, Reals


@dataclass(frozen=True, slots=True, eq=False)
class Constant:
    """Known before the model runs."""

    array: NDArray[np.generic]


@dataclass(frozen=True, slots=True, eq=False)
class Raw:
    """The model's input times a scale, plus an offset: computed by the host. Arrays are without the batch."""

    shape: tuple[int, ...]
    scale: Reals
    offset: Reals


@dataclass(frozen=True, slots=True)
class Stream:
    """A tensor in the FPGA; `shared`: more than one node reads it."""

    name: str
    shape: tuple[int, ...]
    shared: bool = False


@dataclass(frozen=True, slots=True)
class Hosted:
    """What the host has after its steps; `complement`: one minus that."""

    shape: tuple[int, ...]
    complement: bool = False


@dataclass(frozen=True, slots=True)
class Absent:
    """What can't be read, but need not be, as long as nothing asks for it."""

    reason: str


Value: TypeAlias = Constant | Raw | Stream | Hosted | Absent


@dataclass(eq=False)
class Reading:
    """The model as it is read, node by node."""

    source: Source
    host_tail: bool
    layers: dict[str, RealLayer] = field(default_factory=dict)
    """By the name of their output, in order."""
    findings: list[Finding] = field(default_factory=list)
    input: Raw | None = None
    """What enters the FPGA."""
    output: str = ""
    """The tensor that leaves the FPGA, once a step of the host has taken it."""
    returned: tuple[int, ...] = ()
    """The shape of the model's output, without the batch."""
    after: list[After] = field(default_factory=list)

    @property
    def accepts(self) -> Port:
        """The model's input."""
        name = self.source.inputs[0]
        kind = self.source.types[name]
        return Port(name=name, dtype=kind.dtype.name, shape=kind.shape[1:])

    @property
    def returns(self) -> Port:
        """The model's output; its dtype is known where its shape is, else it is the one that its operators give."""
        name = self.source.outputs[0]
        kind = self.source.types.get(name)
        own = "int64" if any(isinstance(step, ArgMax) for step in self.after) else "float32"
        return Port(name=name, dtype=kind.dtype.name if kind else own, shape=self.returned)

    @property
    def before(self) -> tuple[Before, ...]:
        """What the host does to the input."""
        raw = self.input
        if raw is None or (np.all(raw.scale == 1) and np.all(raw.offset == 0)):
            return ()
        return (Affine(scale=np.atleast_1d(raw.scale), offset=np.atleast_1d(raw.offset)),)

    def stream(self, value: Value) -> Stream:
        """A value as a tensor in the FPGA: the input enters it here.

        Raises:
            UnsupportedError: it is on the host, or enters in another way than before.
        """
        if isinstance(value, Stream):
            return value
        if isinstance(value, Raw):
            if self.input is not None and self.input is not value:
                raise UnsupportedError("the input enters the FPGA in two ways: expected one scale and offset for it")
            self.input = value
            return Stream(self.source.inputs[0], value.shape, shared=True)
        if isinstance(value, Absent):
            raise UnsupportedError(value.reason)
        if isinstance(value, Hosted):
            raise UnsupportedError(
                "it follows a step that the host does",
                hint="only the last steps of a model may be Softmax and the like",
            )
        raise UnsupportedError("a constant stands where a tensor of the model is expected")

    def add(self, layer: RealLayer) -> Stream:
        """The output of a new layer."""
        self.layers[layer.output] = layer
        return Stream(layer.output, layer.shape)

    def maker(self, stream: Stream) -> RealLayer | None:
        """The layer whose output only the current node reads; None: there is none that may be changed."""
        return None if stream.shared else self.layers.get(stream.name)

    def host(self, value: Value, step: After, shape: tuple[int, ...]) -> Hosted:
        """What a step of the host gives.

        Raises:
            UnsupportedError: the options keep the host out of it, or another tensor has left the FPGA.
        """
        if not self.host_tail:
            raise UnsupportedError("an FPGA has no such operator, and host_tail is off", hint="set host_tail = true")
        if not isinstance(value, Hosted):
            name = self.stream(value).name
            if self.output and self.output != name:
                raise UnsupportedError("a second tensor would leave the FPGA: expected one")
            self.output = name
        elif value.complement:
            raise UnsupportedError("only the pair of both classes' probabilities is known after one minus a value")
        self.after.append(step)
        return Hosted(shape)

    def constant(self, value: Value | None, what: str) -> NDArray[np.generic]:
        """The array of a constant.

        Raises:
            UnsupportedError: it is none.
        """
        if not isinstance(value, Constant):
            raise UnsupportedError(f"its {what} depends on the input: expected a constant")
        return value.array

    def reals(self, value: Value | None, what: str) -> Reals:
        """The array of a constant, in real numbers; UnsupportedError where it is none."""
        return self.constant(value, what).astype(np.float64)

    def shape_of(self, node: Node, place: int = 0) -> tuple[int, ...]:
        """The shape of an output without the batch.

        Raises:
            UnsupportedError: the shape is not known, or its first axis is not the batch.
        """
        kind = self.source.types.get(node.outputs[place])
        if kind is None:
            raise UnsupportedError("the shape of its output is not known before it runs")
        if not kind.shape or kind.shape[0] != 1:
            raise UnsupportedError(
                f"the first axis of its output is not the batch: expected 1, got shape {list(kind.shape)}"
            )
        return kind.shape[1:]

    def run(self, inputs: Reals) -> dict[str, Reals]:
        """Every tensor in the FPGA in real numbers, for the model's input of shape (samples, *shape)."""
        values = inputs.astype(np.float64)
        for step in self.before:
            values = step.apply(values)
        found = {self.source.inputs[0]: values}
        for layer in self.layers.values():
            found[layer.output] = layer.compute([found[name] for name in layer.sources])
        return found


def source_of(model: onnx.ModelProto) -> Source:
    """The model's nodes, with constants folded and shapes inferred.

    No operator is replaced by its definition in others: a refusal shall name the node that stands in the model.
    """
    return read_source(model, {schema.name for schema in onnx.defs.get_all_schemas()})


def read_model(model: onnx.ModelProto, *, host_tail: bool) -> Reading:
    """The model's layers; its `findings` say what could not be read, and only without any is the rest of use."""
    reading = Reading(source_of(model), host_tail)
    _check_ends(reading)
    if not reading.findings:
        _Walk(reading).run()
    return reading


def _check_ends(reading: Reading) -> None:
    """One input and one output, each with a batch."""
    source = reading.source
    for kind, names in (("input", source.inputs), ("output", source.outputs)):
        if len(names) != 1:
            reading.findings.append(
                Finding(
                    node=", ".join(names) or "graph",
                    operator=kind,
                    reason=f"a stream carries one {kind}: the model has {len(names)}",
                    hint=f"leave out all but one {kind} before the model is packed",
                )
            )
            continue
        if kind == "output":
            continue
        found = source.types.get(names[0])
        if found is None or not found.shape or found.shape[0] != 1 or found.dtype.kind not in "fiub":
            shown = "no fixed shape" if found is None else f"{found.dtype}{list(found.shape)}"
            reading.findings.append(
                Finding(node=names[0], operator=kind, reason=f"expected numbers, one sample a row, got {shown}")
            )


class _Walk:
    """One pass over the nodes, in their order."""

    def __init__(self, reading: Reading) -> None:
        self._reading = reading
        source = reading.source
        read = chain(chain.from_iterable(node.inputs for node in source.nodes), source.outputs)
        self._readers: dict[str, int] = {}
        for name in read:
            self._readers[name] = self._readers.get(name, 0) + 1
        self._values: dict[str, Value] = {name: Constant(array) for name, array in source.constants.items()}
        name = source.inputs[0]
        shape = source.types[name].shape[1:]
        self._values[name] = Raw(shape, np.ones(()), np.zeros(()))

    def run(self) -> None:
        for node in self._reading.source.nodes:
            self._read(node)
        if not self._reading.findings:
            self._end()

    def _read(self, node: Node) -> None:
        reading = self._reading
        try:
            read = registry.emitter(node.qualified, node.version)
            arguments = [self._values[name] if name else None for name in node.inputs]
            results = read(reading, node, *arguments)
        except UnsupportedError as error:
            reading.findings.append(
                Finding(node=node.label, operator=node.qualified, reason=str(error), hint=error.hint)
            )
            results = [self._assumed(name) for name in node.outputs]
        values = results if isinstance(results, list) else [results]
        for name, value in zip(node.outputs, values, strict=False):
            if name:
                self._values[name] = self._shared(name, value)

    def _shared(self, name: str, value: Value) -> Value:
        if isinstance(value, Stream) and self._readers.get(name, 0) > 1:
            return replace(value, shared=True)
        return value

    def _assumed(self, name: str) -> Stream:
        """What an unsupported node would give, so that those after it are looked at too."""
        kind = self._reading.source.types.get(name)
        return Stream(f"{name}?", kind.shape[1:] if kind else (), shared=True)

    def _end(self) -> None:
        reading = self._reading
        name = reading.source.outputs[0]
        value = self._values[name]
        reason = ""
        if isinstance(value, Hosted):
            if value.complement:
                reason = "the output is one minus a value of the host: expected the pair of both"
            reading.returned = value.shape
        else:
            try:
                last = reading.stream(value)
            except UnsupportedError as error:
                reason = str(error)
            else:
                if reading.output and reading.output != last.name:
                    reason = "a second tensor would leave the FPGA: expected one"
                reading.output, reading.returned = last.name, last.shape
        if not reason and not reading.layers:
            reason = "nothing is left for the FPGA to compute: expected a layer with weights"
        if reason:
            reading.findings.append(Finding(node=name, operator="output", reason=reason))
            return
        _prune(reading)


def _prune(reading: Reading) -> None:
    """Drop the layers that the output does not depend on."""
    needed = {reading.output}
    for name in reversed(list(reading.layers)):
        if name in needed:
            needed.update(reading.layers[name].sources)
        else:
            del reading.layers[name]


def from_end(axis: int, rank: int) -> int:
    """An axis counted from the end; `rank` is with the batch.

    Raises:
        UnsupportedError: it is the batch.
    """
    place = axis if axis < 0 else axis - rank
    if not -rank < place < 0:
        raise UnsupportedError(f"its axis is the batch: expected one of the {rank - 1} others, got {axis}")
    return place
