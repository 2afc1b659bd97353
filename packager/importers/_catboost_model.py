"""CatBoost's model as its JSON has it: https://catboost.ai/docs/en/concepts/json."""

from __future__ import annotations

from typing import TYPE_CHECKING, Annotated

import msgspec

from packager.errors import ConversionError
from packager.importers._forest import LEAF, NODES_LIMIT, Forest, Tree

if TYPE_CHECKING:
    import numpy as np
    from numpy.typing import NDArray

_DEEPEST = 16
"""CatBoost's own limit for trees that ask the same of all nodes of a level."""


_Index = Annotated[int, msgspec.Meta(ge=0, lt=2**31)]


class FloatFeature(msgspec.Struct):
    """One of ``float_features``."""

    feature_index: _Index
    """Among the float features."""
    flat_feature_index: _Index
    """Among all."""
    feature_id: str = ""
    nan_value_treatment: str = "AsIs"


class OtherFeature(msgspec.Struct):
    """A feature by categories, of text or an embedding."""

    flat_feature_index: _Index
    feature_id: str = ""


class FeaturesInfo(msgspec.Struct):
    """``features_info``."""

    float_features: list[FloatFeature] = []
    categorical_features: list[OtherFeature] = []
    text_features: list[OtherFeature] = []
    embedding_features: list[OtherFeature] = []


class Split(msgspec.Struct):
    """One comparison."""

    split_type: str
    float_feature_index: _Index = 0
    border: float = 0.0


class ObliviousTree(msgspec.Struct):
    """A tree that asks the same of all nodes of a level; the first split is the lowest bit of a leaf's number."""

    leaf_values: list[float]
    splits: list[Split] | None = None


class Node(msgspec.Struct):
    """A node of another tree."""

    value: float | list[float] | None = None
    split: Split | None = None
    left: Node | None = None
    right: Node | None = None


class ClassParameters(msgspec.Struct):
    """``class_params``."""

    class_names: list[str | int | float | bool] = []


class LossFunction(msgspec.Struct):
    """``loss_function``."""

    type: str = ""


class TrainingParameters(msgspec.Struct):
    """``params``."""

    loss_function: LossFunction = msgspec.field(default_factory=LossFunction)


class ModelInfo(msgspec.Struct):
    """``model_info``."""

    params: TrainingParameters = msgspec.field(default_factory=TrainingParameters)
    class_params: ClassParameters = msgspec.field(default_factory=ClassParameters)


class Stored(msgspec.Struct):
    """The whole file."""

    features_info: FeaturesInfo
    scale_and_bias: tuple[float, list[float] | float]
    model_info: ModelInfo = msgspec.field(default_factory=ModelInfo)
    oblivious_trees: list[ObliviousTree] = []
    trees: list[Node] = []


def names_of(stored: Stored) -> tuple[str, ...]:
    """Of the features; empty where CatBoost was told none."""
    names = tuple(feature.feature_id for feature in stored.features_info.float_features)
    return names if all(names) else ()


def forest_of(stored: Stored) -> Forest:
    """The trees.

    Raises:
        ConversionError: a feature is not a number, or the trees are not what the documentation says.
    """
    import numpy as np

    info = stored.features_info
    other = [*info.categorical_features, *info.text_features, *info.embedding_features]
    if other:
        names = ", ".join(entry.feature_id or str(entry.flat_feature_index) for entry in other)
        raise ConversionError(
            "import.catboost",
            f"features that are no numbers can't be imported, nor can CatBoost export them to ONNX: {names}",
            hint="encode them before the model, or train without them",
        )
    features = len(info.float_features)
    flat = np.array([entry.flat_feature_index for entry in info.float_features], dtype=np.int64)
    if sorted(flat.tolist()) != list(range(features)) or not features:
        raise _broken("features whose places are not one after the other")
    scale, bias = stored.scale_and_bias
    base = np.array(bias, dtype=np.float64).reshape(-1)
    above = np.array([entry.nan_value_treatment == "AsTrue" for entry in info.float_features])
    reader = _Reader(flat, above, scale, len(base))
    trees = [reader.oblivious(tree) for tree in stored.oblivious_trees]
    trees += [reader.other(tree) for tree in stored.trees]
    return Forest(trees=trees, features=features, base=base, comparison="BRANCH_LEQ")


class _Reader:
    def __init__(self, flat: NDArray[np.int64], above: NDArray[np.bool_], scale: float, outputs: int) -> None:
        self._flat = flat
        self._above = above
        self._scale = scale
        self._outputs = outputs
        self._nodes = 0

    def oblivious(self, tree: ObliviousTree) -> Tree:
        """A full binary tree."""
        import numpy as np

        splits = (tree.splits or [])[::-1]
        if len(splits) > _DEEPEST or len(tree.leaf_values) != self._outputs << len(splits):
            raise _broken(f"a tree of {len(splits)} splits with {len(tree.leaf_values)} values")
        inner, leaves = (1 << len(splits)) - 1, 1 << len(splits)
        asked = [splits[(node + 1).bit_length() - 1] for node in range(inner)]
        nodes = np.arange(inner)
        values = np.array(tree.leaf_values, dtype=np.float64).reshape(leaves, self._outputs)
        ends = np.full(leaves, LEAF)
        return self._tree(
            [*asked, *[None] * leaves],
            np.concatenate([2 * nodes + 1, ends]),
            np.concatenate([2 * nodes + 2, ends]),
            np.concatenate([np.zeros((inner, self._outputs)), values]),
        )

    def other(self, root: Node) -> Tree:
        """A tree of nodes."""
        import numpy as np

        nodes, splits, yes, no, values = [root], [], [], [], []
        for node in nodes:  # grows as it goes
            leaf = node.split is None
            splits.append(node.split)
            yes.append(LEAF if leaf else len(nodes))
            no.append(LEAF if leaf else len(nodes) + 1)
            if leaf:
                found = np.array(node.value if node.value is not None else 0.0, dtype=np.float64).reshape(-1)
                if len(found) not in {1, self._outputs}:
                    raise _broken(f"a leaf with {len(found)} values for {self._outputs} outputs")
                values.append(np.broadcast_to(found, (self._outputs,)))
                continue
            if node.left is None or node.right is None:
                raise _broken("a split that leads nowhere")
            nodes += [node.left, node.right]
            values.append(np.zeros(self._outputs))
        return self._tree(splits, np.array(yes), np.array(no), np.stack(values))

    def _tree(
        self, splits: list[Split | None], yes: NDArray[np.int64], no: NDArray[np.int64], values: NDArray[np.float64]
    ) -> Tree:
        import numpy as np

        self._nodes += len(splits)
        if self._nodes > NODES_LIMIT:
            raise ConversionError("import.size", f"too many nodes: expected at most {NODES_LIMIT}")
        kinds = {split.split_type for split in splits if split is not None} - {"FloatFeature"}
        if kinds:
            raise ConversionError("import.catboost", f"a split of the type '{min(kinds)}' can't be imported")
        place = np.array([split.float_feature_index if split else 0 for split in splits], dtype=np.int64)
        if place.min() < 0 or place.max() >= len(self._flat):
            raise _broken("a split by a feature that is not there")
        border = np.array([split.border if split else 0.0 for split in splits], dtype=np.float32)
        return Tree(
            feature=self._flat[place],
            threshold=border.astype(np.float64),
            yes=yes,
            no=no,
            missing=~self._above[place],
            values=values * self._scale,
        )


def _broken(problem: str) -> ConversionError:
    return ConversionError("import.catboost", f"not a model of CatBoost: it has {problem}")
