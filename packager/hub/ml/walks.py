"""How all rows walk down all trees at once: the leaf that each reaches in each, by tables and comparisons.

A state is one number for each row and tree: the node that is reached. Each level looks up the node's feature, the row's
value of it and the node's threshold, compares, and moves on. Looking up in a table of one dimension (GatherElements)
costs onnxruntime a tenth of what Gather and Where cost, so nothing else is used. Values are looked up and compared as
they are, never multiplied: thresholds, NaN and infinity decide as in the ensemble.

Two layouts of the tables:

- *perfect*: every tree is filled up to the depth of the deepest, and a level's tables hold that level alone. Where to
  go follows from where one is (twice the place, and one more for "no"), but the tables double with each level.
- *linked*: the children of a node stand side by side, and a table says where. One table more to look up, but nothing
  is filled up.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, NamedTuple

from packager.hub.ml._ensemble import FIRST_QUESTION, LEAF, MODES
from packager.hub.ml._writer import DOUBLE, FLOAT, INT32

if TYPE_CHECKING:
    import numpy as np
    from numpy.typing import NDArray

    from packager.hub.ml._ensemble import Ensemble
    from packager.hub.ml._writer import Array, Writer

_FILLING = 1.5
"""How many times as large the tables of the perfect layout may be; see ``bench/lowering.py`` for what either costs."""


class Walk(NamedTuple):
    """Where each row arrives in each tree."""

    place: str
    """Row by row, tree by tree: int32, (rows x trees)."""
    leaves: NDArray[np.int32]
    """The node that each place is."""


class Questions(NamedTuple):
    """The nodes of an ensemble that only ask whether a value is at most, or equal to, a threshold."""

    feature: NDArray[np.int32]
    threshold: NDArray[np.floating]
    equal: NDArray[np.bool_]
    yes: NDArray[np.int32]
    no: NDArray[np.int32]
    missing: NDArray[np.bool_]
    """Whether NaN takes the branch `yes`."""


def walk(writer: Writer, source: str, ensemble: Ensemble) -> Walk:
    """All rows of `source`, (rows, features), down all trees, in the layout that costs less."""
    import numpy as np

    wide = writer.type_of(source) == DOUBLE
    asked = questions(ensemble, np.float64 if wide else np.float32)
    rows = _answers(writer, source if wide else writer.floats(source), ensemble, wide=wide)
    asked = asked._replace(feature=_columns(asked.feature, len(ensemble.questions)))
    step = _Step(writer, rows, asked, ensemble)
    depth, trees = ensemble.depth(), len(ensemble.roots)
    filled = trees * 2 ** min(depth, 40)
    return (
        _perfect(step, ensemble, depth)
        if filled <= _FILLING * len(ensemble.feature)
        else _linked(step, ensemble, depth)
    )


def questions(ensemble: Ensemble, dtype: type[np.floating]) -> Questions:
    """Every comparison turned into one of two, by swapping branches and taking the number before the threshold."""
    import numpy as np

    threshold = ensemble.threshold.astype(dtype)
    mode = ensemble.mode
    leaf = mode == LEAF
    strict = np.isin(mode, [MODES.index("BRANCH_LT"), MODES.index("BRANCH_GTE")])
    # Less than t is at most the number before t; nothing is less than minus infinity, nor at most NaN.
    before = np.where(np.isneginf(threshold), dtype(np.nan), np.nextafter(threshold, dtype(-np.inf)))
    threshold = np.where(strict, before, threshold)
    swapped = np.isin(mode, [MODES.index(word) for word in ("BRANCH_GT", "BRANCH_GTE", "BRANCH_NEQ")])
    # Nothing is more than NaN, either: after the swap, all must be at most it.
    never = np.isnan(ensemble.threshold) & swapped
    threshold[leaf | never] = np.inf
    unequal = mode == MODES.index("BRANCH_NEQ")
    missing = np.where(swapped, ~ensemble.missing, ensemble.missing)
    threshold[unequal & never] = np.nan
    missing[unequal] = False  # NaN is unequal to everything, and the branch for that is "no" after the swap
    return Questions(
        feature=np.where(leaf, 0, ensemble.feature).astype(np.int32),
        threshold=threshold,
        equal=np.isin(mode, [MODES.index("BRANCH_EQ"), MODES.index("BRANCH_NEQ")]),
        yes=np.where(swapped, ensemble.no, ensemble.yes),
        no=np.where(swapped, ensemble.yes, ensemble.no),
        missing=missing | leaf,
    )


def _columns(feature: NDArray[np.int32], asked: int) -> NDArray[np.int32]:
    """The columns after the answers to the ensemble's questions were put before them."""
    import numpy as np

    return np.where(feature >= FIRST_QUESTION, feature - FIRST_QUESTION, feature + asked).astype(np.int32)


