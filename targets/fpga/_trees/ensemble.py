"""A tree ensemble of either generation of operators, with every question turned into intervals of real numbers."""

from __future__ import annotations

from typing import TYPE_CHECKING, NamedTuple

import numpy as np
from onnx import numpy_helper

from targets._source.refusal import UnsupportedError

if TYPE_CHECKING:
    from numpy.typing import NDArray

    from targets._source.model import Node

MODES = ("BRANCH_LEQ", "BRANCH_LT", "BRANCH_GTE", "BRANCH_GT", "BRANCH_EQ", "BRANCH_NEQ", "BRANCH_MEMBER")
"""By number as TreeEnsemble writes them."""
_AGGREGATES = ("AVERAGE", "SUM", "MIN", "MAX")
_TRANSFORMS = ("NONE", "SOFTMAX", "LOGISTIC", "SOFTMAX_ZERO", "PROBIT")


class Question(NamedTuple):
    """Whether a feature is above `above` and at most `most`; a bound that is None is none."""

    feature: int
    above: float | None
    most: float | None
    never: bool
    """Nothing is in the interval."""
    missing: bool
    """Whether NaN is answered by yes."""
    yes: int
    """A node from 0 on, or -1 less the number of a leaf."""
    no: int


class Ensemble(NamedTuple):
    """All trees in one row of nodes, apart from their leaves."""

    questions: list[Question]
    roots: list[int]
    leaves: NDArray[np.float64]
    """(leaves, targets)."""
    given: NDArray[np.bool_]
    """(leaves, targets): whether a leaf says anything of a target."""
    base: NDArray[np.float64]
    aggregate: str
    transform: str


def read_ensemble(node: Node, targets: int) -> Ensemble:
    """The ensemble of a node; `targets` are the classes of a classifier, and counted by other nodes themselves.

    Raises:
        UnsupportedError: it can't be read.
    """
    if node.operator == "TreeEnsemble":
        return _tree_ensemble(node)
    kind = "class" if node.operator == "TreeEnsembleClassifier" else "target"
    return _nodes(node, kind, targets if kind == "class" else node.integer("n_targets", 1))


def _nodes(node: Node, kind: str, targets: int) -> Ensemble:
    """Of TreeEnsembleClassifier and TreeEnsembleRegressor, whose leaves are nodes."""
    trees, ids = node.integers("nodes_treeids"), node.integers("nodes_nodeids")
    place = {pair: index for index, pair in enumerate(zip(trees, ids, strict=True))}
    modes = [word.decode() for word in node.attributes["nodes_modes"]]
    leaves = [index for index, mode in enumerate(modes) if mode == "LEAF"]
    inner = [index for index, mode in enumerate(modes) if mode != "LEAF"]
    number = {index: -1 - leaf for leaf, index in enumerate(leaves)} | {index: own for own, index in enumerate(inner)}
    values = np.zeros((len(leaves), targets))
    given = np.zeros((len(leaves), targets), dtype=bool)
    where = zip(node.integers(f"{kind}_treeids"), node.integers(f"{kind}_nodeids"), strict=True)
    for pair, target, value in zip(where, node.integers(f"{kind}_ids"), _wide(node, f"{kind}_weights"), strict=True):
        leaf = -1 - number[place[pair]]
        if leaf < 0:
            raise UnsupportedError("a node that is no leaf has a weight")
        values[leaf, target] += value
        given[leaf, target] = True
    splits = _wide(node, "nodes_values")
    features = node.integers("nodes_featureids")
    tracks = node.integers("nodes_missing_value_tracks_true") or (0,) * len(modes)
    sides = [node.integers(f"nodes_{side}nodeids") for side in ("true", "false")]
    children = set()
    questions = []
    for index in inner:
        yes, no = (place[trees[index], side[index]] for side in sides)
        children |= {yes, no}
        asked = _ask(modes[index], float(splits[index]), missing=bool(tracks[index]))
        questions.append(_directed(asked, features[index], number[yes], number[no]))
    roots = [number[index] for index in range(len(modes)) if index not in children]
    return _acyclic(
        Ensemble(
            questions,
            roots,
            values,
            given,
            _wide(node, "base_values"),
            node.text("aggregate_function", "SUM"),
            node.text("post_transform", "NONE"),
        )
    )


