"""float16, with the nodes that can't bear it kept in float32.

What a float16 file computes depends on who runs it: onnxruntime on a CPU does most of it in float32. So the search
looks at an emulation, in which every value that float16 hardware would store is rounded to float16 and back.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, NamedTuple

from targets._onnx.graph import nodes
from targets._target import TargetError

if TYPE_CHECKING:
    from collections.abc import Iterable, Sequence

    import numpy as np
    import onnx
    from numpy.typing import NDArray

    Call = dict[str, NDArray[np.generic]]

LIMIT = 0.01
"""RMS of the difference, relative to the output's own, up to which float16 is believed to be rounding."""
_GOAL = LIMIT / 4
"""What the search asks for on its few samples, so that other inputs stay below the limit too."""
_ROUNDS = 16
_AMPLIFIED = 8.0
"""A node that makes the error of its inputs that many times larger is a culprit."""
_EPSILON = 2.0**-11
_LARGEST = 65504.0
_WHOLE = frozenset({"If", "Loop", "Scan"})
"""Kept with all that is in them: the converter would make their graphs disagree with what is around them."""
_STAND_IN = "Whole"


class Half(NamedTuple):
    """A model in float16."""

    model: onnx.ModelProto
    kept: tuple[str, ...]
    """Nodes that stay in float32, by name, in the graph's order."""
    error: float
    """RMS of the difference of the worst output, relative to the output's own."""


def to_half(model: onnx.ModelProto, samples: Sequence[Call]) -> Half:
    """The model with weights and tensors in float16, and inputs and outputs as they are.

    Raises:
        TargetError: no choice of nodes that is smaller than all of them keeps the error well below `LIMIT`, or the
            model can't be run on the samples.
    """
    _name_nodes(model)
    emulation = _Emulation(model)
    kept = {node.name for node in model.graph.node if node.op_type in _WHOLE}
    for _ in range(_ROUNDS):
        errors = emulation.errors(kept, samples)
        worst = max((errors[entry.name] for entry in model.graph.output if entry.name in errors), default=0.0)
        if worst <= _GOAL:
            ordered = tuple(node.name for node in model.graph.node if node.name in kept)
            return Half(_converted(model, ordered), ordered, worst)
        more = emulation.culprits(errors, kept)
        if not more:
            break
        kept |= more
    raise TargetError(
        "onnx.float16",
        f"float16 loses too much: expected a relative error of at most {_GOAL:g}, got {worst:.3g} "
        f"with {len(kept)} of {len(model.graph.node)} nodes in float32",
        hint="leave this model in float32",
    )


def _converted(model: onnx.ModelProto, kept: Sequence[str]) -> onnx.ModelProto:
    import onnx
    from onnxruntime.transformers.float16 import DEFAULT_OP_BLOCK_LIST, convert_float_to_float16
    from onnxruntime.transformers.onnx_model import OnnxModel

    copy = onnx.ModelProto()
    # The converter infers shapes itself where it is not told, and could not through what stands in.
    copy.CopyFrom(onnx.shape_inference.infer_shapes(model))
    whole = _stand_in(copy)
    result: onnx.ModelProto = convert_float_to_float16(
        copy,
        keep_io_types=True,
        disable_shape_infer=True,
        op_block_list=[*DEFAULT_OP_BLOCK_LIST, _STAND_IN],
        node_block_list=list(kept),
    )
    OnnxModel.graph_topological_sort(result.graph)  # casts are appended
    _join_kept(result, {node.name for node in model.graph.node})
    _put_back(result, whole)
    return result


def _stand_in(model: onnx.ModelProto) -> dict[str, onnx.NodeProto]:
    """Replace each control-flow node by one that takes all that its graphs take from outside; the originals by name."""
    import onnx

    found = {}
    for node in model.graph.node:
        if node.op_type in _WHOLE:
            original = onnx.NodeProto()
            original.CopyFrom(node)
            found[node.name] = original
            node.input.extend(sorted(_captured(node)))
            node.op_type = _STAND_IN
            del node.attribute[:]
    return found


