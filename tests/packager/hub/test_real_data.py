"""Lowered models trained on real data, and rows on their thresholds: the same labels, scores within a millionth."""

from __future__ import annotations

import warnings
from typing import TYPE_CHECKING

import numpy as np
import pytest

from packager.hub import lower_ml
from tests.packager.hub.ort import run_all
from tests.packager.hub.test_trees import lowered

if TYPE_CHECKING:
    from collections.abc import Callable

    import onnx

OPSETS = {"": 17, "ai.onnx.ml": 3}


def digits() -> tuple[np.ndarray, np.ndarray]:
    from sklearn.datasets import load_digits

    x, y = load_digits(return_X_y=True)
    return x.astype(np.float32), y


def cancer() -> tuple[np.ndarray, np.ndarray]:
    from sklearn.datasets import load_breast_cancer

    x, y = load_breast_cancer(return_X_y=True)
    return (x / x.std(axis=0)).astype(np.float32), y


def scikit(model: object, data: Callable[[], tuple[np.ndarray, np.ndarray]]) -> tuple[onnx.ModelProto, np.ndarray]:
    from skl2onnx import to_onnx
    from skl2onnx.common.data_types import FloatTensorType

    x, y = data()
    with warnings.catch_warnings(action="ignore"):  # of options that scikit-learn will drop
        trained = model.fit(x, y)
        kind = [("x", FloatTensorType([None, x.shape[1]]))]
        return to_onnx(trained, initial_types=kind, options={"zipmap": False}, target_opset=OPSETS), x


def forest() -> tuple[onnx.ModelProto, np.ndarray]:
    from sklearn.ensemble import RandomForestClassifier

    return scikit(RandomForestClassifier(30, random_state=0), digits)


def boosting() -> tuple[onnx.ModelProto, np.ndarray]:
    from sklearn.ensemble import GradientBoostingClassifier

    return scikit(GradientBoostingClassifier(n_estimators=20, random_state=0), cancer)


def machine() -> tuple[onnx.ModelProto, np.ndarray]:
    from sklearn.svm import SVC

    return scikit(SVC(gamma=0.001, probability=True, random_state=0), digits)


def linear_machine() -> tuple[onnx.ModelProto, np.ndarray]:
    from sklearn.svm import SVC

    return scikit(SVC(kernel="linear"), cancer)


def light() -> tuple[onnx.ModelProto, np.ndarray]:
    import lightgbm
    from onnxmltools import convert_lightgbm
    from onnxmltools.convert.common.data_types import FloatTensorType

    x, y = cancer()
    x[np.random.default_rng(0).random(x.shape) < 0.2] = np.nan
    trained = lightgbm.LGBMClassifier(n_estimators=20, verbose=-1, n_jobs=1).fit(x, y)
    kind = [("x", FloatTensorType([None, x.shape[1]]))]
    return convert_lightgbm(trained, initial_types=kind, target_opset=15, zipmap=False), x


def on_thresholds(model: onnx.ModelProto, x: np.ndarray) -> np.ndarray:
    """Rows of the data with thresholds of the model, the numbers beside them, NaN and infinity in some places."""
    random = np.random.default_rng(1)
    splits = [entry.floats for node in model.graph.node for entry in node.attribute if entry.name == "nodes_values"]
    found = np.unique(np.concatenate([np.array(values, dtype=np.float32) for values in splits] or [np.zeros(1)]))
    odd = np.float32([np.nan, np.inf, -np.inf, 0.0])
    special = np.concatenate([found, np.nextafter(found, -np.inf), np.nextafter(found, np.inf), odd]).astype(np.float32)
    return np.where(random.random(x.shape) < 0.3, random.choice(special, x.shape), x).astype(np.float32)


@pytest.mark.parametrize("make", [forest, boosting, machine, linear_machine, light])
def test_labels_are_the_same_and_scores_within_a_millionth(
    make: Callable[[], tuple[onnx.ModelProto, np.ndarray]],
) -> None:
    model, x = make()
    assert not lower_ml.declined(model)
    own = lowered(model)
    for rows in (x, on_thresholds(model, x)):
        label, scores = run_all(model, {"x": rows})
        our_label, our_scores = run_all(own, {"x": rows})
        np.testing.assert_array_equal(our_label, label)
        np.testing.assert_allclose(our_scores, scores, rtol=1e-6, atol=1e-6)
