"""How the file meets its application: pictures channels-last if asked for, and state kept inside if asked for."""

from __future__ import annotations

from math import prod
from typing import TYPE_CHECKING, NamedTuple

import msgspec
import numpy as np
from ai_edge_litert import schema_py_generated as schema

from targets._target import TargetError
from targets.edge_arm._graph import Graph
from targets.edge_arm._layout import channels_last

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping

    from manifests.manifest import SignatureSection, TensorSection
    from targets._source.model import Source
    from targets._target import Arrays
    from targets.edge_arm import Options
    from targets.edge_arm._graph import Tensor
    from targets.edge_arm._lowering import Lowered

LAYOUTS = {3: "nwc", 4: "nhwc", 5: "ndhwc"}
"""What channels-last is called, by rank."""
_KEEPS_STATE = ("none", "float16", "dynamic-int8", "int4-weights")
_RESOURCE = np.dtype(object)
_HANDLE = (1,)


class Interface(NamedTuple):
    """What of the source's inputs and outputs the file shows otherwise."""

    moved: frozenset[str] = frozenset()
    """Inputs that lie channels-last in the file."""
    outputs_stay: bool = False
    """Whether an output that comes out channels-last is left so."""
    state: tuple[tuple[str, str], ...] = ()
    """Inputs that are variables of the file, each with the output that is its next value."""


def interface_of(source: Source, options: Options, lower: Callable[[Source, Interface], Lowered]) -> Interface:
    """What the options ask for, of this model.

    An input is taken for a picture if fewer bytes are moved when it comes channels-last.

    Raises:
        TargetError: a pair of the state does not fit the model (``edge-arm.state``).
    """
    state = _pairs(source, options)
    if state and options.quantize not in _KEEPS_STATE:
        raise TargetError(
            "edge-arm.state",
            f"state can't be kept by a file whose activations are calibrated: got quantize = '{options.quantize}'",
            hint=f'take one of {", ".join(_KEEPS_STATE)}, or state = "inputs"',
        )
    if options.io_layout == "source":
        return Interface(state=state)
    plain = Interface(outputs_stay=True, state=state)
    usual = _cost(lower(source, plain).graph)
    moved = set()
    for name in source.inputs:
        kind = source.types.get(name)
        if kind is None or not has_map(kind.shape) or name in dict(state):
            continue
        trial = lower(source, plain._replace(moved=frozenset({name})))
        if trial.findings or _cost(trial.graph) < usual:
            moved.add(name)
    return plain._replace(moved=frozenset(moved))


def has_map(shape: tuple[int, ...]) -> bool:
    """Whether there may be a plane behind batch and channels, or a line or a room."""
    return len(shape) in LAYOUTS and prod(shape[2:]) > 1


def _cost(graph: Graph) -> tuple[int, int]:
    """Elements that transposes move, and how many operations there are."""
    graph.prune()
    moves = [operation for operation in graph.operations if operation.code == "TRANSPOSE"]
    return sum(prod(operation.outputs[0].shape) for operation in moves), len(graph.operations)


def _pairs(source: Source, options: Options) -> tuple[tuple[str, str], ...]:
    pairs = options.state_pairs
    if options.state == "inputs":
        if pairs:
            raise TargetError(
                "edge-arm.state",
                "state_pairs are named, but the state goes in and out",
                hint='say state = "variables" as well',
            )
        return ()
    if not pairs:
        raise TargetError(
            "edge-arm.state",
            "no state is named that could become variables",
            hint="name each input with the output that is its next value: "
            f"state_pairs = {{ {source.inputs[-1]} = '{source.outputs[-1]}' }}",
        )
    for given, made in pairs.items():
        for name, names, what in ((given, source.inputs, "input"), (made, source.outputs, "output")):
            if name not in names:
                raise TargetError(
                    "edge-arm.state",
                    f"the model has no {what} '{name}': expected one of {', '.join(names)}",
                    hint="correct targets.edge-arm.state_pairs",
                )
        if source.types[given] != source.types[made]:
            first, second = source.types[given], source.types[made]
            raise TargetError(
                "edge-arm.state",
                f"'{made}' can't be the next '{given}': expected {first.dtype}{list(first.shape)}, "
                f"got {second.dtype}{list(second.shape)}",
                hint="correct targets.edge-arm.state_pairs",
            )
    return tuple(sorted(pairs.items()))


def read_variables(graph: Graph, state: Mapping[str, Tensor]) -> dict[str, Tensor]:
    """The tensors that hold the variables' values; `state` has a tensor of each one's shape and type by its name.

    The graph gets another one that sets them to zero: before its first call, and whenever ``reset`` is called.
    """
    zeros = Graph()
    for name, like in state.items():
        empty = zeros.constant(np.zeros(like.shape, like.dtype))
        zeros.add_many("ASSIGN_VARIABLE", [_handle(zeros, name), empty], [], schema.AssignVariableOptionsT())
    graph.add_many("CALL_ONCE", [], [], graphs=(zeros,))
    graph.reset = zeros
    options = schema.ReadVariableOptionsT()
    return {
        name: graph.add("READ_VARIABLE", [_handle(graph, name)], like.shape, like.dtype, options)
        for name, like in state.items()
    }


def assign_variable(graph: Graph, name: str, value: Tensor) -> None:
    """Keep a value for the next call."""
    graph.add_many("ASSIGN_VARIABLE", [_handle(graph, name), value], [], schema.AssignVariableOptionsT())


def _handle(graph: Graph, name: str) -> Tensor:
    options = schema.VarHandleOptionsT(container="", sharedName=name)
    return graph.add("VAR_HANDLE", [], _HANDLE, _RESOURCE, options)


def moved_arrays(arrays: Arrays | None, lowered: Lowered) -> Arrays | None:
    """Samples of the source's inputs as the file takes them: channels last where its inputs are."""
    if arrays is None:
        return None
    return {
        name: np.asarray(array).transpose(channels_last(array.ndim)) if name in lowered.channels_last else array
        for name, array in arrays.items()
    }


def with_layouts(signature: SignatureSection, lowered: Lowered) -> SignatureSection:
    """The signature, with the layout of each tensor that lies otherwise than in the source."""

    def named(tensors: tuple[TensorSection, ...]) -> tuple[TensorSection, ...]:
        return tuple(
            msgspec.structs.replace(entry, layout=LAYOUTS[len(entry.shape)])
            if entry.name in lowered.channels_last
            else entry
            for entry in tensors
        )

    return msgspec.structs.replace(signature, inputs=named(signature.inputs), outputs=named(signature.outputs))
