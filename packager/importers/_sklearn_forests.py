"""scikit-learn's trees and forests: skl2onnx does not write where they send a value that is missing."""

from __future__ import annotations

from typing import TYPE_CHECKING

from packager.errors import ConversionError
from packager.importers._forest import LEAF, Forest, Tree, write_forest

if TYPE_CHECKING:
    from sklearn.base import BaseEstimator

    from packager.importers._graph import Sink


def write_trees(sink: Sink, source: str, estimator: BaseEstimator) -> str:
    """The name of the probabilities or values of a tree, or of a forest's mean; `source` is float32 of (N, features).

    Raises:
        ConversionError: it is a classifier with several outputs.
    """
    import numpy as np

    single = hasattr(estimator, "tree_")
    members = [estimator] if single else list(estimator.estimators_)
    classifier = hasattr(estimator, "classes_")
    if classifier and estimator.n_outputs_ > 1:
        raise ConversionError(
            "import.sklearn",
            f"a {type(estimator).__name__} of {estimator.n_outputs_} outputs can't be imported",
            hint="train one classifier for each of them",
        )
    forest = Forest(
        trees=[_tree(member, len(members), classifier=classifier) for member in members],
        features=int(estimator.n_features_in_),
        base=np.zeros(int(estimator.n_classes_ if classifier else estimator.n_outputs_)),
        comparison="BRANCH_LEQ",
    )
    return write_forest(sink, source, forest)


def _tree(member: BaseEstimator, members: int, *, classifier: bool) -> Tree:
    import numpy as np

    tree = member.tree_
    leaf = tree.children_left == LEAF
    values = tree.value[:, 0, :] if classifier else tree.value[:, :, 0]
    return Tree(
        feature=np.where(leaf, 0, tree.feature).astype(np.int64),
        threshold=tree.threshold.astype(np.float64),
        yes=tree.children_left.astype(np.int64),
        no=tree.children_right.astype(np.int64),
        missing=np.asarray(tree.missing_go_to_left) != 0,
        values=np.where(leaf[:, None], values, 0.0) / members,
    )
