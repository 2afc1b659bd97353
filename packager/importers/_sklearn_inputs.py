"""What a scikit-learn estimator takes: numbers in one table, text, or columns of several kinds.

An estimator does not store the types of what it was fitted on. Those that tell numbers from words do so by what they
learned: an encoder's categories, a vectoriser's vocabulary, an imputer's fill values.
"""

from __future__ import annotations

import copy
import importlib.util
from typing import TYPE_CHECKING, Literal, NamedTuple, TypeAlias

from packager.errors import ConversionError
from packager.importers._graph import INPUT

if TYPE_CHECKING:
    from collections.abc import Iterator

    import numpy as np
    from numpy.typing import NDArray
    from sklearn.base import BaseEstimator

    from packager.importers._importer import Arrays

Kind: TypeAlias = Literal["float32", "int64", "string"]

TEXT_INPUT = "text"
_WORDS = frozenset({"CountVectorizer", "HashingVectorizer", "TfidfVectorizer"})
_NUMBERS: Kind = "float32"
_ORDER: tuple[Kind, ...] = ("string", "int64", "float32")
"""Where transformers differ on a column, the first of these that one of them says."""


class Inputs(NamedTuple):
    """The inputs of the ONNX model."""

    kinds: dict[str, Kind]
    """Each is of (N, 1); but a single one of numbers or of words is of (N, `features`), and text of (N,)."""
    features: int
    names: tuple[str, ...]
    """Of the features of a single input, where the estimator knows them."""
    framed: bool
    """Whether the estimator wants a data frame, whose columns go by the names of the inputs."""

    @property
    def text(self) -> bool:
        """Whether it takes documents."""
        return list(self.kinds) == [TEXT_INPUT] and not self.features

    def samples(self, arrays: Arrays) -> object:
        """The inputs as the estimator takes them."""
        import numpy as np

        if self.text:
            return arrays[TEXT_INPUT].reshape(-1)
        if not self.framed:
            columns = [arrays[name] for name in self.kinds]
            return columns[0] if len(columns) == 1 else np.concatenate([one.astype(object) for one in columns], axis=1)
        import pandas as pd

        if len(self.kinds) == 1:
            return pd.DataFrame(next(iter(arrays.values())), columns=list(self.names))
        return pd.DataFrame({name: arrays[name].reshape(-1) for name in self.kinds})


def inputs_of(estimator: BaseEstimator) -> Inputs:
    """What it takes.

    Raises:
        ConversionError: it was not fitted, or wants a data frame and pandas is not there.
    """
    first = _first(estimator)
    if type(first).__name__ in _WORDS or (_is_union(first) and _reads_text(first)):
        return Inputs({TEXT_INPUT: "string"}, 0, (), framed=False)
    features = 1 if hasattr(estimator, "X_thresholds_") else getattr(estimator, "n_features_in_", None)
    if not isinstance(features, int):
        raise ConversionError(
            "import.sklearn",
            f"a {type(estimator).__name__} does not say how many features it takes",
            hint="fit it first",
        )
    names = tuple(str(name) for name in getattr(estimator, "feature_names_in_", ()))
    framed = bool(names) and any(isinstance(one, str) for _, columns in _parts(first, features) for one in columns)
    if framed and importlib.util.find_spec("pandas") is None:
        raise ConversionError(
            "import.sklearn",
            "the model takes columns by name, for which scikit-learn needs pandas",
            hint="pip install pandas",
        )
    kinds = [_kind(first, column, features, names) for column in range(features)]
    if len(set(kinds)) == 1 and not _reads_text(first):
        return Inputs({INPUT: kinds[0]}, features, names, framed)
    called = names or tuple(f"{INPUT}{column}" for column in range(features))
    return Inputs(dict(zip(called, kinds, strict=True)), features, names, framed)


def by_place(estimator: BaseEstimator, names: tuple[str, ...]) -> BaseEstimator:
    """The same, sharing its parts; but the column transformer that comes first takes its columns by their places."""
    steps = getattr(estimator, "steps", None)
    parts = getattr(estimator, "transformers_", None)
    if not names or not (steps or parts):
        return estimator
    changed = copy.copy(estimator)
    if parts:
        changed.transformers_ = [
            (name, part, _places(columns, names)) for name, part, columns in parts if not _is_empty(columns)
        ]
    elif steps:
        place = next((at for at, (_, step) in enumerate(steps) if step is not None and step != "passthrough"), 0)
        name, step = steps[place]
        changed.steps = [*steps[:place], (name, by_place(step, names)), *steps[place + 1 :]]
    return changed


