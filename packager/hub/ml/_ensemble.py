"""A tree ensemble as arrays, from either generation of operators."""

from __future__ import annotations

from typing import TYPE_CHECKING, NamedTuple, TypeVar

from packager.hub.writer import Unsupported, floats, integers, number, tensor, text

if TYPE_CHECKING:
    from collections.abc import Mapping

    import numpy as np
    from numpy.typing import NDArray

_Kind = TypeVar("_Kind", bound="np.generic")
MODES = ("BRANCH_LEQ", "BRANCH_LT", "BRANCH_GTE", "BRANCH_GT", "BRANCH_EQ", "BRANCH_NEQ")
"""By number as TreeEnsemble writes them; its 6, BRANCH_MEMBER, asks whether a value is one of a set."""
LEAF = -1
FIRST_QUESTION = 1 << 24
_MEMBER = 6
_ABOVE = MODES.index("BRANCH_GT")
_AGGREGATES = ("AVERAGE", "SUM", "MIN", "MAX")
_TRANSFORMS = ("NONE", "SOFTMAX", "LOGISTIC", "SOFTMAX_ZERO", "PROBIT")


class Membership(NamedTuple):
    """A question that nodes ask: whether a feature's value is one of a set."""

    feature: int
    values: tuple[float, ...]
    missing: bool
    """What the answer is for NaN."""


class Ensemble(NamedTuple):
    """Nodes of all trees in one row; a leaf's children are itself."""

    roots: NDArray[np.int32]
    feature: NDArray[np.int32]
    """A column of the input; from `FIRST_QUESTION` on the question of that number, whose answer is 1 or 0."""
    threshold: NDArray[np.float64]
    """Of the width that `wide` says."""
    mode: NDArray[np.int8]
    """Index into `MODES`, or `LEAF`."""
    yes: NDArray[np.int32]
    no: NDArray[np.int32]
    missing: NDArray[np.bool_]
    """Whether NaN takes the branch `yes`."""
    weights: NDArray[np.float64]
    """(nodes, targets): what a leaf adds to each."""
    given: NDArray[np.bool_]
    """(nodes, targets): whether a leaf says anything of a target."""
    base: NDArray[np.float64]
    aggregate: str
    transform: str
    questions: tuple[Membership, ...] = ()

    def depth(self) -> int:
        """Comparisons on the longest way from a root to a leaf.

        Raises:
            Unsupported: a tree leads back to itself.
        """
        import numpy as np

        at = self.roots
        for steps in range(len(self.feature) + 1):
            at = np.unique(at[self.mode[at] != LEAF])
            if not len(at):
                return steps
            at = np.concatenate([self.yes[at], self.no[at]])
        raise Unsupported("a tree leads back to itself")


def read_nodes(attributes: Mapping[str, object], kind: str, targets: int) -> Ensemble:
    """Of TreeEnsembleClassifier (`kind` is ``class``) or TreeEnsembleRegressor (``target``).

    Raises:
        Unsupported: a mode that is not known.
    """
    import numpy as np

    trees, nodes = integers(attributes, "nodes_treeids"), integers(attributes, "nodes_nodeids")
    place = {pair: index for index, pair in enumerate(zip(trees, nodes, strict=True))}
    own = np.arange(len(nodes), dtype=np.int32)
    words = attributes.get("nodes_modes", [])
    modes = [word.decode() for word in words] if isinstance(words, list) else []
    unknown = {word for word in modes if word not in {*MODES, "LEAF"}}
    if unknown:
        raise Unsupported(f"its mode '{min(unknown)}' is not known")
    mode = np.array([LEAF if word == "LEAF" else MODES.index(word) for word in modes], dtype=np.int8)
    yes, no = own.copy(), own.copy()
    for children, name in ((yes, "nodes_truenodeids"), (no, "nodes_falsenodeids")):
        for index, wanted in enumerate(integers(attributes, name)):
            if mode[index] != LEAF:
                children[index] = place[trees[index], wanted]
    child = np.zeros(len(nodes), dtype=bool)
    inner = mode != LEAF
    child[yes[inner]] = child[no[inner]] = True
    weights = np.zeros((len(nodes), targets))
    given = np.zeros((len(nodes), targets), dtype=bool)
    leaves = zip(integers(attributes, f"{kind}_treeids"), integers(attributes, f"{kind}_nodeids"), strict=True)
    ids = integers(attributes, f"{kind}_ids")
    values = _wide_floats(attributes, f"{kind}_weights")
    for pair, target, value in zip(leaves, ids, values, strict=True):
        weights[place[pair], target] += value
        given[place[pair], target] = True
    tracks = integers(attributes, "nodes_missing_value_tracks_true")
    return Ensemble(
        roots=own[~child],
        feature=np.array(integers(attributes, "nodes_featureids"), dtype=np.int32),
        threshold=_wide_floats(attributes, "nodes_values"),
        mode=mode,
        yes=yes,
        no=no,
        missing=np.array(tracks or [0] * len(nodes), dtype=bool),
        weights=weights,
        given=given,
        base=_wide_floats(attributes, "base_values"),
        aggregate=text(attributes, "aggregate_function", "SUM"),
        transform=text(attributes, "post_transform", "NONE"),
    )


