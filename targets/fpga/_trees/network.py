"""A model that is a tree ensemble, as a network of integers: ranks of the host, trees of the FPGA, scores of the host.

The host turns each feature into its rank among the thresholds with which the ensemble compares it, in the type in which
onnxruntime compares. So every answer of every node is that of the source; only the leaves are rounded, and by how much
their sum can be wrong at most is said.
"""

from __future__ import annotations

from itertools import pairwise
from typing import TYPE_CHECKING, NamedTuple

import msgspec
import numpy as np

from agent.runtimes._fixed.formats import Format
from agent.runtimes._fixed.host import Port, Ranks
from agent.runtimes._fixed.layers import Tensor, Trees
from agent.runtimes._fixed.network import Network
from targets._source.refusal import UnsupportedError
from targets._target import Finding
from targets.fpga._trees.ensemble import read_ensemble
from targets.fpga._trees.scores import scores_of

if TYPE_CHECKING:
    from collections.abc import Iterable

    from numpy.typing import NDArray

    from targets._source.model import Node, Source
    from targets.fpga._trees.ensemble import Ensemble
    from targets.fpga._trees.scores import Scores

_OPERATORS = ("TreeEnsembleClassifier", "TreeEnsembleRegressor", "TreeEnsemble")
_ML = "ai.onnx.ml"
_PASSED = ("Identity", "Cast", "Reshape", "Flatten", "Squeeze", "Unsqueeze", "Dropout")
"""Operators around the ensemble that leave numbers as they are."""


class TreeLayer(NamedTuple):
    """The layer of an ensemble, and how far its sums can be off."""

    layer: Trees
    error: float


class TreeReading(NamedTuple):
    """What was read of a model."""

    network: Network
    error: float
    """How far a score before its transformation can be from the sum of the leaves as they are, at most, whatever the
    input: from rounding the leaves to fixed point. 0: the leaves are exact."""


def is_trees(source: Source) -> bool:
    """Whether the model has a tree ensemble."""
    return any(_is_ensemble(node) for node in source.nodes)


def unsupported_trees(source: Source) -> list[Finding]:
    """Every node of a model with a tree ensemble that can't be read, by name."""
    found = [
        Finding(node=node.label, operator=node.qualified, reason=reason)
        for node in source.nodes
        if (reason := _refusal(node, source))
    ]
    ensembles = [node for node in source.nodes if _is_ensemble(node)]
    found += [
        Finding(node=node.label, operator=node.qualified, reason="a second tree ensemble: expected one")
        for node in ensembles[1:]
    ]
    if found:
        return found
    (node,) = ensembles
    try:
        ensemble = read_ensemble(node, _classes(node))
        scores_of(ensemble, _classes(node))
        if not ensemble.questions:
            raise UnsupportedError("no tree asks anything: its output is a constant")  # noqa: TRY301 - as those it calls
        _ends(source, node)
    except UnsupportedError as error:
        return [Finding(node=node.label, operator=node.qualified, reason=str(error), hint=error.hint)]
    return []


def read_trees(source: Source, bits: int) -> TreeReading:
    """The network of a model in which `unsupported_trees` finds nothing.

    Args:
        source: one input and one output, a sample a row; the ensemble, and what passes numbers on around it.
        bits: of the widest leaf's code, with its sign.
    """
    (node,) = (node for node in source.nodes if _is_ensemble(node))
    ensemble = read_ensemble(node, _classes(node))
    scores = scores_of(ensemble, _classes(node))
    name, shape = _ends(source, node)
    kind = source.types[name].dtype
    ranks, form = _ranks(ensemble, single=kind != np.float64)
    entry = Tensor(name, (len(ranks.columns),), form)
    layer, error = _layer(ensemble, scores, ranks, node, entry, bits)
    output = source.outputs[0]
    return TreeReading(
        Network(
            input=entry,
            layers=(layer,),
            output=layer.output,
            accepts=Port(name=name, dtype=kind.name, shape=source.types[name].shape[1:]),
            returns=Port(name=output, dtype=_output_type(source), shape=shape),
            before=(ranks,),
            after=scores.after,
        ),
        error,
    )


def _is_ensemble(node: Node) -> bool:
    return node.domain == _ML and node.operator in _OPERATORS


def _classes(node: Node) -> int:
    """Classes of a classifier, which its labels count."""
    return len(node.integers("classlabels_int64s")) or len(node.attributes.get("classlabels_strings", ()))


def _refusal(node: Node, source: Source) -> str:
    """Why a node can't stand beside an ensemble; empty where it can."""
    if _is_ensemble(node) or (node.domain == "" and node.operator in _PASSED):
        if node.operator == "Cast" and node.outputs[0] in source.types:
            kind = source.types[node.outputs[0]].dtype
            return "" if kind.kind == "f" else f"it makes {kind} of numbers: expected a real type"
        return ""
    return "beside a tree ensemble there is no place for it in the FPGA"