def _put_back(model: onnx.ModelProto, whole: dict[str, onnx.NodeProto]) -> None:
    """The originals, reading and writing what the converter made of their tensors."""
    for node in model.graph.node:
        if node.op_type != _STAND_IN:
            continue
        original = whole[node.name]
        own = len(original.input)
        renamed = dict(zip(sorted(_captured(original)), list(node.input)[own:], strict=True))
        del node.input[own:]
        node.op_type = original.op_type
        node.attribute.extend(original.attribute)
        for graph in _graphs(node):
            _rename(graph, renamed)


def _captured(node: onnx.NodeProto) -> set[str]:
    """The names that the node's graphs take from around it."""
    free: set[str] = set()
    for graph in _graphs(node):
        own = {entry.name for entry in (*graph.input, *graph.initializer)}
        for inner in graph.node:
            free |= ({name for name in inner.input if name} | _captured(inner)) - own
            own |= set(inner.output)
        free |= {entry.name for entry in graph.output} - own
    return free


def _graphs(node: onnx.NodeProto) -> list[onnx.GraphProto]:
    return [attribute.g for attribute in node.attribute if attribute.HasField("g")]


def _rename(graph: onnx.GraphProto, names: dict[str, str]) -> None:
    own = {entry.name for entry in (*graph.input, *graph.initializer)}
    own |= {name for node in graph.node for name in node.output}
    names = {name: new for name, new in names.items() if name not in own}
    for node in graph.node:
        for place, name in enumerate(node.input):
            node.input[place] = names.get(name, name)
        for inner in _graphs(node):
            _rename(inner, names)


def _join_kept(model: onnx.ModelProto, ours: set[str]) -> None:
    """Let neighbours that are both kept hand over float32: the converter rounds to float16 and back between them."""
    inserted = {node.output[0]: node for node in model.graph.node if node.op_type == "Cast" and node.name not in ours}
    instead = {name: inserted[node.input[0]].input[0] for name, node in inserted.items() if node.input[0] in inserted}
    for node in model.graph.node:
        for place, name in enumerate(node.input):
            if name in instead and node.name in ours:
                node.input[place] = instead[name]
    used = {name for node in model.graph.node for name in node.input} | {entry.name for entry in model.graph.output}
    left = [node for node in model.graph.node if node.output[0] not in instead or node.output[0] in used]
    del model.graph.node[:]
    model.graph.node.extend(left)


def _name_nodes(model: onnx.ModelProto) -> None:
    """Unique names for all: the converter knows nodes by them."""
    taken: set[str] = set()
    for number, node in enumerate(nodes(model.graph)):
        if not node.name or node.name in taken:
            node.name = f"{node.op_type}.{number}"
        taken.add(node.name)


