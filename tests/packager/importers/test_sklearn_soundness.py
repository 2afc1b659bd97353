"""Trees that a hostile file could hold: their compiled code would read and write past its memory."""

from __future__ import annotations

import copy
from typing import TYPE_CHECKING, Any

import numpy as np
import pytest
from sklearn.ensemble import GradientBoostingClassifier, RandomForestRegressor
from sklearn.pipeline import make_pipeline
from sklearn.preprocessing import StandardScaler

from packager.errors import ConversionError
from packager.importers._sklearn_soundness import check_soundness

if TYPE_CHECKING:
    from collections.abc import Callable

X = np.random.default_rng(0).standard_normal((60, 4))
Y = (X[:, 0] > 0).astype(int) + (X[:, 1] > 0)


def damaged(change: Callable[[dict[str, Any]], object]) -> object:
    """A forest within a pipeline; the state of its first tree is changed as a file could have it."""
    model = make_pipeline(StandardScaler(), RandomForestRegressor(2, max_depth=3, random_state=0).fit(X, X[:, 0]))
    first = model[-1].estimators_[0]
    state = copy.deepcopy(first.tree_.__getstate__())
    change(state)
    first.tree_.__setstate__(state)
    return model


def test_what_scikit_learn_made_is_sound() -> None:
    check_soundness(damaged(lambda state: state))
    check_soundness(GradientBoostingClassifier(n_estimators=3).fit(X, Y))


@pytest.mark.parametrize(
    "change",
    [
        lambda state: state.update(node_count=10_000_000),
        lambda state: state.update(node_count=-1),
        lambda state: state["nodes"]["left_child"].__setitem__(0, 10_000_000),
        lambda state: state["nodes"]["right_child"].__setitem__(0, -7),
        lambda state: state["nodes"]["left_child"].__setitem__(1, 0),
        lambda state: state["nodes"]["feature"].__setitem__(0, 4),
        lambda state: state["nodes"]["feature"].__setitem__(0, -2),
    ],
    ids=["more nodes", "no nodes", "child outside", "negative child", "circle", "feature outside", "no feature"],
)
def test_a_tree_that_can_not_be_followed_is_refused(change: Callable[[dict[str, Any]], object]) -> None:
    with pytest.raises(ConversionError) as caught:
        check_soundness(damaged(change))
    assert caught.value.code == "import.tree"


@pytest.mark.parametrize(("name", "value"), [("n_trees_per_iteration_", 1), ("n_features_in_", 2)])
def test_boosted_trees_for_other_columns_or_features_are_refused(name: str, value: int) -> None:
    model = GradientBoostingClassifier(n_estimators=3).fit(X, Y)
    setattr(model, name, value)
    with pytest.raises(ConversionError, match=r"other (columns|features)"):
        check_soundness(model)
