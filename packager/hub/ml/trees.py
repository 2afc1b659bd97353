"""Tree ensembles: what the leaves say that all rows reach in all trees, added up.

Sums are taken in float64, so that the order of the trees does not matter, and what is equal stays equal.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from packager.hub.ml._ensemble import LEAF, read_nodes, read_tree_ensemble
from packager.hub.ml.transforms import best_label, transform
from packager.hub.ml.walks import walk
from packager.hub.writer import DOUBLE, FLOAT, INT64, Unsupported, attributes_of, labels, number

if TYPE_CHECKING:
    import numpy as np
    import onnx
    from numpy.typing import NDArray

    from packager.hub.ml._ensemble import Ensemble
    from packager.hub.ml.walks import Walk
    from packager.hub.writer import Writer

_DEEPEST = 64
"""A tree may be a list as long as the data; each level costs as much as the first."""
_TWO = 2


def regressor(writer: Writer, node: onnx.NodeProto) -> None:
    """TreeEnsembleRegressor."""
    attributes = attributes_of(node)
    ensemble = read_nodes(attributes, "target", number(attributes, "n_targets", 1))
    _regress(writer, node, ensemble)


def tree_ensemble(writer: Writer, node: onnx.NodeProto) -> None:
    """TreeEnsemble, which has a regressor's output in the type of its input."""
    _regress(writer, node, read_tree_ensemble(attributes_of(node)))


def classifier(writer: Writer, node: onnx.NodeProto) -> None:
    """TreeEnsembleClassifier."""
    attributes = attributes_of(node)
    names = labels(attributes)
    ensemble = read_nodes(attributes, "class", len(names))
    seen = ensemble.given.any(axis=0)
    if len(names) == _TWO and seen.sum() == 1:
        _one_score(writer, node, ensemble, names)
        return
    if len(names) == _TWO:
        _two_scores(writer, node, ensemble, names)
        return
    if not len(ensemble.base):
        _demand_scores(ensemble)
    sums = _with_base(writer, _aggregated(writer, node.input[0], ensemble), ensemble)
    if writer.reads(node, 0):
        best_label(writer, sums, names, node.output[0])
    transform(writer, sums, ensemble.transform, node.output[1])


def _two_scores(writer: Writer, node: onnx.NodeProto, ensemble: Ensemble, names: NDArray[np.generic]) -> None:
    """Two classes with weights of their own: the label is the second as soon as its score is above zero.

    That is onnxruntime's reading; exporters of two classes write scores of opposite signs.
    """
    if len(ensemble.base):
        raise Unsupported("two classes with weights and base values of their own: onnxruntime leaves one out")
    if names.dtype.kind != "O" and names.tolist() != [0, 1]:
        raise Unsupported(
            f"two classes with weights of their own: onnxruntime's labels are 0 and 1, not {names.tolist()}"
        )
    _demand_scores(ensemble, always=True)
    sums = _aggregated(writer, node.input[0], ensemble)
    if writer.reads(node, 0):
        second = writer.add("Gather", [sums, writer.integers(1)], axis=1)
        above = writer.add("Cast", [writer.add("Greater", [second, writer.constant([0.0])])], to=INT64)
        chosen = writer.add("Gather", [writer.constant(names), above], axis=0)
        writer.add("Reshape", [chosen, writer.integers(-1)], node.output[0])
    transform(writer, sums, ensemble.transform, node.output[1])


def _regress(writer: Writer, node: onnx.NodeProto, ensemble: Ensemble) -> None:
    targets = ensemble.weights.shape[1]
    sums = _with_base(writer, _aggregated(writer, node.input[0], ensemble), ensemble)
    kind = ensemble.transform
    if targets == 1 and kind != "PROBIT":
        kind = "NONE"  # onnxruntime transforms a single score by PROBIT alone
    wide = node.op_type == "TreeEnsemble" and writer.type_of(node.input[0]) == DOUBLE
    done = transform(writer, sums, kind, "" if wide else node.output[0])
    if wide:
        writer.add("Cast", [done], node.output[0], to=DOUBLE)


def _one_score(writer: Writer, node: onnx.NodeProto, ensemble: Ensemble, names: NDArray[np.generic]) -> None:
    """Two classes, weights for one of them alone: the other's score follows from its, as onnxruntime has it."""
    import numpy as np

    only = int(np.flatnonzero(ensemble.given.any(axis=0))[0])
    if len(ensemble.base) == _TWO:
        raise Unsupported("it has two base values for the weights of one class")
    single = ensemble._replace(weights=ensemble.weights[:, [only]], given=ensemble.given[:, [only]])
    score = _aggregated(writer, node.input[0], single)
    if len(ensemble.base) and only == 0:
        score = writer.add("Add", [score, writer.constant(ensemble.base.astype(np.float32))])
    positive = bool((ensemble.weights[ensemble.given] >= 0).all())
    if writer.reads(node, 0):
        above = writer.add("Greater", [score, writer.constant([0.5 if positive else 0.0])])
        chosen = writer.add("Where", [above, writer.constant(names[[1]]), writer.constant(names[[0]])])
        writer.add("Reshape", [chosen, writer.integers(-1)], node.output[0])
    if not writer.reads(node, 1):
        return
    kind = ensemble.transform
    if only == 1:
        other = writer.add("Mul", [score, writer.constant([0.0])])
    elif kind == "LOGISTIC" or not positive:
        other = writer.add("Neg", [score])
    else:
        other = writer.add("Sub", [writer.constant([1.0]), score])
    kind = kind if only == 1 or kind in {"LOGISTIC", "PROBIT"} else "NONE"
    transform(writer, writer.add("Concat", [other, score], axis=1), kind, node.output[1])