class _Emulation:
    """The model in float32, run with roundings to float16 where a float16 file has them."""

    def __init__(self, model: onnx.ModelProto) -> None:
        import onnx

        self._model = onnx.shape_inference.infer_shapes(model)
        described = (*self._model.graph.value_info, *self._model.graph.input, *self._model.graph.output)
        self._float = {entry.name for entry in described if entry.type.tensor_type.elem_type == onnx.TensorProto.FLOAT}
        self._weights = {entry.name for entry in model.graph.initializer if entry.data_type == onnx.TensorProto.FLOAT}
        self._reference: list[dict[str, NDArray[np.generic]]] = []
        self._large: set[str] = set()

    def errors(self, kept: set[str], samples: Sequence[Call]) -> dict[str, float]:
        """RMS of the difference of every float tensor, relative to the tensor's own; the worst of all samples."""
        import numpy as np

        if not self._reference:
            self._reference = list(self._run(self._exposed(self._model), samples))
            for values in self._reference:
                self._large |= {
                    name for name, array in values.items() if array.size and np.nanmax(np.abs(array)) > _LARGEST
                }
        found: dict[str, float] = {}
        for values, got in zip(self._reference, self._run(self._rounded(kept), samples), strict=True):
            for name, array in values.items():
                found[name] = max(found.get(name, 0.0), _relative(array, got[name]))
        return found

    def culprits(self, errors: dict[str, float], kept: set[str]) -> set[str]:
        """The nodes to keep in float32 next: those that make errors, or else those that make them grow most."""
        growth: dict[str, float] = {}
        large: set[str] = set()
        for node in self._model.graph.node:
            if node.name in kept:
                continue
            before = max((errors.get(name, 0.0) for name in node.input), default=0.0)
            after = max((errors.get(name, 0.0) for name in node.output), default=0.0)
            if self._large & {*node.input, *node.output}:
                large.add(node.name)
            elif before < float("inf"):
                growth[node.name] = after / max(before, _EPSILON)
        if large:
            return large
        sharp = {name for name, factor in growth.items() if factor > _AMPLIFIED}
        if sharp:
            return sharp
        grown = sorted((factor, name) for name, factor in growth.items() if factor > 1.0)
        return {name for _, name in grown[-max(1, len(self._model.graph.node) // 20) :]}

    def _exposed(self, model: onnx.ModelProto) -> onnx.ModelProto:
        """The model with every float tensor as an output."""
        import onnx

        copy = onnx.ModelProto()
        copy.CopyFrom(model)
        already = {entry.name for entry in copy.graph.output}
        copy.graph.output.extend(
            onnx.helper.make_tensor_value_info(name, onnx.TensorProto.FLOAT, None)
            for node in self._model.graph.node
            for name in node.output
            if name in self._float and name not in already
        )
        return copy

    def _rounded(self, kept: set[str]) -> onnx.ModelProto:
        """The model with a rounding after every float tensor that a node in float16 makes or takes."""
        copy = self._exposed(self._model)
        after: list[onnx.NodeProto] = []
        known: dict[str, str] = {}

        def rounded(name: str) -> str:
            if name not in known:
                known[name] = f"{name}/half"
                after.extend(_round(name, known[name]))
            return known[name]

        exact = {entry.name for entry in copy.graph.input} | self._weights
        for node in copy.graph.node:
            half = node.name not in kept
            if half:
                for place, name in enumerate(node.input):
                    if name in self._float | self._weights:
                        node.input[place] = rounded(name) if name in exact else name
            after.append(node)
            for place, name in enumerate(node.output):
                if name not in self._float:
                    continue
                if half:
                    node.output[place] = f"{name}/exact"
                    after.extend(_round(f"{name}/exact", name))
                else:
                    exact.add(name)
        del copy.graph.node[:]
        copy.graph.node.extend(after)
        return copy

    def _run(self, model: onnx.ModelProto, samples: Sequence[Call]) -> Iterable[dict[str, NDArray[np.generic]]]:
        import onnxruntime

        from agent.runtimes.onnxruntime import load_errors

        options = onnxruntime.SessionOptions()
        options.graph_optimization_level = onnxruntime.GraphOptimizationLevel.ORT_DISABLE_ALL
        options.intra_op_num_threads = 1
        options.log_severity_level = 3
        session = onnxruntime.InferenceSession(model.SerializeToString(), options, providers=["CPUExecutionProvider"])
        names = [entry.name for entry in model.graph.output if entry.name in self._float]
        for sample in samples:
            try:
                yield dict(zip(names, session.run(names, sample), strict=True))
            except load_errors() as error:
                raise TargetError(
                    "onnx.samples",
                    f"the model can't be run on the inputs that float16 is tried on: {error}",
                    hint="set data.calibration",
                ) from error


def _round(source: str, target: str) -> list[onnx.NodeProto]:
    from onnx import TensorProto, helper

    between = f"{target}/float16"
    return [
        helper.make_node("Cast", [source], [between], to=TensorProto.FLOAT16),
        helper.make_node("Cast", [between], [target], to=TensorProto.FLOAT),
    ]


def _relative(expected: NDArray[np.generic], got: NDArray[np.generic]) -> float:
    import numpy as np

    wanted, found = expected.astype(np.float64), got.astype(np.float64)
    finite = np.isfinite(wanted)
    if not np.isfinite(found[finite]).all():
        return float("inf")
    if not finite.any():
        return 0.0
    scale = float(np.sqrt(np.mean(np.square(wanted[finite]))))
    difference = float(np.sqrt(np.mean(np.square(wanted[finite] - found[finite]))))
    return difference / scale if scale else difference
