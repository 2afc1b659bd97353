"""Smaller weights and activations, by ai-edge-quantizer; what LiteRT would not run is kept in float."""

from __future__ import annotations

import contextlib
import io
import re
import warnings
from dataclasses import dataclass, field
from functools import cached_property
from typing import TYPE_CHECKING, Any, NamedTuple

import numpy as np
from ai_edge_litert import schema_py_generated as schema

from targets._target import TargetError
from targets.edge_arm._equalization import shifted
from targets.edge_arm._file import serialized
from targets.edge_arm._graph import Tensor
from targets.edge_arm._masks import masked
from targets.edge_arm._observation import Observed, activations
from targets.edge_arm._packing import repacked
from targets.edge_arm._recipe import CALIBRATED, Spared, recipe

if TYPE_CHECKING:
    from numpy.typing import NDArray

    from targets._target import Arrays
    from targets.edge_arm._graph import Graph, Operation
    from targets.edge_arm._observation import Activations, Sample
    from targets.edge_arm._recipe import Scheme

SAMPLE_LIMIT = 500
"""Most samples that calibration runs; ranges change little after the first hundreds."""
_TRIED = 3
"""Calibration samples that a file with int8 activations must run, beside zeros, before it is taken."""
_WIDEST = {"int16x8": 1 << 12}
"""How far apart the values may be that a softmax reads: a step of int16 is a sixteenth then."""
_WIDEST_INT8 = (1 << 8) - 1
"""Where a step is 1, and changes a probability by the factor e."""
_REPAIRS = 12
"""Most operations that are kept in float because LiteRT does not run them in integers."""

Ranges = dict[str, tuple[float, float]]
"""The ends of what each tensor holds."""


def calibration_samples(graph: Graph, calibration: Arrays | None) -> list[Sample]:
    """Calls of the model, cut from the calibration data along its first axis.

    Raises:
        TargetError: there is no data, an input has none, or its shape does not fit.
    """
    if not calibration:
        raise TargetError(
            "edge-arm.calibration",
            "quantizing activations needs calibration data: got none",
            hint='name representative inputs in data.calibration, or take quantize = "dynamic-int8"',
        )
    calls: list[list[NDArray[np.generic]]] = []
    for name, tensor in graph.inputs.items():
        if name not in calibration:
            raise TargetError("edge-arm.calibration", f"calibration data has no array for input '{name}'")
        calls.append(_cut(name, np.asarray(calibration[name]), tensor.shape, tensor.dtype))
    return [dict(zip(graph.inputs, call, strict=True)) for call in zip(*calls, strict=False)]


