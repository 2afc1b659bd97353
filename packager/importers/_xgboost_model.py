"""XGBoost's stored model as its schema has it, and what it computes: doc/tutorials/saving_model.rst of XGBoost."""

from __future__ import annotations

import math
from typing import TYPE_CHECKING, NamedTuple

import msgspec

from packager.errors import ConversionError
from packager.importers._forest import Forest, Membership, Tree

if TYPE_CHECKING:
    import numpy as np
    from numpy.typing import NDArray

    from packager.importers._links import Link


OBJECTIVES: dict[str, tuple[Link, Link]] = {
    "binary:logistic": ("logistic", "logistic"),
    "binary:logitraw": ("identity", "identity"),
    "binary:hinge": ("identity", "step"),
    "count:poisson": ("exponential", "exponential"),
    "multi:softmax": ("identity", "softmax"),
    "multi:softprob": ("identity", "softmax"),
    "rank:map": ("identity", "identity"),
    "rank:ndcg": ("identity", "identity"),
    "rank:pairwise": ("identity", "identity"),
    "reg:absoluteerror": ("identity", "identity"),
    "reg:gamma": ("exponential", "exponential"),
    "reg:logistic": ("logistic", "logistic"),
    "reg:pseudohubererror": ("identity", "identity"),
    "reg:quantileerror": ("identity", "identity"),
    "reg:squarederror": ("identity", "identity"),
    "reg:squaredlogerror": ("identity", "identity"),
    "reg:tweedie": ("exponential", "exponential"),
    "survival:aft": ("exponential", "exponential"),
    "survival:cox": ("exponential", "exponential"),
}
"""How `base_score` is stored (the link whose inverse gives the margin), and how the prediction is made."""


class TreeParameters(msgspec.Struct):
    """``tree_param``."""

    size_leaf_vector: str = "1"


class StoredTree(msgspec.Struct):
    """One tree, by node."""

    tree_param: TreeParameters
    left_children: list[int]
    right_children: list[int]
    split_indices: list[int]
    split_conditions: list[float]
    """A leaf's value where it has no children and the tree no vectors."""
    default_left: list[int]
    split_type: list[int] = []
    categories: list[int] = []
    """Of all splits by categories, one after the other: those that go right."""
    categories_nodes: list[int] = []
    categories_segments: list[int] = []
    categories_sizes: list[int] = []
    leaf_weights: list[float] = []
    """Vectors of the leaves, one after the other; a leaf's place is its `right_children`."""


class TreesParameters(msgspec.Struct):
    """``gbtree_model_param``."""

    num_parallel_tree: str = "1"


class StoredModel(msgspec.Struct):
    """``model`` of a booster."""

    gbtree_model_param: TreesParameters = msgspec.field(default_factory=TreesParameters)
    trees: list[StoredTree] = []
    tree_info: list[int] = []
    """The output that each tree adds to."""
    iteration_indptr: list[int] = []
    """The first tree of each round."""
    weights: list[float] = []
    """Of ``gblinear``: (features + 1, outputs), the bias last."""


class InnerBooster(msgspec.Struct):
    """``gbtree`` in a ``dart``."""

    model: StoredModel


class StoredBooster(msgspec.Struct):
    """``gradient_booster``."""

    name: str
    model: StoredModel | None = None
    gbtree: InnerBooster | None = None
    weight_drop: list[float] = []


class Parameters(msgspec.Struct):
    """``learner_model_param``."""

    base_score: str
    num_class: str
    num_feature: str
    num_target: str = "1"


class Objective(msgspec.Struct):
    """``objective``."""

    name: str


class Learner(msgspec.Struct):
    """``learner``."""

    gradient_booster: StoredBooster
    learner_model_param: Parameters
    objective: Objective
    attributes: dict[str, str] = {}
    feature_names: list[str] = []
    feature_types: list[str] = []


class Stored(msgspec.Struct):
    """The whole file."""

    learner: Learner


class Linear(NamedTuple):
    """``gblinear``."""

    weights: NDArray[np.float32]
    """(features, outputs)."""
    bias: NDArray[np.float32]
    """(outputs,)."""


def links(stored: Stored) -> tuple[Link, Link]:
    """What `OBJECTIVES` says of the model's.

    Raises:
        ConversionError: the objective is not known.
    """
    name = stored.learner.objective.name
    if name not in OBJECTIVES:
        raise ConversionError(
            "import.xgboost", f"the objective '{name}' can't be imported: expected one of {', '.join(OBJECTIVES)}"
        )
    return OBJECTIVES[name]


def outputs_of(stored: Stored) -> int:
    """How many sums the model has."""
    parameters = stored.learner.learner_model_param
    return max(_count(parameters.num_class), _count(parameters.num_target), 1)


def features_of(stored: Stored) -> int:
    """How many features it takes."""
    return _count(stored.learner.learner_model_param.num_feature)


def forest_of(stored: Stored, rounds: int | None) -> Forest:
    """The trees of the first `rounds` rounds; None: all.

    Raises:
        ConversionError: the trees are not what the schema says.
    """
    booster = stored.learner.gradient_booster
    model = booster.model if booster.gbtree is None else booster.gbtree.model
    if model is None:
        raise _broken("no trees")
    trees = model.trees
    if len(model.tree_info) != len(trees):
        raise _broken(f"{len(trees)} trees and {len(model.tree_info)} entries of 'tree_info'")
    weights = booster.weight_drop or [1.0] * len(trees)
    if len(weights) != len(trees):
        raise _broken(f"{len(trees)} trees and {len(weights)} entries of 'weight_drop'")
    used = _trees_of_rounds(stored, model, rounds)
    outputs = outputs_of(stored)
    pairs = zip(trees[:used], model.tree_info, weights, strict=False)
    return Forest(
        trees=[_tree(tree, info, weight, outputs) for tree, info, weight in pairs],
        features=features_of(stored),
        base=base_margin(stored),
        comparison="BRANCH_LT",
    )


