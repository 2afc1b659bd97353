"""LightGBM's model file as its ``GBDT::SaveModelToString`` and ``Tree::ToString`` write it."""

from __future__ import annotations

import re
from typing import TYPE_CHECKING, NamedTuple

from packager.errors import ConversionError
from packager.importers._forest import LEAF, Forest, Membership, Tree

if TYPE_CHECKING:
    import numpy as np
    from numpy.typing import NDArray

_CATEGORICAL, _DEFAULT_LEFT = 1, 2
"""Bits of a node's ``decision_type``; the two above them are the kind of missing values."""
_ZERO_MISSING, _NAN_MISSING = 1, 2
ZERO = 1e-35
"""LightGBM's kZeroThreshold, a float32."""
_WORD = 32
"""Bits of an entry of ``cat_threshold``."""
_MOST_WORDS = 1 << 15


class Stored(NamedTuple):
    """What stands in the file."""

    objective: str
    """The first word of the line."""
    parameters: dict[str, str]
    """The others, such as ``num_class:3``; a word without a value is its own."""
    outputs: int
    names: tuple[str, ...]
    forest: Forest
    zero_missing: tuple[int, ...]
    """The features in which zero stands for a value that is missing."""


class _Section(dict[str, str]):
    """The lines ``key=value`` up to an empty one."""

    def text(self, key: str) -> str:
        if key not in self:
            raise _broken(f"no '{key}'")
        return self[key]

    def integer(self, key: str) -> int:
        return int(self.array(key, "int64", 1)[0])

    def array(self, key: str, dtype: str, count: int) -> NDArray[np.generic]:
        import numpy as np

        words = self.text(key).split()
        if len(words) != count:
            raise _broken(f"{len(words)} entries of '{key}': expected {count}")
        if dtype != "float64" and not all(map(_INTEGER.fullmatch, words)):
            raise _broken(f"entries of '{key}' that are no whole numbers")
        try:
            return np.array(words).astype(dtype) if words else np.zeros(0, dtype=dtype)
        except (ValueError, OverflowError) as error:
            raise _broken(f"entries of '{key}' that are no numbers") from error


def parse_model(text: str) -> Stored:
    """The model in `text`.

    Raises:
        ConversionError: it is not what LightGBM writes, or has linear trees.
    """
    import numpy as np

    header, *sections = _sections(text)
    outputs = header.integer("num_tree_per_iteration")
    features = header.integer("max_feature_idx") + 1
    if not 0 < outputs <= _MOST_OUTPUTS or features < 1 or len(sections) % outputs:
        raise _broken(f"{len(sections)} trees for {outputs} outputs, and {features} features")
    kinds: dict[int, int] = {}
    trees = [_tree(section, place % outputs, kinds) for place, section in enumerate(sections)]
    if "average_output" in header and trees:
        count = len(trees) // outputs
        trees = [tree._replace(values=tree.values / count) for tree in trees]
    words = header.get("objective", "").split() or ["custom"]
    parameters = {key: value or key for key, _, value in (word.partition(":") for word in words[1:])}
    return Stored(
        objective=words[0],
        parameters=parameters,
        outputs=outputs,
        names=tuple(header.get("feature_names", "").split()),
        forest=Forest(trees=trees, features=features, base=np.zeros(outputs), comparison="BRANCH_LEQ", lowest=-1.0),
        zero_missing=tuple(sorted(feature for feature, kind in kinds.items() if kind == _ZERO_MISSING)),
    )


_MOST_OUTPUTS = 1 << 16
_INTEGER = re.compile(r"-?[0-9]{1,10}")
_HEADER = ("version", "num_class", "num_tree_per_iteration", "label_index", "max_feature_idx", "objective")
_FLOATS = ("threshold", "leaf_value")
_WHOLE = ("split_feature", "decision_type", "left_child", "right_child")
_BY_CATEGORY = ("num_cat", "cat_boundaries", "cat_threshold")


def checked_text(text: str) -> str:
    """What of `text` LightGBM predicts with, and that `parse_model` has seen to be sound.

    LightGBM reads the lengths of arrays, sizes of trees and parameters without doubting them, and a wrong one ends the
    process.
    """
    header, *sections = _sections(text)
    features = header.integer("max_feature_idx") + 1
    header.integer("num_class")
    header.setdefault("label_index", "0")
    header.integer("label_index")
    lines = ["tree", *(f"{key}={header.text(key)}" for key in _HEADER if key in header)]
    lines += ["average_output"] if "average_output" in header else []
    lines += [
        "feature_names=" + " ".join(f"Column_{index}" for index in range(features)),
        "feature_infos=" + " ".join(["none"] * features),
    ]
    for number, section in enumerate(sections):
        leaves = section.integer("num_leaves")
        count = section.integer("num_cat") if "num_cat" in section else 0
        keys = [*(_WHOLE if leaves > 1 else ()), *_FLOATS[leaves < 2 :], *(_BY_CATEGORY[1:] if count else ())]  # noqa: PLR2004 - one leaf has no split
        lines += ["", f"Tree={number}", f"num_leaves={leaves}", f"num_cat={count}"]
        lines += [f"{key}={section.text(key)}" for key in keys]
        lines += ["is_linear=0", "shrinkage=1"]
    return "\n".join([*lines, "", "", "end of trees", ""])