def _tree_ensemble(node: Node) -> Ensemble:
    """Of TreeEnsemble, of version 5 of ``ai.onnx.ml``."""
    modes = _tensor(node, "nodes_modes").astype(int).tolist()
    splits = _tensor(node, "nodes_splits").astype(np.float64).tolist()
    features = node.integers("nodes_featureids")
    tracks = node.integers("nodes_missing_value_tracks_true") or (0,) * len(modes)
    children = [
        [-1 - at if is_leaf else at for at, is_leaf in zip(*pair, strict=True)]
        for pair in (
            (node.integers(f"nodes_{side}nodeids"), node.integers(f"nodes_{side}leafs")) for side in ("true", "false")
        )
    ]
    sets = _sets(node)
    questions: list[Question] = []
    added: list[Question] = []
    for index, mode in enumerate(modes):
        yes, no = children[0][index], children[1][index]
        missing = bool(tracks[index])
        if mode != MODES.index("BRANCH_MEMBER"):
            if mode >= len(MODES):
                raise UnsupportedError(f"its mode {mode} is not known")
            asked = _ask(MODES[mode], splits[index], missing=missing)
            questions.append(_directed(asked, features[index], yes, no))
            continue
        # One question for each member, the next one asked where the one before has said no.
        if not sets:
            raise UnsupportedError("a node asks for a set that is not there")
        members = sets.pop(0) or [np.nan]
        chain = [_ask("BRANCH_EQ", value, missing=missing) for value in members]
        following = [len(modes) + len(added) + place for place in range(len(chain) - 1)]
        made = [
            _directed(asked, features[index], yes, after) for asked, after in zip(chain, [*following, no], strict=True)
        ]
        questions.append(made[0])
        added += made[1:]
    targets = node.integer("n_targets", 1)
    leaf_ids = node.integers("leaf_targetids")
    values = np.zeros((len(leaf_ids), targets))
    values[np.arange(len(leaf_ids)), leaf_ids] = _tensor(node, "leaf_weights").astype(np.float64)
    given = np.zeros(values.shape, dtype=bool)
    given[np.arange(len(leaf_ids)), leaf_ids] = True
    return _acyclic(
        Ensemble(
            questions + added,
            list(node.integers("tree_roots")),
            values,
            given,
            np.zeros(0),
            _AGGREGATES[node.integer("aggregate_function", 1)],
            _TRANSFORMS[node.integer("post_transform", 0)],
        )
    )


class _Asked(NamedTuple):
    above: float | None
    most: float | None
    never: bool
    missing: bool
    swapped: bool


def _ask(mode: str, split: float, *, missing: bool) -> _Asked:
    """A comparison as an interval: nothing is between a number and the one before it, in whatever type."""
    if mode not in MODES:
        raise UnsupportedError(f"its mode '{mode}' is not known")
    swapped = mode in {"BRANCH_GT", "BRANCH_GTE", "BRANCH_NEQ"}
    # After a swap NaN, too, goes where the other answer is. It is unequal to everything, itself included.
    nan = False if mode == "BRANCH_NEQ" else missing != swapped
    if np.isnan(split):
        # Nothing is equal to NaN, less or more; where the opposite was asked for, that is always right.
        return _Asked(None, None, never=not swapped or mode == "BRANCH_NEQ", missing=nan, swapped=swapped)
    before = None if split == -np.inf else float(np.nextafter(split, -np.inf))
    if mode in {"BRANCH_EQ", "BRANCH_NEQ"}:
        return _Asked(before, split, never=False, missing=nan, swapped=swapped)
    if mode in {"BRANCH_LT", "BRANCH_GTE"}:
        return _Asked(None, before, never=before is None, missing=nan, swapped=swapped)
    return _Asked(None, split, never=False, missing=nan, swapped=swapped)


def _directed(asked: _Asked, feature: int, yes: int, no: int) -> Question:
    if asked.swapped:
        yes, no = no, yes
    return Question(feature, asked.above, asked.most, asked.never, asked.missing, yes, no)


def _acyclic(ensemble: Ensemble) -> Ensemble:
    """The ensemble, whose trees end.

    Raises:
        UnsupportedError: a tree leads back to itself, or there is none.
    """
    if not ensemble.roots:
        raise UnsupportedError("it has no tree")
    level, steps = {at for at in ensemble.roots if at >= 0}, 0
    while level:
        steps += 1
        if steps > len(ensemble.questions):
            raise UnsupportedError("a tree leads back to itself")
        level = {
            child for at in level for child in (ensemble.questions[at].yes, ensemble.questions[at].no) if child >= 0
        }
    return ensemble


def _sets(node: Node) -> list[list[float]]:
    """The members of each node's set; NaN ends a set."""
    if "membership_values" not in node.attributes:
        return []
    sets: list[list[float]] = [[]]
    for value in _tensor(node, "membership_values").astype(np.float64).tolist():
        if np.isnan(value):
            sets.append([])
        else:
            sets[-1].append(value)
    return sets


def _tensor(node: Node, name: str) -> NDArray[np.generic]:
    found = node.attributes.get(name)
    if found is None:
        raise UnsupportedError(f"it has no '{name}'")
    return numpy_helper.to_array(found)


def _wide(node: Node, name: str) -> NDArray[np.float64]:
    """Numbers that are a list of float32, or a tensor of float64."""
    if f"{name}_as_tensor" in node.attributes:
        return _tensor(node, f"{name}_as_tensor").astype(np.float64)
    return np.array(node.attributes.get(name, ()), dtype=np.float64)