def _demand_scores(ensemble: Ensemble, *, always: bool = False) -> None:
    """A class that no leaf speaks of can't be the label: make sure that its 0 never is the highest score."""
    import numpy as np

    full = np.ones((len(ensemble.roots), ensemble.weights.shape[1]), dtype=bool)
    leaf = np.flatnonzero(ensemble.mode == LEAF)
    np.logical_and.at(full, _trees(ensemble)[leaf], ensemble.given[leaf])
    spoken = full.any(axis=0)  # by a tree of which every leaf does
    if spoken.all() or (not always and (ensemble.weights[ensemble.given] > 0).all()):
        return
    raise Unsupported(f"some leaves say nothing of class {int(np.flatnonzero(~spoken)[0])}")


def _with_base(writer: Writer, sums: str, ensemble: Ensemble) -> str:
    import numpy as np

    base = ensemble.base.astype(np.float32)
    if len(base) not in {0, ensemble.weights.shape[1]}:
        raise Unsupported(f"it has {len(base)} base values for {ensemble.weights.shape[1]} scores")
    return writer.add("Add", [sums, writer.constant(base)]) if len(base) else sums


def _aggregated(writer: Writer, source: str, ensemble: Ensemble) -> str:
    """The sum over the trees, or what the ensemble asks for: float32, (rows, targets).

    Raises:
        Unsupported: a tree is too deep, or no tree asks anything.
    """
    import numpy as np

    depth = ensemble.depth()
    if depth > _DEEPEST:
        raise Unsupported(f"a tree is {depth} levels deep: expected at most {_DEEPEST}")
    if depth == 0:
        raise Unsupported("no tree has a branch")
    reached = walk(writer, source, ensemble)
    trees, targets = len(ensemble.roots), ensemble.weights.shape[1]
    leaf = ensemble.mode == LEAF
    if ensemble.aggregate in {"MIN", "MAX"}:
        if not ensemble.given[leaf].all():
            raise Unsupported(f"some leaves say nothing of a target, and the aggregate is {ensemble.aggregate}")
        operator = "ReduceMin" if ensemble.aggregate == "MIN" else "ReduceMax"
        return _beside(
            writer,
            [
                writer.reduce(operator, _values(writer, reached, column.astype(np.float32), trees), 0)
                for column in ensemble.weights.T
            ],
        )
    owner = _single_targets(ensemble)
    if targets > 1 and owner is not None:
        # Each tree speaks of one target alone, as in boosting: one number a tree, and then to its target.
        spread = np.zeros((targets, trees))
        spread[owner, np.arange(trees)] = 1
        values = _values(writer, reached, ensemble.weights.sum(axis=1), trees)
        product = writer.add("MatMul", [writer.constant(spread), values])
        total = writer.add("Transpose", [product], perm=[1, 0])
    else:
        total = _beside(
            writer,
            [writer.reduce("ReduceSum", _values(writer, reached, column, trees), 0) for column in ensemble.weights.T],
        )
    if ensemble.aggregate == "AVERAGE":
        total = writer.add("Div", [total, writer.constant(np.array([float(trees)]))])
    return writer.add("Cast", [total], to=FLOAT)


def _values(writer: Writer, reached: Walk, table: NDArray[np.floating], trees: int) -> str:
    """What each row's leaf in each tree says of one target: of the table's type, (trees, rows)."""
    import numpy as np

    narrow = table.astype(np.float32)
    exact = bool((narrow == table).all())
    held = narrow if exact else table
    found = writer.add("GatherElements", [writer.constant(held[reached.leaves]), reached.place], axis=0)
    matrix = writer.add("Reshape", [found, writer.integers(trees, -1)])
    return writer.add("Cast", [matrix], to=DOUBLE) if held.dtype != table.dtype else matrix


def _beside(writer: Writer, lines: list[str]) -> str:
    """Of a line, (1, rows), for each target, the matrix (rows, targets)."""
    if len(lines) == 1:
        return writer.add("Reshape", [lines[0], writer.integers(-1, 1)])
    return writer.add("Transpose", [writer.add("Concat", lines, axis=0)], perm=[1, 0])


def _single_targets(ensemble: Ensemble) -> NDArray[np.intp] | None:
    """The only target of each tree; None where a tree has several."""
    import numpy as np

    owner = _trees(ensemble)
    found = np.zeros((len(ensemble.roots), ensemble.weights.shape[1]), dtype=bool)
    nodes, targets = np.nonzero(ensemble.given)
    found[owner[nodes], targets] = True
    return found.argmax(axis=1) if (found.sum(axis=1) <= 1).all() else None


def _trees(ensemble: Ensemble) -> NDArray[np.intp]:
    """The tree of each node."""
    import numpy as np

    owner = np.full(len(ensemble.feature), -1)
    owner[ensemble.roots] = np.arange(len(ensemble.roots))
    for _ in range(ensemble.depth()):
        inner = np.flatnonzero((ensemble.mode != LEAF) & (owner >= 0))
        owner[ensemble.yes[inner]] = owner[ensemble.no[inner]] = owner[inner]
    return owner
