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
from packager.hub.writer import DOUBLE, FLOAT, INT32

if TYPE_CHECKING:
    from collections.abc import Callable

    import numpy as np
    from numpy.typing import NDArray

    from packager.hub.ml._ensemble import Ensemble
    from packager.hub.writer import Array, Writer

_FILLING = 1.5
"""How many times as large the tables of the perfect layout may be; see ``bench/lowering.py`` for what either costs."""


class Walk(NamedTuple):
    """Where each row arrives in each tree."""

    place: str
    """Tree by tree, row by row: int32, (trees x rows)."""
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
    layout = _perfect if trees * 2**depth <= _FILLING * len(ensemble.feature) else _linked
    return layout(step, ensemble, depth)


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
    place = ""
    for level in range(depth):
        if level:
            twice = step.writer.add("Add", [place, place])
            place = step.writer.add("Add", [twice, step.compare(place, nodes)])
        else:
            place = step.first(nodes, 2 * np.arange(len(nodes), dtype=np.int32))
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
    place = step.first(ensemble.roots, child[: len(ensemble.roots)])
    for _ in range(depth - 1):
        bit = step.compare(place, nodes)
        place = step.writer.add("Add", [step.look_up(child, place), bit])
    return Walk(place, nodes)


class _Step:
    """One comparison of all rows in all trees."""

    def __init__(self, writer: Writer, rows: str, asked: Questions, ensemble: Ensemble) -> None:
        import numpy as np

        self.writer = writer
        self._trees = len(ensemble.roots)
        inner = ensemble.mode != LEAF
        self._plain = not asked.equal.any() and bool(np.isfinite(asked.threshold[inner]).all())
        used, feature = np.unique(asked.feature[inner], return_inverse=True)
        places = np.zeros(len(inner), dtype=np.int32)
        places[inner] = feature
        chosen = writer.add("Gather", [rows, writer.integers(*used.tolist())], axis=1)
        columns = writer.add("Transpose", [chosen], perm=[1, 0])
        missing = asked.missing & inner
        if self._plain:
            # Each column twice at most: once with what is missing above all thresholds, once with it below.
            parts = [] if missing[inner].all() else [self._without_nan(columns, asked.threshold.dtype.type(np.inf))]
            if missing.any():
                places = np.where(missing, places + len(used) * len(parts), places)
                parts.append(self._without_nan(columns, asked.threshold.dtype.type(-np.inf)))
            columns = parts[0] if len(parts) == 1 else writer.add("Concat", parts, axis=0)
        self._columns = columns
        self.asked = asked._replace(feature=places.astype(np.int32))

    def first(self, roots: NDArray[np.int32], following: NDArray[np.int32]) -> str:
        """The place after the first comparison, which is the same for all rows; `following` are those of "yes"."""
        writer, asked = self.writer, self.asked
        places = writer.constant(asked.feature[roots].astype("int64"))
        values = writer.add("Gather", [self._columns, places], axis=0)
        tables = [asked.threshold, asked.equal, asked.missing]
        bit = self._answered(values, *(self._constant(table[roots, None]) for table in tables))
        return self._flat(writer.add("Add", [bit, writer.constant(following[:, None])]))

    def look_up(self, table: Array, place: str) -> str:
        """The table's entry for each place."""
        return self.writer.add("GatherElements", [self.writer.constant(table), place], axis=0)

    def compare(self, place: str, nodes: NDArray[np.int32]) -> str:
        """1 where the answer is no, else 0; `nodes` are those that places stand for."""
        writer, asked = self.writer, self.asked
        columns = writer.add("Reshape", [self.look_up(asked.feature[nodes], place), writer.integers(self._trees, -1)])
        values = self._flat(writer.add("GatherElements", [self._columns, columns], axis=0))
        tables = [asked.threshold, asked.equal, asked.missing]
        return self._answered(values, *(self._looked_up(table[nodes], place) for table in tables))

    def _answered(
        self, values: str, threshold: Callable[[], str], equal: Callable[[], str], missing: Callable[[], str]
    ) -> str:
        writer = self.writer
        limit = threshold()
        if self._plain:
            return writer.add("Cast", [writer.add("Greater", [values, limit])], to=INT32)
        taken = writer.add("LessOrEqual", [values, limit])
        if self.asked.equal.any():
            exact = equal()
            same = writer.add("And", [exact, writer.add("Equal", [values, limit])])
            taken = writer.add("Or", [same, writer.add("And", [writer.add("Not", [exact]), taken])])
        astray = writer.add("And", [writer.add("IsNaN", [values]), missing()])
        return writer.add("Cast", [writer.add("Not", [writer.add("Or", [taken, astray])])], to=INT32)

    def _constant(self, table: Array) -> Callable[[], str]:
        return lambda: self.writer.constant(table)

    def _looked_up(self, table: Array, place: str) -> Callable[[], str]:
        return lambda: self.look_up(table, place)

    def _flat(self, source: str) -> str:
        return self.writer.add("Reshape", [source, self.writer.integers(-1)])

    def _without_nan(self, columns: str, fill: np.floating) -> str:
        import numpy as np

        absent = self.writer.add("IsNaN", [columns])
        return self.writer.add("Where", [absent, self.writer.constant(np.array([fill])), columns])