def _places(columns: object, names: tuple[str, ...]) -> object:
    if isinstance(columns, str):
        return names.index(columns)
    import numpy as np

    if isinstance(columns, slice):
        return columns
    listed = np.asarray(columns).tolist()
    words = isinstance(listed, list) and bool(listed) and isinstance(listed[0], str)
    return [names.index(one) for one in listed] if words else columns


def _is_empty(columns: object) -> bool:
    return isinstance(columns, list) and not columns


def _first(estimator: object) -> object:
    """The part that sees the inputs first."""
    steps = getattr(estimator, "steps", None)
    if isinstance(steps, list):
        for _, step in steps:
            if step is not None and step != "passthrough":
                return _first(step)
    inner = next(_inner(estimator), None)
    return estimator if inner is None else _first(inner)


def _inner(estimator: object) -> Iterator[object]:
    """The fitted estimators that a meta-estimator hands its inputs to."""
    for name in ("best_estimator_", "estimator_"):
        found = getattr(estimator, name, None)
        if found is not None:
            yield found
    for one in getattr(estimator, "calibrated_classifiers_", ()):
        yield one.estimator
    if type(estimator).__name__.startswith(("Voting", "Stacking", "OneVs", "MultiOutput", "ClassifierChain")):
        for one in getattr(estimator, "estimators_", ()):
            if not isinstance(one, str):
                yield one


def _is_union(estimator: object) -> bool:
    return type(estimator).__name__ == "FeatureUnion"


def _parts(transformer: object, features: int) -> Iterator[tuple[object, list[int | str]]]:
    """Of a column transformer: each part, and its columns."""
    for _, part, columns in getattr(transformer, "transformers_", ()):
        if isinstance(columns, slice):
            yield part, list(range(*columns.indices(features)))
            continue
        listed = [columns] if isinstance(columns, (str, int)) else list(columns)
        if listed and isinstance(listed[0], bool):
            listed = [place for place, chosen in enumerate(listed) if chosen]
        yield part, listed


def _kind(estimator: object, column: int, features: int, names: tuple[str, ...]) -> Kind:
    """Of one column, as far as the part that sees it first can tell."""
    said: set[Kind] = set()
    if hasattr(estimator, "transformers_"):
        for part, columns in _parts(estimator, features):
            places = [names.index(one) if isinstance(one, str) else one for one in columns]
            if column in places and not isinstance(part, str):
                said.add(_learned(_first(part), places.index(column)))
    elif _is_union(estimator):
        said = {_learned(_first(part), column) for _, part in getattr(estimator, "transformer_list", ())}
    else:
        said.add(_learned(estimator, column))
    return next((kind for kind in _ORDER if kind in said), _NUMBERS)


def _learned(transformer: object, place: int) -> Kind:
    """What a transformer learned of the column at that place."""
    if type(transformer).__name__ in _WORDS:
        return "string"
    categories = getattr(transformer, "categories_", None)
    if categories is not None and place < len(categories):
        return _kind_of(categories[place])
    fills = getattr(transformer, "statistics_", None)
    if fills is not None and place < len(fills) and isinstance(fills[place], str):
        return "string"
    return _NUMBERS


def _kind_of(values: NDArray[np.generic]) -> Kind:
    if values.dtype.kind in "OUST":
        return "string" if all(isinstance(value, str) for value in values.tolist()) else _NUMBERS
    return "int64" if values.dtype.kind in "iu" else _NUMBERS


def _reads_text(estimator: object) -> bool:
    if _is_union(estimator):
        parts = [_first(part) for _, part in getattr(estimator, "transformer_list", ())]
        return bool(parts) and all(type(part).__name__ in _WORDS for part in parts)
    return any(type(_first(part)).__name__ in _WORDS for part, _ in _parts(estimator, 0) if not isinstance(part, str))