def _sections(text: str) -> list[_Section]:
    """The header and a section for each tree."""
    found = [_Section()]
    for line in text.splitlines():
        if line == "end of trees":
            return found
        if line.startswith("Tree="):
            found.append(_Section())
        key, _, value = line.partition("=")
        if key:
            found[-1][key] = value
    raise _broken("no end of its trees")


def _tree(section: _Section, output: int, kinds: dict[int, int]) -> Tree:
    import numpy as np

    leaves = section.integer("num_leaves")
    if section.get("is_linear", "0") != "0":
        raise ConversionError(
            "import.lightgbm",
            "linear trees (linear_tree=true) can't be imported: ai.onnx.ml has leaves with a constant value only",
            hint="train with linear_tree=false",
        )
    if leaves < 1:
        raise _broken(f"a tree with {leaves} leaves")
    inner = leaves - 1
    values = np.concatenate([np.zeros(inner), section.array("leaf_value", "float64", leaves)])
    if not inner:
        nothing = np.zeros(1, dtype=np.int64)
        leaf = np.full(1, LEAF)
        return Tree(nothing, np.zeros(1), leaf, leaf, np.zeros(1, dtype=bool), values[:, None], output)
    feature, left, right, decision = (
        section.array(key, "int64", inner).astype(np.int64)
        for key in ("split_feature", "left_child", "right_child", "decision_type")
    )
    threshold = section.array("threshold", "float64", inner).astype(np.float64)
    missing = _missing(feature, threshold, decision, kinds)
    categories = (decision & _CATEGORICAL) != 0
    return Tree(
        feature=np.concatenate([feature, np.zeros(leaves, dtype=np.int64)]),
        threshold=np.concatenate([np.where(categories, 0.0, _beside_zero(threshold)), np.zeros(leaves)]),
        yes=np.concatenate([_nodes(left, inner), np.full(leaves, LEAF)]),
        no=np.concatenate([_nodes(right, inner), np.full(leaves, LEAF)]),
        missing=np.concatenate([missing, np.zeros(leaves, dtype=bool)]),
        values=values[:, None],
        first=output,
        memberships=_memberships(section, np.flatnonzero(categories), threshold),
    )


def _beside_zero(threshold: NDArray[np.float64]) -> NDArray[np.float64]:
    """What answers as LightGBM does, which takes a value for zero that is not farther from it than `ZERO`."""
    import numpy as np

    zero = float(np.float32(ZERO))
    moved = np.where((-zero <= threshold) & (threshold < 0), np.nextafter(-zero, -1.0), threshold)
    return np.where((threshold >= 0) & (threshold <= zero), zero, moved)


def _nodes(children: NDArray[np.int64], inner: int) -> NDArray[np.int64]:
    """A leaf is the complement of its number."""
    import numpy as np

    return np.where(children < 0, inner + ~children, children)


def _missing(
    feature: NDArray[np.int64], threshold: NDArray[np.float64], decision: NDArray[np.int64], kinds: dict[int, int]
) -> NDArray[np.bool_]:
    """Whether NaN goes left: LightGBM takes it for zero where the training data had none."""
    import numpy as np

    kind = (decision >> 2) & 3
    numeric = (decision & _CATEGORICAL) == 0
    for one, its in zip(feature[numeric].tolist(), kind[numeric].tolist(), strict=True):
        if kinds.setdefault(one, its) != its and _ZERO_MISSING in {kinds[one], its}:
            raise ConversionError("import.lightgbm", f"zero is a missing value of feature {one} in some trees only")
    return np.where(kind == 0, threshold >= 0, (decision & _DEFAULT_LEFT) != 0)


def _memberships(section: _Section, nodes: NDArray[np.intp], threshold: NDArray[np.float64]) -> dict[int, Membership]:
    """The splits by categories: those that are listed go left, all else right."""
    if not len(nodes):
        return {}
    count = section.integer("num_cat")
    bounds = section.array("cat_boundaries", "int64", count + 1).astype("int64")
    words = section.array("cat_threshold", "uint32", int(bounds[-1])).astype("uint32")
    found = {}
    for node in nodes.tolist():
        place = int(threshold[node])
        if not 0 <= place < count:
            raise _broken("a split by categories that are not there")
        start, end = int(bounds[place]), int(bounds[place + 1])
        if not 0 <= start < end <= len(words) or end - start > _MOST_WORDS:
            raise _broken("a split by categories that are not there")
        codes = tuple(bool(word >> bit & 1) for word in words[start:end].tolist() for bit in range(_WORD))
        found[node] = Membership(codes, beyond=False, below=False, missing=False)
    return found


def _broken(problem: str) -> ConversionError:
    return ConversionError("import.lightgbm", f"not a model of LightGBM: it has {problem}")
