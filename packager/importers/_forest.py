"""Boosted trees as ``ai.onnx.ml`` writes them, for every framework whose trees can be read as arrays.

The sums of the leaves come out as they are: what a framework makes of them (a logistic function, an exponent) is
written as tensor operators behind it, because runtimes differ in what they do of a tree operator's `post_transform`.
A split by categories becomes a column of its own in front of the trees, 0 or 1 for each row, because ``ai.onnx.ml``
knows no set before its version 5, and the chains of comparisons that others write instead are as long as the set.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Literal, NamedTuple

from packager.errors import ConversionError

if TYPE_CHECKING:
    import numpy as np
    from numpy.typing import NDArray

    from packager.importers._graph import Sink

LEAF = -1
"""Stands for the children of a leaf."""
_NO = 1.0
"""In the column of a split by categories; its threshold is a half, and a smaller value takes the branch `yes`."""
NODES_LIMIT = 20_000_000
"""Of all trees: each takes some 100 bytes while it is converted."""


class Membership(NamedTuple):
    """A split by categories: which of them take the branch `yes`."""

    codes: tuple[bool, ...]
    """By the number of the category, from 0."""
    beyond: bool
    """The answer for a number past `codes`."""
    below: bool
    """The answer for a number below `Forest.lowest`."""
    missing: bool


class Tree(NamedTuple):
    """One tree; all arrays go by node, and node 0 is the root."""

    feature: NDArray[np.int64]
    threshold: NDArray[np.float64]
    yes: NDArray[np.int64]
    """The child where the comparison holds; `LEAF` for both children: it is a leaf."""
    no: NDArray[np.int64]
    missing: NDArray[np.bool_]
    """Whether NaN takes the branch `yes`."""
    values: NDArray[np.float64]
    """(nodes, outputs): what a leaf adds to the outputs from `first` on."""
    first: int = 0
    memberships: dict[int, Membership] = {}  # noqa: RUF012 - the default is shared and never changed
    """The splits by categories, by node; their thresholds do not matter."""


class Forest(NamedTuple):
    """Trees whose leaves are summed."""

    trees: list[Tree]
    features: int
    base: NDArray[np.float64]
    """(outputs,): what is added to each."""
    comparison: Literal["BRANCH_LT", "BRANCH_LEQ"]
    lowest: float = 0.0
    """A category's number is rounded down from here on, to 0 at least."""


def write_forest(sink: Sink, source: str, forest: Forest) -> str:
    """The name of the sums: float32, (N, outputs). `source` is float32, (N, features).

    Thresholds are rounded down to float32, which leaves the answer for every float32 as it is where the comparison is
    ``<=``; those of ``<`` must be float32 already.

    Raises:
        ConversionError: a tree is none.
    """
    import numpy as np

    _check_size(forest)
    base = forest.base.astype(np.float64).copy()
    trees = []
    for number, tree in enumerate(forest.trees):
        order = _reachable(tree, number, forest)
        if len(order) == 1:
            base[tree.first : tree.first + tree.values.shape[1]] += tree.values[0]
        else:
            trees.append((tree, order))
    constant = sink.constant(base.astype(np.float32).reshape(1, -1))
    if not trees:
        return _constant_rows(sink, source, constant)
    extended, columns = _with_memberships(sink, source, [tree for tree, _ in trees], forest)
    attributes = _attributes(trees, columns, forest)
    sums = sink.add("ai.onnx.ml.TreeEnsembleRegressor", [extended], {**attributes, "n_targets": len(base)})
    return sink.add("Add", [sums, constant]) if base.any() else sums


def round_down(values: NDArray[np.float64]) -> NDArray[np.float32]:
    """The largest float32 that is not above."""
    import numpy as np

    with np.errstate(over="ignore"):
        near = values.astype(np.float32)
        below = np.nextafter(near, np.float32(-np.inf))
    return np.where(near.astype(np.float64) > values, below, near).astype(np.float32)


def _check_size(forest: Forest) -> None:
    nodes = sum(len(tree.feature) for tree in forest.trees)
    if nodes > NODES_LIMIT:
        raise ConversionError("import.size", f"too many nodes: expected at most {NODES_LIMIT}, got {nodes}")


def _reachable(tree: Tree, number: int, forest: Forest) -> NDArray[np.int64]:
    """The nodes that the root leads to; pruned ones may stand between them."""
    import numpy as np

    count = len(tree.feature)
    level = np.zeros(1, dtype=np.int64)
    levels = [level]
    seen = np.zeros(count, dtype=bool)
    seen[0] = True
    while len(level := level[tree.yes[level] != LEAF]):
        used = tree.feature[level]
        if (used < 0).any() or (used >= forest.features).any():
            raise _broken(number, f"asks for a feature past the {forest.features} there are")
        level = np.concatenate([tree.yes[level], tree.no[level]])
        if (level < 0).any() or (level >= count).any():
            raise _broken(number, f"leads to a node past the {count} there are")
        if seen[level].any() or len(np.unique(level)) != len(level):
            raise _broken(number, "leads to a node twice")
        seen[level] = True
        levels.append(level)
    return np.concatenate(levels)