def _cut(
    name: str, array: NDArray[np.generic], shape: tuple[int, ...], dtype: np.dtype[Any]
) -> list[NDArray[np.generic]]:
    """Whole batches of the model's shape, at most `SAMPLE_LIMIT` samples in all."""
    array = array.astype(dtype, copy=False)
    if array.shape == shape:
        return [array]
    if not shape or array.shape[1:] != shape[1:] or len(array) < shape[0]:
        raise TargetError(
            "edge-arm.calibration",
            f"calibration data for input '{name}' does not fit: expected {list(shape)}, got {list(array.shape)}",
        )
    batch = shape[0]
    count = max(1, min(len(array), SAMPLE_LIMIT) // batch)
    return [array[start * batch : (start + 1) * batch] for start in range(count)]


@dataclass(frozen=True)
class Network:
    """A graph, its file in float, and the calls that it is calibrated with."""

    graph: Graph
    samples: list[Sample] = field(default_factory=list)

    @cached_property
    def data(self) -> bytes:
        """The file in float."""
        _unshare(self.graph)
        _rank_choices(self.graph)
        return serialized(self.graph)

    @cached_property
    def layers(self) -> dict[str, Operation]:
        """The operations by the names of their results."""
        _ = self.data  # gives the tensors their names
        return {tensor.name: operation for operation in self.graph.operations for tensor in operation.outputs}

    @cached_property
    def reached(self) -> dict[str, Activations]:
        """What every float tensor that is no constant reached on the samples."""
        names = [*self.graph.inputs, *self.layers]
        return activations(Observed(self.data, intermediate=True), names, self.samples)

    @cached_property
    def unseen(self) -> frozenset[str]:
        """The results around tensors that LiteRT keeps no value of, and so without a range."""

        def unknown(tensor: Tensor | None) -> bool:
            is_computed = tensor is not None and tensor.data is None and tensor.dtype == np.float32
            return tensor is not None and is_computed and tensor.name not in self.reached

        return frozenset(
            name
            for name, operation in self.layers.items()
            if any(unknown(tensor) for tensor in (*operation.inputs, *operation.outputs))
        )

    @cached_property
    def extremes(self) -> Ranges:
        """The smallest and the largest that every tensor reached.

        The quantizer's own `calibrate` averages the samples' extremes, which cuts off what goes beyond the average.
        """
        return {name: (found.low, found.high) for name, found in self.reached.items()}


def _unshare(graph: Graph) -> None:
    """Give each reader of a constant a tensor of its own, over the same bytes.

    Where one reader wants it in integers and another in float, the quantizer doubles the tensor and fails on the name.
    """
    seen: set[int] = set()
    for operation in graph.operations:
        for place, tensor in enumerate(operation.inputs):
            if tensor is None or tensor.data is None or tensor.dtype != np.float32:
                continue
            if id(tensor) in seen:
                operation.inputs[place] = Tensor(tensor.shape, tensor.dtype, tensor.data)
            else:
                seen.add(id(tensor))


def _rank_choices(graph: Graph) -> None:
    """Give the constants that a choice is made of the rank of its result, which the quantizer wants of them."""
    for operation in graph.operations:
        if operation.code != "SELECT_V2":
            continue
        rank = len(operation.outputs[0].shape)
        for place, tensor in enumerate(operation.inputs):
            if (
                tensor is not None
                and tensor.data is not None
                and tensor.dtype == np.float32
                and tensor.data.ndim < rank
            ):
                spread = tensor.data.reshape((1,) * (rank - tensor.data.ndim) + tensor.data.shape)
                operation.inputs[place] = graph.constant(spread)


class Plan(NamedTuple):
    """How a network is quantized."""

    scheme: Scheme
    ranges: Ranges | None = None
    """In place of what the tensors reached."""
    spared: Spared = Spared()
    coarse: bool = False
    """Whether dense layers of int8 have one scale each, not one for each channel: a scale takes 24 bytes."""
    shifts: dict[str, NDArray[np.floating[Any]]] | None = None
    """What is taken from the biases, by the name of the result, where the weights are integers."""

    def keeping(self, names: frozenset[str]) -> Plan:
        """The plan with these results in float as well."""
        return self._replace(spared=self.spared._replace(kept=self.spared.kept | names))


class Quantized(NamedTuple):
    """A file that LiteRT was seen to run, and the plan that led to it."""

    data: bytes
    plan: Plan


def quantized(network: Network, plan: Plan) -> Quantized:
    """The file of a plan; operations that LiteRT does not run in integers are added to those kept in float.

    Its inputs and outputs keep their element types, but for ``int8-io``.

    Raises:
        TargetError: the quantizer gives up, or LiteRT does not run what it makes.
    """
    if plan.scheme == "none":
        return Quantized(network.data, plan)
    if plan.scheme in CALIBRATED:
        widest = _WIDEST.get(plan.scheme, _WIDEST_INT8)
        plan = plan.keeping(network.unseen | masked(network.graph.operations, network.reached, widest))
    for _ in range(_REPAIRS):
        data = _attempt(network, plan)
        why = _refusal(data, network, 0 if plan.scheme == "int16x8" else _TRIED)  # its kernels are some 30 times slower
        if not why:
            left = _left_in_float(data, network) if plan.scheme == "int8-io" else []
            if not left:
                return Quantized(data, plan)
            network, plan = _bridged(network, plan, left)
            continue
        blamed = _blamed(data, why, network) - plan.spared.kept
        if not blamed:
            break
        plan = plan.keeping(blamed)
    raise TargetError(
        "edge-arm.load",
        f"LiteRT does not run what was made: {why}",
        hint="try another value of targets.edge-arm.quantize, and report the model",
    )


def _attempt(network: Network, plan: Plan) -> bytes:
    from ai_edge_quantizer import quantizer

    floats = plan.spared.kept | plan.spared.halved
    shifts = {name: shift for name, shift in (plan.shifts or {}).items() if name not in floats}
    data = network.data
    if shifts:
        with shifted(network.graph, shifts):
            data = serialized(network.graph)
    steps = recipe(plan.scheme, network.graph, plan.spared, coarse=plan.coarse)
    known = _statistics(network, plan.ranges) if plan.scheme in CALIBRATED else None
    with warnings.catch_warnings(action="ignore"), contextlib.redirect_stderr(io.StringIO()):
        work = quantizer.Quantizer(bytearray(data), steps)
        try:
            result = work.quantize(known, enable_progress_bar=False, enable_progress_report=False)
        except (KeyError, RuntimeError, ValueError) as error:
            raise TargetError("edge-arm.quantize", f"the quantizer refuses the model: {error}") from error
    return repacked(bytes(result.quantized_model))


def _left_in_float(data: bytes, network: Network) -> list[str]:
    """The outputs that the quantizer did not make int8, since what computes them stays in float.

    Those that an earlier call has put a move behind are not named again.
    """
    main = schema.ModelT.InitFromPackedBuf(data).subgraphs[0]
    stored = {tensor.name.decode(): tensor.type for tensor in main.tensors}
    return [
        name
        for name, tensor in network.graph.outputs.items()
        if stored[name] == schema.TensorType.FLOAT32 and not _is_bridge(tensor)
    ]


def _is_bridge(tensor: Tensor) -> bool:
    operation = tensor.producer
    return (
        operation is not None
        and operation.code == "RESHAPE"
        and operation.inputs[0] is not None
        and (operation.inputs[0].shape == tensor.shape)
    )


def _bridged(network: Network, plan: Plan, outputs: list[str]) -> tuple[Network, Plan]:
    """The network with a move, which int8 can do, between these outputs and what computes them in float."""
    graph = network.graph
    inner = {}
    for name in outputs:
        tensor = graph.outputs[name]
        tensor.name = ""
        inner[name] = tensor
        options = schema.ReshapeOptionsT(newShape=list(tensor.shape))
        graph.outputs[name] = graph.add(
            "RESHAPE", [tensor, graph.integers(tensor.shape)], tensor.shape, tensor.dtype, options
        )
    again = Network(graph, network.samples)
    _ = again.data  # gives the tensors their names
    kept = frozenset(inner[name].name if name in inner else name for name in plan.spared.kept)
    return again, plan._replace(spared=plan.spared._replace(kept=kept))


def _statistics(network: Network, ranges: Ranges | None) -> dict[str, dict[str, NDArray[np.float32]]]:
    """The ranges as the quantizer takes them."""
    found = network.extremes | (ranges or {})
    return {
        name: {
            "min": np.full((1,) * network.reached[name].rank, low, np.float32),
            "max": np.full((1,) * network.reached[name].rank, high, np.float32),
        }
        for name, (low, high) in found.items()
    }


def _refusal(data: bytes, network: Network, count: int) -> str:
    """What LiteRT says against the file on zeros or on some samples; nothing if it runs."""
    zeros = {name: np.zeros(tensor.shape, tensor.dtype) for name, tensor in network.graph.inputs.items()}
    try:
        file = Observed(data)
        for sample in (zeros, *network.samples[:count]):
            file.run(sample)
    except (RuntimeError, ValueError) as error:
        return str(error)
    return ""


def _blamed(data: bytes, why: str, network: Network) -> frozenset[str]:
    """The results of the operation that an error names by its number; of its neighbours, if the quantizer put it in."""
    named = re.search(r"Node number (\d+) \(\w+\)", why)
    main = schema.ModelT.InitFromPackedBuf(data).subgraphs[0]
    if not named or int(named[1]) >= len(main.operators):
        return frozenset()
    operator = main.operators[int(named[1])]
    for places in (operator.outputs, operator.inputs):
        names = [main.tensors[place].name.decode() for place in places if place >= 0]
        found = frozenset(name for name in names if name in network.layers)
        if found:
            return found
    return frozenset()
