"""Whether what a file says of scikit-learn's trees can be followed: their compiled code believes every index."""

from __future__ import annotations

from typing import TYPE_CHECKING

from packager.errors import ConversionError

if TYPE_CHECKING:
    from collections.abc import Iterator

_MOST_OBJECTS = 1_000_000
_LEAF = -1


def check_soundness(estimator: object) -> None:
    """See that every tree within the estimator has its nodes, children and features where they are said to be.

    Raises:
        ConversionError: one has not.
    """
    for found in _within(estimator):
        if _named(found, "sklearn.tree._tree", "Tree"):
            _check_tree(found)
        elif hasattr(found, "n_trees_per_iteration_") and hasattr(found, "estimators_"):
            _check_boosting(found)


def _within(root: object) -> Iterator[object]:
    """The object and all that it holds in attributes, lists, dictionaries and arrays of objects."""
    import numpy as np

    waiting, seen = [root], {id(root)}
    while waiting:
        current = waiting.pop()
        yield current
        held: list[object] = []
        if isinstance(current, dict):
            held = list(current.values())
        elif isinstance(current, list | tuple | set | frozenset):
            held = list(current)
        elif isinstance(current, np.ndarray):
            held = list(current.flat) if current.dtype.kind == "O" else []
        elif hasattr(current, "__dict__") and not isinstance(current, type):
            held = list(vars(current).values())
        fresh = [entry for entry in held if id(entry) not in seen]
        seen.update(id(entry) for entry in fresh)
        waiting.extend(fresh)
        if len(seen) > _MOST_OBJECTS:
            raise _broken(f"more than {_MOST_OBJECTS} objects")


def _check_tree(tree: object) -> None:
    import numpy as np

    capacity, count, width = (getattr(tree, name) for name in ("capacity", "node_count", "n_features"))
    if not 0 < count <= capacity:
        # The arrays of a tree are views of its memory: they may be looked at from here on only.
        raise _broken(f"a tree of {count} nodes with room for {capacity}")
    left, right, feature = (np.asarray(getattr(tree, name)) for name in ("children_left", "children_right", "feature"))
    inner = np.flatnonzero(left != _LEAF)
    for children in (left[inner], right[inner]):
        # Builders number a node after its parent, so what is numbered otherwise may be a circle.
        if ((children <= inner) | (children >= count)).any():
            raise _broken("a tree whose children are no nodes")
    if ((feature[inner] < 0) | (feature[inner] >= width)).any():
        raise _broken("a tree that asks for features that are not there")


def _check_boosting(model: object) -> None:
    """Its trees are followed without their own checks, and add to as many columns as it says."""
    import numpy as np

    trees, columns = getattr(model, "estimators_", None), getattr(model, "n_trees_per_iteration_", None)
    width = getattr(model, "n_features_in_", None)
    if not isinstance(trees, np.ndarray) or trees.ndim != 2 or trees.shape[1] != columns:  # noqa: PLR2004 - a row an iteration
        raise _broken("trees for other columns than it has")
    for tree in trees.flat:
        inner = getattr(tree, "tree_", None)
        if not _named(inner, "sklearn.tree._tree", "Tree") or getattr(inner, "n_features", None) != width:
            raise _broken("trees of other features than it has")


def _named(found: object, module: str, name: str) -> bool:
    return type(found).__module__ == module and type(found).__name__ == name


def _broken(problem: str) -> ConversionError:
    return ConversionError("import.tree", f"the estimator is damaged: it has {problem}")
