"""Core ML's linear models and tree ensembles, by the comments of GLMClassifier.proto and TreeEnsemble.proto."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from packager.errors import ConversionError
from packager.importers._forest import LEAF, Forest, Tree, write_forest
from packager.importers._links import write_link, write_two_classes

if TYPE_CHECKING:
    from typing import TypeAlias

    from packager.importers._graph import Sink
    from packager.importers._links import Link

    Message: TypeAlias = Any
    """Of coremltools' generated code, which has no types."""

_TWO = 2


def write_linear(sink: Sink, source: str, model: Message, features: int, labels: int) -> tuple[str, int]:
    """The name of the probabilities or values, and how many columns they have.

    Raises:
        ConversionError: it asks for a transformation other than the logistic one.
    """
    import numpy as np

    weights = np.array([list(row.value) for row in model.weights], dtype=np.float64)
    offset = np.array(model.offset, dtype=np.float64)
    if weights.ndim != _TWO or weights.shape[1] != features or len(offset) != len(weights):
        raise ConversionError("import.coreml_nn", f"a linear model's weights do not fit its {features} features")
    sums = sink.add(
        "Gemm", [source, sink.constant(weights.T.astype(np.float32)), sink.constant(offset.astype(np.float32))]
    )
    kind = model.PostEvaluationTransform.Name(model.postEvaluationTransform)
    if not labels:
        if kind == "Probit":
            raise ConversionError("import.coreml_nn", "a linear model with the transformation Probit")
        return write_link(sink, sums, "logistic" if kind == "Logit" else "identity"), len(weights)
    if kind != "Logit":
        raise ConversionError("import.coreml_nn", f"a linear model with the transformation {kind}")
    if len(weights) == 1 and labels == _TWO:
        return write_two_classes(sink, write_link(sink, sums, "logistic")), _TWO
    if model.ClassEncoding.Name(model.classEncoding) == "ReferenceClass":
        return _with_reference(sink, sums), labels
    ones = write_link(sink, sums, "logistic")
    total = sink.add("ReduceSum", [ones, sink.constant(np.array([1], dtype=np.int64))], {"keepdims": 1})
    return sink.add("Div", [ones, total]), labels


def _with_reference(sink: Sink, sums: str) -> str:
    """A softmax in which the first class has the score 0."""
    import numpy as np

    first = sink.add("Slice", [sums, *(sink.constant(np.array([value], dtype=np.int64)) for value in (0, 1, 1))])
    nothing = sink.add("Mul", [first, sink.constant(np.zeros((), dtype=np.float32))])
    return write_link(sink, sink.add("Concat", [nothing, sums], {"axis": 1}), "softmax")


def write_trees(sink: Sink, source: str, model: Message, features: int, labels: int) -> tuple[str, int]:
    """The name of the probabilities or values, and how many columns they have.

    Raises:
        ConversionError: a node asks for equality, or the nodes are not trees.
    """
    import numpy as np

    ensemble = model.treeEnsemble
    outputs = int(ensemble.numPredictionDimensions)
    by_tree: dict[int, list[Message]] = {}
    for node in ensemble.nodes:
        by_tree.setdefault(int(node.treeId), []).append(node)
    forest = Forest(
        trees=[_tree(nodes, outputs) for nodes in by_tree.values()],
        features=features,
        base=np.resize(np.array(list(ensemble.basePredictionValue) or [0.0], dtype=np.float64), outputs),
        comparison="BRANCH_LEQ",
    )
    sums = write_forest(sink, source, forest)
    transform = int(model.postEvaluationTransform)
    links: dict[int, Link] = {0: "identity", 1: "softmax", 2: "logistic"}
    if transform not in links:
        return _with_reference(sink, sums), outputs + 1
    written = write_link(sink, sums, links[transform])
    if labels == _TWO and outputs == 1:
        return write_two_classes(sink, written), _TWO
    return written, outputs


def _tree(nodes: list[Message], outputs: int) -> Tree:
    """The tree with every comparison as ``<=``; the root is the node that none leads to."""
    import numpy as np

    children = {int(child) for node in nodes for child in (node.trueChildNodeId, node.falseChildNodeId)
                if node.nodeBehavior != _LEAF_NODE}  # fmt: skip
    ordered = sorted(nodes, key=lambda node: int(node.nodeId) in children)
    place = {int(node.nodeId): index for index, node in enumerate(ordered)}
    count = len(ordered)
    feature, yes, no = (np.full(count, fill, dtype=np.int64) for fill in (0, LEAF, LEAF))
    threshold, missing, values = np.zeros(count), np.zeros(count, dtype=bool), np.zeros((count, outputs))
    for index, node in enumerate(ordered):
        if node.nodeBehavior == _LEAF_NODE:
            for entry in node.evaluationInfo:
                if int(entry.evaluationIndex) >= outputs:
                    raise ConversionError("import.coreml_nn", "a leaf speaks of an output that is not there")
                values[index, int(entry.evaluationIndex)] += entry.evaluationValue
            continue
        turned, strict = _COMPARISONS.get(int(node.nodeBehavior), (None, None))
        if turned is None:
            raise ConversionError("import.coreml_nn", "a tree with a split by equality can't be imported")
        ways = [place.get(int(child), count) for child in (node.trueChildNodeId, node.falseChildNodeId)]
        yes[index], no[index] = ways[::-1] if turned else ways
        feature[index] = int(node.branchFeatureIndex)
        threshold[index] = np.nextafter(node.branchFeatureValue, -np.inf) if strict else node.branchFeatureValue
        missing[index] = bool(node.missingValueTracksTrueChild) != turned
    return Tree(feature, threshold, yes, no, missing, values)


_LEAF_NODE = 6
_COMPARISONS = {0: (False, False), 1: (False, True), 2: (True, True), 3: (True, False)}
"""``<=``, ``<``, ``>=``, ``>``: whether the children change places, and whether the threshold itself is on the other
side of ``<=``."""
