"""Random tree ensembles of ``ai.onnx.ml``, and inputs that sit on their thresholds."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import TYPE_CHECKING

import numpy as np
from onnx import TensorProto, helper, numpy_helper

if TYPE_CHECKING:
    import onnx

FEATURES = 5
MODES = ("BRANCH_LEQ", "BRANCH_LT", "BRANCH_GTE", "BRANCH_GT", "BRANCH_EQ", "BRANCH_NEQ")


@dataclass
class Trees:
    """The attributes of the nodes, and those of the leaves."""

    modes: tuple[str, ...]
    random: np.random.Generator
    missing: bool = False
    prune: float = 0.2
    exact: bool = False
    """Leaves have weights whose sums are exact in float32, in whatever order."""
    thresholds: tuple[float, ...] = (-1.5, -0.5, 0.0, 0.1, 0.5, 1.0, float("inf"))
    rows: list[tuple[int, int, int, float, str, int, int, int]] = field(default_factory=list)
    leaves: list[tuple[int, int]] = field(default_factory=list)

    def grow(self, tree: int, depth: int) -> None:
        """One tree; not all of its branches reach the full depth."""
        self._count = 0
        self._grow(tree, depth)

    def _grow(self, tree: int, depth: int) -> int:
        own = self._count
        self._count += 1
        place = len(self.rows)
        self.rows.append((tree, own, 0, 0.0, "LEAF", 0, 0, 0))
        if depth == 0 or (own > 0 and self.random.random() < self.prune):
            self.leaves.append((tree, own))
            return own
        yes, no = self._grow(tree, depth - 1), self._grow(tree, depth - 1)
        self.rows[place] = (
            tree, own, int(self.random.integers(FEATURES)), float(self.random.choice(self.thresholds)),
            str(self.random.choice(self.modes)), yes, no, int(self.missing and self.random.random() < 0.5),
        )  # fmt: skip
        return own

    def members(self) -> int:
        """How many nodes ask whether a value is one of a set."""
        return sum(row[4] == "BRANCH_MEMBER" for row in self.rows)

    def attributes(self) -> dict[str, object]:
        """Of the nodes."""
        names = (
            "nodes_treeids", "nodes_nodeids", "nodes_featureids", "nodes_values", "nodes_modes", "nodes_truenodeids",
            "nodes_falsenodeids", "nodes_missing_value_tracks_true",
        )  # fmt: skip
        return dict(zip(names, (list(column) for column in zip(*self.rows, strict=True)), strict=True))


def grown(*, count: int = 7, depth: int = 4, seed: int = 0, **options: object) -> Trees:
    """A forest."""
    trees = Trees(random=np.random.default_rng(seed), **{"modes": ("BRANCH_LEQ",), **options})
    for tree in range(count):
        trees.grow(tree, depth if tree else 1)
    return trees


def regressor(trees: Trees, targets: int = 1, *, every: bool = True, **attributes: object) -> onnx.ModelProto:
    """TreeEnsembleRegressor; each leaf speaks of every target, or of one of them."""
    leaves = _weights(trees, targets, every=every)
    names = ("target_treeids", "target_nodeids", "target_ids", "target_weights")
    node = helper.make_node(
        "TreeEnsembleRegressor", ["x"], ["y"], domain="ai.onnx.ml", n_targets=targets, **trees.attributes(),
        **dict(zip(names, leaves, strict=True)), **attributes,
    )  # fmt: skip
    return _model(node, [helper.make_tensor_value_info("y", TensorProto.FLOAT, ["N", targets])])


def classifier(  # what an ensemble can be
    trees: Trees,
    classes: int,
    *,
    ids: tuple[int, ...] = (),
    signed: bool = True,
    words: bool = False,
    **attributes: object,
) -> onnx.ModelProto:
    """TreeEnsembleClassifier; each leaf speaks of the classes `ids`, or of all."""
    leaves = _weights(trees, classes, every=True, ids=ids, signed=signed)
    names = ("class_treeids", "class_nodeids", "class_ids", "class_weights")
    labels = {"classlabels_strings": [f"c{k}" for k in range(classes)]} if words else {
        "classlabels_int64s": [10 - 3 * k for k in range(classes)]
    }  # fmt: skip
    node = helper.make_node(
        "TreeEnsembleClassifier", ["x"], ["label", "y"], domain="ai.onnx.ml", **trees.attributes(), **labels,
        **dict(zip(names, leaves, strict=True)), **attributes,
    )  # fmt: skip
    kind = TensorProto.STRING if words else TensorProto.INT64
    return _model(
        node,
        [
            helper.make_tensor_value_info("label", kind, ["N"]),
            helper.make_tensor_value_info("y", TensorProto.FLOAT, ["N", classes]),
        ],
    )


def tree_ensemble(trees: Trees, dtype: type = np.float32, **attributes: object) -> onnx.ModelProto:
    """TreeEnsemble of ml opset 5 from the same rows, one target."""
    inner = [row for row in trees.rows if row[4] != "LEAF"]
    place = {row[:2]: index for index, row in enumerate(inner)}
    leaf = {pair: index for index, pair in enumerate(trees.leaves)}
    sides = {}
    for side, column in (("true", 5), ("false", 6)):
        pairs = [(row[0], row[column]) for row in inner]
        sides[f"nodes_{side}nodeids"] = [leaf.get(pair, place.get(pair)) for pair in pairs]
        sides[f"nodes_{side}leafs"] = [int(pair in leaf) for pair in pairs]
    weights = trees.random.standard_normal(len(leaf)).astype(dtype)
    numbers = {word: number for number, word in enumerate((*MODES, "BRANCH_MEMBER"))}
    if trees.members():
        sets = [[*trees.random.choice([-2, 0, 1, 2], size), np.nan] for size in 1 + np.arange(trees.members()) % 4]
        values = np.concatenate(sets).astype(dtype)
        attributes["membership_values"] = numpy_helper.from_array(values)
    node = helper.make_node(
        "TreeEnsemble", ["x"], ["y"], domain="ai.onnx.ml", n_targets=1,
        tree_roots=[place[tree, 0] for tree in sorted({row[0] for row in inner})],
        nodes_featureids=[row[2] for row in inner],
        nodes_splits=numpy_helper.from_array(np.array([row[3] for row in inner], dtype=dtype)),
        nodes_modes=numpy_helper.from_array(np.array([numbers[row[4]] for row in inner], dtype=np.uint8)),
        nodes_missing_value_tracks_true=[row[7] for row in inner],
        leaf_targetids=[0] * len(leaf), leaf_weights=numpy_helper.from_array(weights), **sides, **attributes,
    )  # fmt: skip
    kind = helper.np_dtype_to_tensor_dtype(np.dtype(dtype))
    return _model(node, [helper.make_tensor_value_info("y", kind, ["N", 1])], kind, ml=5)


def adversarial(dtype: type = np.float32, rows: int = 400) -> np.ndarray:
    """Rows of values on the thresholds, a step beside them, NaN, infinities, zeros of both signs, and others."""
    random = np.random.default_rng(9)
    thresholds = np.array([-1.5, -0.5, 0.0, 0.1, 0.5, 1.0], dtype=dtype)
    special = np.concatenate(
        [
            thresholds,
            np.nextafter(thresholds, dtype(-np.inf)),
            np.nextafter(thresholds, dtype(np.inf)),
            np.array([np.nan, np.inf, -np.inf, -0.0, np.finfo(dtype).max, np.finfo(dtype).min], dtype=dtype),
            random.standard_normal(8).astype(dtype),
        ]
    )
    return random.choice(special, (rows, FEATURES)).astype(dtype)


def _weights(
    trees: Trees, targets: int, *, every: bool, ids: tuple[int, ...] = (), signed: bool = True
) -> tuple[list[int], list[int], list[int], list[float]]:
    entries = []
    for tree, node in trees.leaves:
        chosen = (ids or range(targets)) if every else (tree % targets,)
        for target in chosen:
            value = float(np.float32(trees.random.standard_normal()))
            value = round(value * 16) / 256 if trees.exact else value
            entries.append((tree, node, target, value if signed else abs(value) / 8))
    columns = [list(column) for column in zip(*entries, strict=True)]
    return columns[0], columns[1], columns[2], columns[3]


def _model(
    node: onnx.NodeProto, outputs: list[onnx.ValueInfoProto], kind: int = TensorProto.FLOAT, ml: int = 3
) -> onnx.ModelProto:
    graph = helper.make_graph([node], "forest", [helper.make_tensor_value_info("x", kind, ["N", FEATURES])], outputs)
    domains = [helper.make_opsetid("", 17), helper.make_opsetid("ai.onnx.ml", ml)]
    return helper.make_model(graph, opset_imports=domains, ir_version=9)