def _broken(number: int, problem: str) -> ConversionError:
    return ConversionError("import.tree", f"tree {number} is none: it {problem}")


def _constant_rows(sink: Sink, source: str, constant: str) -> str:
    import numpy as np

    rows = sink.add("Shape", [source], {"start": 0, "end": 1})
    shape = sink.add("Concat", [rows, sink.constant(np.array([1], dtype=np.int64))], {"axis": 0})
    return sink.add("Expand", [constant, shape])


def _with_memberships(
    sink: Sink, source: str, trees: list[Tree], forest: Forest
) -> tuple[str, dict[tuple[int, Membership], int]]:
    """The features and behind them a column for each different split by categories; which column is whose."""
    wanted: dict[int, dict[Membership, None]] = {}
    for tree in trees:
        for node, membership in tree.memberships.items():
            wanted.setdefault(int(tree.feature[node]), {})[membership] = None
    parts, columns, width = [source], {}, forest.features
    for feature in sorted(wanted):
        splits = list(wanted[feature])
        parts.append(_membership_columns(sink, source, feature, splits, forest.lowest))
        columns.update({(feature, split): width + place for place, split in enumerate(splits)})
        width += len(splits)
    return (sink.add("Concat", parts, {"axis": 1}) if len(parts) > 1 else source), columns


def _membership_columns(sink: Sink, source: str, feature: int, splits: list[Membership], lowest: float) -> str:
    import numpy as np

    size = max(len(split.codes) for split in splits)
    rows = [(*split.codes, *[split.beyond] * (size - len(split.codes) + 1), split.below, split.missing)
            for split in splits]  # fmt: skip
    beyond, below, missing = (sink.constant(np.array(float(size + place), dtype=np.float32)) for place in range(3))
    table = sink.constant(np.where(np.array(rows, dtype=bool).T, 1 - _NO, _NO).astype(np.float32))
    value = sink.add("Gather", [source, sink.constant(np.array(feature, dtype=np.int64))], {"axis": 1})
    code = sink.add("Floor", [sink.add("Max", [value, sink.constant(np.zeros((), dtype=np.float32))])])
    code = sink.add("Min", [code, beyond])
    limit = sink.constant(np.array(lowest, dtype=np.float32))
    under = sink.add("LessOrEqual" if lowest < 0 else "Less", [value, limit])
    code = sink.add("Where", [under, below, code])
    code = sink.add("Where", [sink.add("IsNaN", [value]), missing, code])
    return sink.add("Gather", [table, sink.add("Cast", [code], {"to": 7})], {"axis": 0})


def _attributes(
    trees: list[tuple[Tree, NDArray[np.int64]]], columns: dict[tuple[int, Membership], int], forest: Forest
) -> dict[str, list[int] | list[float] | list[str]]:
    """Those of TreeEnsembleRegressor."""
    import numpy as np

    nodes: dict[str, list[NDArray[np.generic]]] = {}

    def keep(**arrays: NDArray[np.generic]) -> None:
        for name, array in arrays.items():
            nodes.setdefault(name, []).append(array)

    for number, (tree, order) in enumerate(trees):
        feature, threshold = tree.feature.copy(), tree.threshold.copy()
        for node, membership in tree.memberships.items():
            feature[node], threshold[node] = columns.get((int(tree.feature[node]), membership), 0), _NO / 2
        place = np.zeros(len(tree.feature), dtype=np.int64)
        place[order] = np.arange(len(order))
        inner = tree.yes[order] != LEAF
        own = np.full(len(order), number)
        keep(
            nodes_treeids=own,
            nodes_nodeids=np.arange(len(order)),
            nodes_featureids=np.where(inner, feature[order], 0),
            nodes_values=np.where(inner, round_down(threshold[order]), np.float32(0)),
            nodes_modes=np.where(inner, forest.comparison, "LEAF"),
            nodes_truenodeids=np.where(inner, place[tree.yes[order]], 0),
            nodes_falsenodeids=np.where(inner, place[tree.no[order]], 0),
            nodes_missing_value_tracks_true=(inner & tree.missing[order]).astype(np.int64),
        )
        leaves = np.flatnonzero(~inner)
        width = tree.values.shape[1]
        keep(
            target_treeids=np.full(len(leaves) * width, number),
            target_nodeids=np.repeat(leaves, width),
            target_ids=np.tile(np.arange(tree.first, tree.first + width), len(leaves)),
            target_weights=tree.values[order[leaves]].astype(np.float32).reshape(-1),
        )
    return {name: np.concatenate(arrays).tolist() for name, arrays in nodes.items()}
