from __future__ import annotations

import json
from typing import TYPE_CHECKING, Any

import catboost
import numpy as np
import pytest

from packager.errors import ConversionError
from packager.importers._importer import Options
from packager.importers.catboost import read_model
from packager.importers.detection import detect_framework
from tests.packager.importers.ensembles import questions, target, training_rows, worst_difference

if TYPE_CHECKING:
    from pathlib import Path

ROWS = training_rows(missing=True)
VALUES = target(ROWS)
POSITIVE = np.exp(VALUES / 3)
TWO = (VALUES.mean() < VALUES).astype(int)
THREE = np.digitize(VALUES, [0.5, 1.5])

CASES: dict[str, tuple[dict[str, Any], Any]] = {
    **{name: ({}, VALUES) for name in ("RMSE", "MAE", "Quantile:alpha=0.3", "Huber:delta=1", "LogCosh")},
    **{name: ({}, POSITIVE) for name in ("Poisson", "Tweedie:variance_power=1.5")},
    **{name: ({}, TWO) for name in ("Logloss", "Focal:focal_alpha=0.5;focal_gamma=1", "YetiRank")},
    "CrossEntropy": ({}, 1 / (1 + np.exp(-VALUES))),
    **{name: ({}, THREE) for name in ("MultiClass", "MultiClassOneVsAll")},
    "MultiRMSE": ({}, np.stack([VALUES, -VALUES], axis=1)),
    "MultiQuantile:alpha=0.1,0.5": ({}, VALUES),
    "MultiLogloss": ({}, np.stack([VALUES > 0, VALUES > 1], axis=1).astype(int)),
    "words": ({"loss_function": "MultiClass"}, np.array(["ash", "birch", "cedar"])[THREE]),
    "leaf by leaf": ({"grow_policy": "Lossguide"}, VALUES),
    "leaf by leaf, three classes": ({"grow_policy": "Lossguide", "loss_function": "MultiClass"}, THREE),
    "level by level": ({"grow_policy": "Depthwise"}, VALUES),
    "gaps are largest": ({"nan_mode": "Max"}, VALUES),
    "no gaps": ({}, VALUES),
    "large values": ({}, VALUES * 1e6 + 1e7),
}


def train(name: str, rows: np.ndarray = ROWS, **more: object) -> catboost.CatBoost:
    parameters, values = CASES[name]
    if name[0].isupper():
        parameters = {"loss_function": name, **parameters}
    if name == "no gaps":
        rows = training_rows(missing=False)
    groups = np.repeat(range(10), 60) if name == "YetiRank" else None
    quiet = {"verbose": 0, "thread_count": 1, "allow_writing_files": False, "iterations": 8, "depth": 4}
    return catboost.CatBoost({**quiet, **parameters, **more}).fit(catboost.Pool(rows, values, group_id=groups))


@pytest.mark.parametrize("name", CASES)
def test_an_imported_model_predicts_what_catboost_does(tmp_path: Path, name: str) -> None:
    model = train(name)
    for suffix in ("cbm", "json"):
        path = tmp_path / f"model.{suffix}"
        model.save_model(str(path), format=suffix)
        assert detect_framework(path) == ("catboost", path)
        imported = read_model(path, Options())
        assert worst_difference(imported, questions(imported.model, infinite=True)) < 2e-6
        if name == "words":
            assert imported.task.labels == ("ash", "birch", "cedar")


def test_features_that_are_no_numbers_are_refused_by_name(tmp_path: Path) -> None:
    columns = [[f"{value:.0f}", value] for value in ROWS[:100, 5]]
    model = catboost.CatBoost({"verbose": 0, "thread_count": 1, "allow_writing_files": False, "iterations": 2})
    model.fit(catboost.Pool(columns, VALUES[:100], cat_features=[0], feature_names=["tree", "height"]))
    model.save_model(str(tmp_path / "model.cbm"))
    with pytest.raises(ConversionError, match=r"no numbers can't be imported, nor can CatBoost export them.*: tree"):
        read_model(tmp_path / "model.cbm", Options())


def test_a_loss_with_predictions_of_its_own_is_refused_by_name(tmp_path: Path) -> None:
    train("RMSE", loss_function="RMSEWithUncertainty").save_model(str(tmp_path / "model.cbm"))
    with pytest.raises(ConversionError, match="'RMSEWithUncertainty' can't be imported"):
        read_model(tmp_path / "model.cbm", Options())


def broken(what: str, found: dict[str, Any]) -> None:
    tree = found["oblivious_trees"][0]
    if what == "a value too few":
        tree["leaf_values"].pop()
    elif what == "a feature that is not there":
        tree["splits"][0]["float_feature_index"] = 99
    elif what == "a feature beyond all numbers":
        tree["splits"][0]["float_feature_index"] = 2**63
    elif what == "a split of another kind":
        tree["splits"][0]["split_type"] = "OnlineCtr"
    elif what == "too many splits":
        tree["splits"] *= 20
    else:
        found["features_info"]["float_features"][0]["flat_feature_index"] = 1


@pytest.mark.parametrize(
    "what",
    [
        "a value too few",
        "a feature that is not there",
        "a feature beyond all numbers",
        "a split of another kind",
        "too many splits",
        "a feature twice",
    ],
)
def test_a_file_that_is_not_what_catboost_writes_is_refused_before_catboost_reads_it(tmp_path: Path, what: str) -> None:
    path = tmp_path / "model.json"
    train("RMSE").save_model(str(path), format="json")
    found = json.loads(path.read_bytes())
    broken(what, found)
    path.write_text(json.dumps(found))
    with pytest.raises(ConversionError) as caught:
        read_model(path, Options())
    assert caught.value.code == "import.catboost"


@pytest.mark.parametrize("data", [b"CBM1", b"CBM1" + b"\xff" * 64, b'{"trees":' + b'[{"left":' * 100_000])
def test_hostile_bytes_are_refused(tmp_path: Path, data: bytes) -> None:
    (tmp_path / "model").write_bytes(data)
    assert detect_framework(tmp_path / "model")[0] == "catboost"
    with pytest.raises(ConversionError):
        read_model(tmp_path / "model", Options())
