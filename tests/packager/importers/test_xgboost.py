from __future__ import annotations

import json
import warnings
from typing import TYPE_CHECKING, Any

import numpy as np
import pytest
import xgboost

from packager.errors import ConversionError
from packager.importers._importer import Options
from packager.importers.detection import detect_framework
from packager.importers.xgboost import read_model
from tests.packager.importers.ensembles import questions, target, training_rows, worst_difference

if TYPE_CHECKING:
    from pathlib import Path

ROWS = training_rows(missing=True).astype(np.float32)
VALUES = target(ROWS)
POSITIVE = np.exp(VALUES / 3)
TWO = (VALUES.mean() < VALUES).astype(int)
THREE = np.digitize(VALUES, [0.5, 1.5])
PAIRS = np.stack([VALUES, 1 - VALUES], axis=1)
TYPES = ["q"] * 5 + ["c"]

CASES: dict[str, tuple[dict[str, Any], Any]] = {
    **{f"reg:{name}": ({}, VALUES) for name in ("squarederror", "absoluteerror", "pseudohubererror")},
    **{name: ({}, POSITIVE) for name in ("reg:squaredlogerror", "reg:gamma", "reg:tweedie", "count:poisson")},
    **{name: ({}, POSITIVE) for name in ("survival:aft", "survival:cox")},
    **{name: ({}, TWO) for name in ("binary:logistic", "binary:logitraw", "binary:hinge", "reg:logistic")},
    **{name: ({}, TWO) for name in ("rank:pairwise", "rank:ndcg", "rank:map")},
    **{name: ({"num_class": 3}, THREE) for name in ("multi:softprob", "multi:softmax")},
    "reg:quantileerror": ({"quantile_alpha": [0.1, 0.5, 0.9]}, VALUES),
    "base score": ({"objective": "binary:logistic", "base_score": 0.2}, TWO),
    "dart": ({"objective": "binary:logistic", "booster": "dart", "rate_drop": 0.4}, TWO),
    "linear": ({"booster": "gblinear"}, VALUES),
    "linear, three classes": ({"booster": "gblinear", "objective": "multi:softprob", "num_class": 3}, THREE),
    "random forest": ({"num_parallel_tree": 20, "subsample": 0.5, "colsample_bynode": 0.5, "eta": 1}, VALUES),
    "vector leaves": ({"multi_strategy": "multi_output_tree"}, PAIRS),
    "one tree an output": ({}, PAIRS),
    "categories": ({}, VALUES),
    "categories, one against the rest": ({"max_cat_to_onehot": 100}, VALUES),
    "leaf by leaf": ({"grow_policy": "lossguide", "max_leaves": 31, "max_depth": 0}, VALUES),
    "pruned": ({"gamma": 3.0}, VALUES),
    "nothing but leaves": ({"gamma": 1e9}, VALUES),
    "large values": ({}, VALUES * 1e6 + 1e7),
}


def train(name: str, rounds: int = 8) -> xgboost.Booster:
    parameters, values = CASES[name]
    if ":" in name:
        parameters = {"objective": name, **parameters}
    types = TYPES if name.startswith("categories") else None
    data = xgboost.DMatrix(ROWS, feature_types=types, enable_categorical=True, nthread=1)
    if name == "survival:aft":
        data.set_float_info("label_lower_bound", values)
        data.set_float_info("label_upper_bound", values)
    else:
        data.set_label(values)
    if name.startswith("rank"):
        data.set_group([60] * 10)
    with warnings.catch_warnings(action="ignore"):
        return xgboost.train({"nthread": 1, **parameters}, data, rounds)


@pytest.mark.parametrize("name", CASES)
def test_an_imported_booster_predicts_what_xgboost_does(tmp_path: Path, name: str) -> None:
    booster = train(name)
    for suffix in ("json", "ubj"):
        path = tmp_path / f"model.{suffix}"
        booster.save_model(path)
        assert detect_framework(path) == ("xgboost", path)
        imported = read_model(path, Options())
        rows = questions(imported.model, infinite=False)
        assert len(rows) > (1200 if "linear" in name or "nothing" in name else 1300)
        assert worst_difference(imported, rows) < 2e-6


def test_an_estimators_file_gives_what_it_predicts_after_an_early_stop(tmp_path: Path) -> None:
    estimator = xgboost.XGBClassifier(n_estimators=30, early_stopping_rounds=2, n_jobs=1)
    estimator.fit(ROWS[:400], THREE[:400], eval_set=[(ROWS[400:], THREE[::-1][400:])], verbose=False)
    assert estimator.best_iteration < 20
    estimator.save_model(tmp_path / "model.json")
    imported = read_model(tmp_path / "model.json", Options())
    assert imported.task.labels == ("0", "1", "2")
    assert imported.predict is not None
    np.testing.assert_allclose(imported.predict({"x": ROWS})["probabilities"], estimator.predict_proba(ROWS))
    assert worst_difference(imported, ROWS) < 2e-6


def broken(what: str, found: dict[str, Any]) -> None:
    learner = found["learner"]
    tree = learner["gradient_booster"]["model"]["trees"][0]
    if what == "an objective of its own":
        learner["objective"]["name"] = "mine"
    elif what == "a cycle":
        tree["left_children"][1] = 0
    elif what == "a child past the end":
        tree["right_children"][0] = 1 << 20
    elif what == "a feature past the end":
        tree["split_indices"][0] = 6
    elif what == "lists of different lengths":
        tree["split_conditions"].pop()
    elif what == "an output that is not there":
        learner["gradient_booster"]["model"]["tree_info"][0] = 1
    elif what == "no base":
        learner["learner_model_param"]["base_score"] = "[]"
    else:
        del learner["gradient_booster"]


@pytest.mark.parametrize(
    "what",
    ["an objective of its own", "a cycle", "a child past the end", "a feature past the end", "no base", "no trees",
     "lists of different lengths", "an output that is not there"],
)  # fmt: skip
def test_a_file_that_is_not_what_xgboost_writes_is_refused_before_xgboost_reads_it(tmp_path: Path, what: str) -> None:
    path = tmp_path / "model.json"
    train("reg:squarederror", rounds=1).save_model(path)
    found = json.loads(path.read_bytes())
    broken(what, found)
    path.write_text(json.dumps(found))
    with pytest.raises(ConversionError) as caught:
        read_model(path, Options())
    assert caught.value.code in {"import.xgboost", "import.tree"}


@pytest.mark.parametrize(
    ("data", "problem"),
    [
        (b'{"learner":' + b"[" * 100_000, "recursion|truncated|Expected"),
        (b'{"learner":{}}', "missing required field"),
        (b"{L\0\0\0\0\0\0\0\x07learner{" + b"U\x01a[" * 1, "ends"),
        (b"{U\x07learner{U\x01a" + b"[" * 100_000, "levels deep"),
        (b"{U\x07learner{U\x01a[$L#L\x7f\xff\xff\xff\xff\xff\xff\xff", "ends"),
        (b"{U\x07learner{U\x01a[#L\x7f\xff\xff\xff\xff\xff\xff\xff", "longer than the file"),
        (b"{U\x07learner{U\x01aSL\xff\xff\xff\xff\xff\xff\xff\xff", "ends"),
    ],
)
def test_hostile_bytes_are_refused(tmp_path: Path, data: bytes, problem: str) -> None:
    (tmp_path / "model").write_bytes(data)
    assert detect_framework(tmp_path / "model")[0] == "xgboost"
    with pytest.raises(ConversionError, match=problem):
        read_model(tmp_path / "model", Options())