def _ends(source: Source, node: Node) -> tuple[str, tuple[int, ...]]:
    """The model's input that the ensemble reads, and the shape of the output, without the batch.

    Raises:
        UnsupportedError: the model is more than a chain.
    """
    if len(source.inputs) != 1 or len(source.outputs) != 1:
        raise UnsupportedError("expected one input and one output", hint="leave out the others")
    made = {name: other for other in source.nodes for name in other.outputs}
    at = source.outputs[0]
    while at in made and made[at] is not node:
        at = made[at].inputs[0]
    if at not in node.outputs:
        raise UnsupportedError("the model's output does not come from it")
    if len(node.outputs) > 1 and at == node.outputs[0]:
        raise UnsupportedError(
            "its label is asked for, and an FPGA computes scores", hint="take the probabilities; labels go with them"
        )
    at = node.inputs[0]
    while at in made:
        at = made[at].inputs[0]
    if at != source.inputs[0] or at not in source.types:
        raise UnsupportedError("its input is not the model's, or has no fixed shape")
    output = source.types.get(source.outputs[0])
    if output is not None:
        return at, output.shape[1:]
    return at, (max(_classes(node), 1) if node.operator == "TreeEnsembleClassifier" else node.integer("n_targets", 1),)


def _output_type(source: Source) -> str:
    kind = source.types.get(source.outputs[0])
    return kind.dtype.name if kind else "float32"


def _ranks(ensemble: Ensemble, *, single: bool) -> tuple[Ranks, Format]:
    """What the host does to the features, and the format of their ranks, whose highest code is that of NaN."""
    cuts: dict[int, set[float]] = {question.feature: set() for question in ensemble.questions}
    for question in ensemble.questions:
        if not question.never:
            cuts[question.feature] |= {bound for bound in (question.above, question.most) if bound is not None}
    columns = sorted(cuts)
    rows = [sorted(cuts[column]) for column in columns]
    form = Format(signed=False, integer=(max(map(len, rows)) + 1).bit_length(), fraction=0)
    return Ranks(
        columns=np.array(columns, np.int64),
        cuts=np.array([cut for row in rows for cut in row], np.float64),
        starts=np.cumsum([0, *map(len, rows)], dtype=np.int64),
        absent=form.high,
        single=single,
    ), form


def _layer(ensemble: Ensemble, scores: Scores, ranks: Ranks, node: Node, entry: Tensor, bits: int) -> TreeLayer:
    place = {column: index for index, column in enumerate(ranks.columns.tolist())}
    rows = [ranks.cuts[first:last].tolist() for first, last in pairwise(ranks.starts.tolist())]
    rank = [{cut: index for index, cut in enumerate(row)} for row in rows]
    intervals = []
    for question in ensemble.questions:
        known = rank[place[question.feature]]
        least = 0 if question.above is None else known[question.above] + 1
        most = ranks.absent - 1 if question.most is None else known[question.most]
        intervals.append((1, 0) if question.never else (least, most))
    fraction = _fraction(np.concatenate([scores.leaves.ravel(), scores.bias]), bits)
    leaves, bias = (np.floor(values * 2.0**fraction + 0.5).astype(np.int64) for values in (scores.leaves, scores.bias))

    def column(numbers: Iterable[int]) -> NDArray[np.int64]:
        return np.fromiter(numbers, np.int64, len(ensemble.questions))

    layer = Trees(
        name=node.label,
        sources=(entry.name,),
        output=entry,
        source_node=node.label,
        roots=np.array(ensemble.roots, np.int64),
        feature=column(place[question.feature] for question in ensemble.questions),
        least=column(least for least, _ in intervals),
        most=column(most for _, most in intervals),
        missing=column(int(question.missing) for question in ensemble.questions),
        yes=column(question.yes for question in ensemble.questions),
        no=column(question.no for question in ensemble.questions),
        leaves=leaves,
        leaf_fraction=fraction,
        bias=bias,
    )
    output = Tensor(f"{entry.name}_scores", (len(bias),), layer.accumulator([entry]))
    layer = msgspec.structs.replace(layer, output=output)
    wrong = np.abs(leaves * 2.0**-fraction - scores.leaves)
    error = np.abs(bias * 2.0**-fraction - scores.bias)
    for root in ensemble.roots:
        error = error + wrong[layer.leaves_of(root)].max(axis=0)
    return TreeLayer(layer, float(error.max()))


def _fraction(values: NDArray[np.float64], bits: int) -> int:
    """Bits right of the point with which the widest value has `bits`, or the fewest that hold all values exactly."""
    largest = float(np.abs(values).max())
    if largest == 0:
        return 0
    _, exponent = np.frexp(largest)
    fraction = bits - 1 - int(exponent)
    if np.floor(largest * 2.0**fraction + 0.5) >= 2.0 ** (bits - 1):
        fraction -= 1
    scaled = values * 2.0**fraction
    if (scaled != np.rint(scaled)).any():
        return fraction
    while (scaled % 2 == 0).all():
        scaled, fraction = scaled / 2, fraction - 1
    return fraction