def linear_of(stored: Stored) -> Linear:
    """The weights of a ``gblinear``.

    Raises:
        ConversionError: their number does not fit.
    """
    import numpy as np

    model = stored.learner.gradient_booster.model
    outputs, features = outputs_of(stored), features_of(stored)
    found = model.weights if model else []
    if len(found) != (features + 1) * outputs:
        raise _broken(f"{len(found)} weights for {features} features and {outputs} outputs")
    table = np.array(found, dtype=np.float64).reshape(features + 1, outputs)
    # XGBoost 3.2 gives all outputs of a linear booster the first one's base.
    bias = table[-1] + base_margin(stored)[0]
    return Linear(weights=table[:-1].astype(np.float32), bias=bias.astype(np.float32))


def base_margin(stored: Stored) -> NDArray[np.float64]:
    """(outputs,): what the sum starts from.

    Raises:
        ConversionError: it is not a number, or not within the range of the objective.
    """
    import numpy as np

    text = stored.learner.learner_model_param.base_score
    outputs = outputs_of(stored)
    try:
        scores = [float(part) for part in text.strip("[]").split(",")]
        margins = np.array([_margin(score, links(stored)[0]) for score in scores])
    except (ValueError, OverflowError, ZeroDivisionError) as error:
        raise _broken(f"a base_score of '{text[:80]}'") from error
    if len(margins) not in {1, outputs}:
        raise _broken(f"{len(margins)} entries of 'base_score' for {outputs} outputs")
    return np.broadcast_to(margins, (outputs,)).copy()


def _margin(score: float, link: Link) -> float:
    if link == "logistic":
        return -math.log(1 / score - 1)
    return math.log(score) if link == "exponential" else score


def _trees_of_rounds(stored: Stored, model: StoredModel, rounds: int | None) -> int:
    if rounds is None:
        return len(model.trees)
    if model.iteration_indptr:
        if not 0 < rounds < len(model.iteration_indptr):
            raise _broken(f"the best iteration is {rounds - 1} of {len(model.iteration_indptr) - 1}")
        return model.iteration_indptr[rounds]
    vectors = any(_count(tree.tree_param.size_leaf_vector) > 1 for tree in model.trees[:1])
    groups = 1 if vectors else outputs_of(stored)
    return rounds * groups * _count(model.gbtree_model_param.num_parallel_tree)


def _tree(stored: StoredTree, info: int, weight: float, outputs: int) -> Tree:
    import numpy as np

    left, right = np.array(stored.left_children, dtype=np.int64), np.array(stored.right_children, dtype=np.int64)
    nodes = len(left)
    lists = (stored.right_children, stored.split_indices, stored.split_conditions, stored.default_left)
    if not nodes or any(len(entries) != nodes for entries in lists):
        raise _broken("a tree whose lists differ in length")
    width = _count(stored.tree_param.size_leaf_vector)
    leaf = left == -1
    # In JSON they are the shortest decimals that give the float32, not its value.
    conditions = np.array(stored.split_conditions, dtype=np.float32).astype(np.float64)
    if width > 1:
        vectors = np.array(stored.leaf_weights, dtype=np.float64).reshape(-1, width)
        if width != outputs or (right[leaf] >= len(vectors)).any() or (right[leaf] < 0).any():
            raise _broken("leaves whose vectors are not there")
        values = np.where(leaf[:, None], vectors[np.where(leaf, right, 0)], 0.0)
        first = 0
    else:
        values, first = np.where(leaf, conditions, 0.0)[:, None], info
    if not 0 <= first < outputs:
        raise _broken(f"a tree for output {first} of {outputs}")
    default_left = np.array(stored.default_left, dtype=np.int64) != 0
    memberships = _memberships(stored, default_left)
    return Tree(
        feature=np.array(stored.split_indices, dtype=np.int64),
        threshold=conditions,
        yes=left,
        no=np.where(leaf, -1, right),
        missing=default_left,
        values=(values.astype(np.float32) * np.float32(weight)).astype(np.float64),
        first=first,
        memberships=memberships,
    )


def _memberships(stored: StoredTree, default_left: NDArray[np.bool_]) -> dict[int, Membership]:
    """The splits by categories; XGBoost sends those that it lists to the right, and whatever it does not know left."""
    found = {}
    segments = zip(stored.categories_nodes, stored.categories_segments, stored.categories_sizes, strict=True)
    for node, start, size in segments:
        listed = set(stored.categories[start : start + size])
        if len(listed) != size or not 0 <= node < len(default_left) or min(listed, default=0) < 0:
            raise _broken("a split by categories that are not there")
        if max(listed, default=0) >= _MOST_CATEGORIES:
            raise _broken(f"a category of the number {max(listed)}")
        codes = tuple(code not in listed for code in range(max(listed, default=-1) + 1))
        found[node] = Membership(codes, beyond=True, below=True, missing=bool(default_left[node]))
    expected = sum(1 for kind in stored.split_type if kind)
    if len(found) != expected:
        raise _broken(f"{expected} splits by categories, and categories for {len(found)}")
    return found


_MOST_CATEGORIES = 1 << 20


def _count(text: str) -> int:
    if not text.isdecimal() or len(text) > 9:  # noqa: PLR2004 - digits of what still fits 32 bits
        raise _broken(f"'{text[:20]}' for a number")
    return int(text)


def _broken(problem: str) -> ConversionError:
    return ConversionError("import.xgboost", f"not a model of XGBoost: it has {problem}")
