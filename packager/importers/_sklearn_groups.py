"""Clusters and outliers of scikit-learn: which of its groups a row is in, and how usual it is."""

from __future__ import annotations

from typing import TYPE_CHECKING

from packager.importers._forest import LEAF, Forest, Tree, write_forest
from packager.importers._sklearn_maps import narrow, np_rows, numbers, wide, write_squares

if TYPE_CHECKING:
    import numpy as np
    from numpy.typing import NDArray
    from sklearn.base import BaseEstimator

    from packager.importers._graph import Sink


def write_nearest(sink: Sink, source: str, clusters: BaseEstimator) -> tuple[str, str]:
    """The label of the nearest centre, and the distances to all: KMeans, MeanShift, AffinityPropagation, Birch."""
    import numpy as np

    birch = hasattr(clusters, "subcluster_centers_")
    centers = np_rows(clusters.subcluster_centers_ if birch else clusters.cluster_centers_)
    labels = np.asarray(clusters.subcluster_labels_ if birch else np.arange(len(centers)), dtype=np.int64)
    squares = write_squares(sink, wide(sink, source), centers)
    best = sink.add("ArgMin", [squares], {"axis": 1, "keepdims": 0})
    return sink.add("Gather", [sink.constant(labels), best], {"axis": 0}), narrow(sink, sink.add("Sqrt", [squares]))


def write_envelope(sink: Sink, source: str, envelope: BaseEstimator) -> tuple[str, str]:
    """EllipticEnvelope: below zero is outside."""
    import numpy as np

    centred = sink.add("Sub", [wide(sink, source), numbers(sink, np.reshape(envelope.location_, (1, -1)))])
    turned = sink.add("MatMul", [centred, numbers(sink, envelope.get_precision())])
    axes = sink.constant(np.array([1], dtype=np.int64))
    distance = sink.add("ReduceSum", [sink.add("Mul", [turned, centred]), axes], {"keepdims": 1})
    return _judged(sink, sink.add("Sub", [numbers(sink, -float(envelope.offset_)), distance]))


def write_isolation(sink: Sink, source: str, forest: BaseEstimator) -> tuple[str, str]:
    """IsolationForest: by how few questions a row is alone."""
    import numpy as np
    from sklearn.ensemble._iforest import _average_path_length

    trees = [
        _isolation_tree(tree, features)
        for tree, features in zip(forest.estimators_, forest.estimators_features_, strict=True)
    ]
    written = Forest(trees=trees, features=int(forest.n_features_in_), base=np.zeros(1), comparison="BRANCH_LEQ")
    depth = wide(sink, write_forest(sink, source, written))
    usual = float(_average_path_length([forest.max_samples_])[0]) * len(trees)
    score = sink.add(
        "Neg", [sink.add("Pow", [numbers(sink, 2.0), sink.add("Mul", [depth, numbers(sink, -1 / usual)])])]
    )
    return _judged(sink, sink.add("Sub", [score, numbers(sink, float(forest.offset_))]))


def _isolation_tree(member: BaseEstimator, features: NDArray[np.int64]) -> Tree:
    """A leaf holds its depth, and how deep the rows that are in it would have come."""
    import numpy as np
    from sklearn.ensemble._iforest import _average_path_length

    tree = member.tree_
    leaf = tree.children_left == LEAF
    depths = tree.compute_node_depths() + _average_path_length(tree.n_node_samples) - 1.0
    return Tree(
        feature=np.where(leaf, 0, np.asarray(features)[np.where(leaf, 0, tree.feature)]).astype(np.int64),
        threshold=tree.threshold.astype(np.float64),
        yes=tree.children_left.astype(np.int64),
        no=tree.children_right.astype(np.int64),
        missing=np.asarray(tree.missing_go_to_left) != 0,
        values=np.where(leaf, depths, 0.0)[:, None],
    )


def write_margin(sink: Sink, source: str, model: BaseEstimator) -> tuple[str, str]:
    """SGDOneClassSVM: below zero is outside."""
    import numpy as np

    sums = sink.add("MatMul", [wide(sink, source), numbers(sink, np.reshape(model.coef_, (-1, 1)))])
    return _judged(sink, sink.add("Sub", [sums, numbers(sink, float(np.reshape(model.offset_, -1)[0]))]))


def write_density(sink: Sink, source: str, model: BaseEstimator) -> tuple[str, str]:
    """LocalOutlierFactor(novelty=True): how much emptier it is around a row than around its neighbours."""
    import numpy as np

    rows = np_rows(model._fit_X)  # noqa: SLF001 - scikit-learn has no public name for what it fitted
    distances = sink.add("Sqrt", [write_squares(sink, wide(sink, source), rows)])
    count = int(model.n_neighbors_)
    wanted = sink.constant(np.array([count], dtype=np.int64))
    found = sink.add("TopK", [sink.add("Neg", [distances]), wanted], {"axis": 1}, place=1)
    near = sink.add("GatherElements", [distances, found], {"axis": 1})
    reach = sink.add("Gather", [numbers(sink, model._distances_fit_X_[:, count - 1]), found], {"axis": 0})
    axes = sink.constant(np.array([1], dtype=np.int64))
    mean = sink.add("ReduceMean", [sink.add("Max", [near, reach]), axes], {"keepdims": 1})
    density = sink.add("Reciprocal", [sink.add("Add", [mean, numbers(sink, 1e-10)])])
    theirs = sink.add("Gather", [numbers(sink, model._lrd), found], {"axis": 0})  # noqa: SLF001 - likewise
    ratio = sink.add("ReduceMean", [sink.add("Div", [theirs, density]), axes], {"keepdims": 1})
    return _judged(sink, sink.add("Sub", [numbers(sink, -float(model.offset_)), ratio]))


def _judged(sink: Sink, decision: str) -> tuple[str, str]:
    """1 for what is usual, -1 for what is not; and the decision, (N, 1)."""
    import numpy as np

    inside = sink.add("GreaterOrEqual", [decision, numbers(sink, 0.0)])
    one = sink.constant(np.array(1, dtype=np.int64))
    label = sink.add("Where", [inside, one, sink.constant(np.array(-1, dtype=np.int64))])
    flat = sink.add("Reshape", [label, sink.constant(np.array([-1], dtype=np.int64))])
    return flat, narrow(sink, decision)