def read_tree_ensemble(attributes: Mapping[str, object]) -> Ensemble:
    """Of TreeEnsemble, of version 5 of ``ai.onnx.ml``: its leaves are apart from its nodes.

    Raises:
        Unsupported: a mode that is not known.
    """
    import numpy as np

    inner_modes = _array(attributes, "nodes_modes").astype(np.int8)
    if (inner_modes > _MEMBER).any():
        raise Unsupported(f"its mode {inner_modes.max()} is not known")
    inner = len(inner_modes)
    leaf_ids = integers(attributes, "leaf_targetids")
    leaves = len(leaf_ids)
    targets = number(attributes, "n_targets", 1)
    own = np.arange(inner + leaves, dtype=np.int32)
    yes, no = own.copy(), own.copy()
    for children, side in ((yes, "true"), (no, "false")):
        found = np.array(integers(attributes, f"nodes_{side}nodeids"), dtype=np.int32)
        is_leaf = np.array(integers(attributes, f"nodes_{side}leafs"), dtype=bool)
        children[:inner] = np.where(is_leaf, found + inner, found)
    roots = np.array(integers(attributes, "tree_roots"), dtype=np.int32)
    # A tree that is but a leaf is written as a node both of whose children are that leaf.
    weights = np.zeros((inner + leaves, targets))
    given = np.zeros((inner + leaves, targets), dtype=bool)
    rows = np.arange(inner, inner + leaves)
    weights[rows, leaf_ids] = _array(attributes, "leaf_weights").astype(np.float64)
    given[rows, leaf_ids] = True
    tracks = np.array(integers(attributes, "nodes_missing_value_tracks_true") or [0] * inner, dtype=bool)
    feature = np.array(integers(attributes, "nodes_featureids"), dtype=np.int32)
    splits = _array(attributes, "nodes_splits").astype(np.float64)
    questions = _ask(attributes, inner_modes, feature, splits, tracks)
    return Ensemble(
        roots=roots,
        feature=_padded(feature, leaves, 0),
        threshold=_padded(splits, leaves, 0),
        mode=_padded(inner_modes, leaves, LEAF),
        yes=yes,
        no=no,
        missing=_padded(tracks, leaves, fill=False),
        weights=weights,
        given=given,
        base=np.zeros(0),
        aggregate=_AGGREGATES[number(attributes, "aggregate_function", 1)],
        transform=_TRANSFORMS[number(attributes, "post_transform", 0)],
        questions=questions,
    )


def _ask(
    attributes: Mapping[str, object],
    modes: NDArray[np.int8],
    feature: NDArray[np.int32],
    splits: NDArray[np.float64],
    tracks: NDArray[np.bool_],
) -> tuple[Membership, ...]:
    """The questions of the nodes that ask for a set; those nodes then compare the answer, 1 or 0, with a half."""
    import numpy as np

    values = tensor(attributes, "membership_values")
    sets: list[tuple[float, ...]] = [()]
    for value in [] if values is None else values.astype(np.float64).tolist():
        if np.isnan(value):
            sets.append(())
        else:
            sets[-1] = (*sets[-1], value)
    places: dict[Membership, int] = {}
    for number_of_set, node in enumerate(np.flatnonzero(modes == _MEMBER).tolist()):
        if number_of_set >= len(sets):
            raise Unsupported("a node asks for a set that is not there")
        question = Membership(int(feature[node]), sets[number_of_set], bool(tracks[node]))
        feature[node] = FIRST_QUESTION + places.setdefault(question, len(places))
        splits[node], modes[node], tracks[node] = 0.5, _ABOVE, False
    return tuple(places)


def _padded(array: NDArray[_Kind], count: int, fill: int) -> NDArray[_Kind]:
    import numpy as np

    return np.concatenate([array, np.full(count, fill, dtype=array.dtype)])


def _array(attributes: Mapping[str, object], name: str) -> NDArray[np.generic]:
    found = tensor(attributes, name)
    if found is None:
        raise Unsupported(f"it has no '{name}'")
    return found


def _wide_floats(attributes: Mapping[str, object], name: str) -> NDArray[np.float64]:
    """Numbers that are a list of float32, or a tensor of float64."""
    import numpy as np

    found = tensor(attributes, f"{name}_as_tensor")
    return np.array(floats(attributes, name)) if found is None else found.astype(np.float64)