def _answers(writer: Writer, rows: str, ensemble: Ensemble, *, wide: bool) -> str:
    """The rows with the answers to the ensemble's questions before them, 1 or 0."""
    import numpy as np

    if not ensemble.questions:
        return rows
    kind = np.float64 if wide else np.float32
    members = [(place, value) for place, entry in enumerate(ensemble.questions) for value in entry.values]
    parts = []
    if members:
        columns = writer.integers(*(ensemble.questions[place].feature for place, _ in members))
        values = writer.add("Gather", [rows, columns], axis=1)
        equal = writer.add("Equal", [values, writer.constant(np.array([value for _, value in members], dtype=kind))])
        sums = np.zeros((len(members), len(ensemble.questions)), dtype=np.float32)
        sums[np.arange(len(members)), [place for place, _ in members]] = 1
        parts.append(writer.add("MatMul", [writer.add("Cast", [equal], to=FLOAT), writer.constant(sums)]))
    if any(entry.missing for entry in ensemble.questions) or not parts:
        asked = writer.add("Gather", [rows, writer.integers(*(entry.feature for entry in ensemble.questions))], axis=1)
        absent = writer.add("Cast", [writer.add("IsNaN", [asked])], to=FLOAT)
        counted = np.array([entry.missing for entry in ensemble.questions], dtype=np.float32)
        parts.append(writer.add("Mul", [absent, writer.constant(counted)]))
    answers = parts[0] if len(parts) == 1 else writer.add("Add", parts)
    answers = answers if not wide else writer.add("Cast", [answers], to=DOUBLE)
    return writer.add("Concat", [answers, rows], axis=1)


def _perfect(step: _Step, ensemble: Ensemble, depth: int) -> Walk:
    import numpy as np

    nodes = ensemble.roots
    place = step.first(nodes)
    for _ in range(depth):
        bit = step.compare(place, nodes)
        twice = step.writer.add("Add", [place, place])
        place = step.writer.add("Add", [twice, bit])
        nodes = np.stack([step.asked.yes[nodes], step.asked.no[nodes]], axis=1).reshape(-1)
    return Walk(place, nodes)


def _linked(step: _Step, ensemble: Ensemble, depth: int) -> Walk:
    import numpy as np

    # In the order of their depth, so that what is reached together stands together; pairs of children side by side.
    order = [ensemble.roots]
    inner = ensemble.roots[ensemble.mode[ensemble.roots] != LEAF]
    while len(inner):
        children = np.stack([step.asked.yes[inner], step.asked.no[inner]], axis=1).reshape(-1)
        order.append(children)
        inner = children[ensemble.mode[children] != LEAF]
    nodes = np.concatenate(order)
    is_inner = ensemble.mode[nodes] != LEAF
    child = np.arange(len(nodes), dtype=np.int32)
    child[is_inner] = len(ensemble.roots) + 2 * np.arange(is_inner.sum())
    place = step.first(ensemble.roots)
    for _ in range(depth):
        bit = step.compare(place, nodes)
        place = step.writer.add("Add", [step.look_up(child, place), bit])
    return Walk(place, nodes)


class _Step:
    """One comparison of all rows in all trees."""

    def __init__(self, writer: Writer, rows: str, asked: Questions, ensemble: Ensemble) -> None:
        import numpy as np

        self.writer = writer
        self.asked = asked
        self._trees = len(ensemble.roots)
        inner = ensemble.mode != LEAF
        self._filled = not asked.equal.any() and bool(np.isfinite(asked.threshold[inner]).all())
        missing = asked.missing[inner]
        kind = asked.threshold.dtype
        if self._filled and not missing.any():
            rows = self._without_nan(rows, kind.type(np.inf))
        elif self._filled and missing.all():
            rows = self._without_nan(rows, kind.type(-np.inf))
        else:
            self._filled = False
        self._rows = rows

    def first(self, roots: NDArray[np.int32]) -> str:
        """The place of each row in each tree before the first comparison."""
        import numpy as np

        # Nothing is less than minus infinity: zeros, as many as there are rows.
        least = self.writer.constant(np.array([-np.inf], dtype=self.asked.threshold.dtype))
        column = self.writer.add("Gather", [self._rows, self.writer.integers(0)], axis=1)
        nothing = self.writer.add("Cast", [self.writer.add("Less", [column, least])], to=INT32)
        starts = self.writer.constant(np.arange(len(roots), dtype=np.int32)[np.newaxis])
        return self._flat(self.writer.add("Add", [nothing, starts]))

    def look_up(self, table: Array, place: str) -> str:
        """The table's entry for each place."""
        return self.writer.add("GatherElements", [self.writer.constant(table), place], axis=0)

    def compare(self, place: str, nodes: NDArray[np.int32]) -> str:
        """1 where the answer is no, else 0; `nodes` are those that places stand for."""
        writer, asked = self.writer, self.asked
        columns = writer.add("Reshape", [self.look_up(asked.feature[nodes], place), writer.integers(-1, self._trees)])
        values = self._flat(writer.add("GatherElements", [self._rows, columns], axis=1))
        threshold = self.look_up(asked.threshold[nodes], place)
        if self._filled:
            return writer.add("Cast", [writer.add("Greater", [values, threshold])], to=INT32)
        taken = writer.add("LessOrEqual", [values, threshold])
        if asked.equal.any():
            exact = self.look_up(asked.equal[nodes], place)
            same = writer.add("And", [exact, writer.add("Equal", [values, threshold])])
            taken = writer.add("Or", [same, writer.add("And", [writer.add("Not", [exact]), taken])])
        astray = writer.add("And", [writer.add("IsNaN", [values]), self.look_up(asked.missing[nodes], place)])
        return writer.add("Cast", [writer.add("Not", [writer.add("Or", [taken, astray])])], to=INT32)

    def _flat(self, source: str) -> str:
        return self.writer.add("Reshape", [source, self.writer.integers(-1)])

    def _without_nan(self, rows: str, fill: np.floating) -> str:
        import numpy as np

        absent = self.writer.add("IsNaN", [rows])
        return self.writer.add("Where", [absent, self.writer.constant(np.array([fill])), rows])
