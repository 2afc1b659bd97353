from __future__ import annotations

from typing import TYPE_CHECKING, Any

import lightgbm
import numpy as np
import pytest

from packager.errors import ConversionError
from packager.importers._importer import Options
from packager.importers.detection import detect_framework
from packager.importers.lightgbm import read_model
from tests.packager.importers.ensembles import questions, target, training_rows, worst_difference

if TYPE_CHECKING:
    from pathlib import Path

GAPS, WHOLE = training_rows(missing=True), training_rows(missing=False)
VALUES = target(GAPS)
POSITIVE = np.exp(VALUES / 3)
TWO = (VALUES.mean() < VALUES).astype(int)
THREE = np.digitize(VALUES, [0.5, 1.5])
FORESTS = {"boosting": "rf", "bagging_freq": 1, "bagging_fraction": 0.6}

CASES: dict[str, tuple[dict[str, Any], Any]] = {
    **{name: ({}, VALUES) for name in ("regression", "regression_l1", "huber", "fair", "quantile", "mape")},
    **{name: ({}, POSITIVE) for name in ("poisson", "gamma", "tweedie")},
    **{name: ({}, 1 / (1 + np.exp(-VALUES))) for name in ("cross_entropy", "cross_entropy_lambda")},
    **{name: ({}, TWO) for name in ("binary", "lambdarank", "rank_xendcg")},
    **{name: ({"num_class": 3}, THREE) for name in ("multiclass", "multiclassova")},
    "steep": ({"objective": "binary", "sigmoid": 0.7}, TWO),
    "root": ({"reg_sqrt": True}, VALUES),
    "dart": ({"boosting": "dart"}, VALUES),
    "forest": (FORESTS, VALUES),
    "forest, two classes": ({**FORESTS, "objective": "binary"}, TWO),
    "forest, three classes": ({**FORESTS, "objective": "multiclass", "num_class": 3}, THREE),
    "no gaps": ({}, VALUES),
    "gaps not used": ({"use_missing": False}, VALUES),
    "zero is a gap": ({"zero_as_missing": True}, VALUES),
    "zero is a gap, no gaps": ({"zero_as_missing": True}, VALUES),
    "categories": ({"min_data_per_group": 1, "cat_smooth": 1, "max_cat_to_onehot": 1}, VALUES),
    "categories, one against the rest": ({"max_cat_to_onehot": 100}, VALUES),
    "categories, no gaps": ({}, VALUES),
    "nothing but a leaf": ({}, np.full(len(VALUES), 3.0)),
    "many leaves": ({"num_leaves": 100, "min_data_in_leaf": 1}, VALUES),
    "large values": ({}, VALUES * 1e6 + 1e7),
}
OBJECTIVES = tuple(CASES)[: tuple(CASES).index("steep")]


def train(name: str, **more: object) -> lightgbm.Booster:
    parameters, values = CASES[name]
    if name in OBJECTIVES:
        parameters = {"objective": name, **parameters}
    data = lightgbm.Dataset(
        WHOLE if "no gaps" in name else GAPS,
        values,
        categorical_feature=[5] if name.startswith("categories") else "auto",
        group=[60] * 10 if name in {"lambdarank", "rank_xendcg"} else None,
    )
    quiet = {"verbose": -1, "num_threads": 1, "min_data_in_leaf": 5}
    return lightgbm.train({**quiet, **parameters, **more}, data, 10)


@pytest.mark.parametrize("name", CASES)
def test_an_imported_booster_predicts_what_lightgbm_does(tmp_path: Path, name: str) -> None:
    path = tmp_path / "model"
    train(name).save_model(path)
    assert detect_framework(path) == ("lightgbm", path)
    imported = read_model(path, Options())
    rows = questions(imported.model, infinite=not name.startswith("categories"))
    assert worst_difference(imported, rows) < 2e-6


def test_linear_trees_are_refused_by_name(tmp_path: Path) -> None:
    train("regression", linear_tree=True).save_model(tmp_path / "model")
    with pytest.raises(ConversionError, match="linear trees") as caught:
        read_model(tmp_path / "model", Options())
    assert "linear_tree=false" in caught.value.hint


@pytest.mark.parametrize(
    ("old", "new", "problem"),
    [
        ("end of trees", "", "no end of its trees"),
        ("num_leaves=", "num_leaves=9", "entries of"),
        ("split_feature=", "split_feature=77 ", "entries of 'split_feature'"),
        ("leaf_value=", "leaf_value=x", "no numbers"),
        ("left_child=1", "left_child=0", "leads to a node twice"),
        ("num_tree_per_iteration=1", "num_tree_per_iteration=0", "0 outputs"),
        ("objective=regression", "objective=mine", "objective 'mine'"),
        ("num_leaves=", "leaves=", "no 'num_leaves'"),
    ],
)
def test_a_file_that_is_not_what_lightgbm_writes_is_refused_before_lightgbm_reads_it(
    tmp_path: Path, old: str, new: str, problem: str
) -> None:
    text = train("regression").model_to_string()
    assert old in text
    (tmp_path / "model").write_text(text.replace(old, new, 1))
    with pytest.raises(ConversionError, match=problem):
        read_model(tmp_path / "model", Options())
