"""What tests of boosted trees ask them: rows that sit on thresholds, and ones with nothing, zeros and infinities."""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np
import onnxruntime
from onnx import helper

from packager.measures.parity import compare_outputs

if TYPE_CHECKING:
    import onnx

    from packager.importers._importer import Imported

FEATURES = 6
CATEGORIES = 12


def training_rows(*, missing: bool) -> np.ndarray:
    """(600, 6): four are normal, one is small whole numbers about zero, the last the number of a category."""
    random = np.random.default_rng(0)
    rows = random.normal(size=(600, FEATURES))
    rows[:, 4] = random.integers(-2, 3, 600)
    rows[:, 5] = random.integers(0, CATEGORIES, 600)
    if missing:
        rows[random.random(rows.shape) < 0.1] = np.nan
    return rows


def target(rows: np.ndarray) -> np.ndarray:
    known = np.nan_to_num(rows)
    noise = np.random.default_rng(1).normal(size=len(rows)) * 0.1
    return known[:, 0] + known[:, 1] ** 2 + (known[:, 5] % 3 == 1) * 2 + noise


def questions(model: onnx.ModelProto, *, infinite: bool) -> np.ndarray:
    """Rows on and beside thresholds of the model's trees, and the training rows with and without gaps."""
    rows = [training_rows(missing=True), training_rows(missing=False), np.full((1, 6), np.nan), np.zeros((1, 6))]
    if infinite:
        rows += [np.full((1, FEATURES), np.inf), np.full((1, FEATURES), -np.inf)]
    for node in model.graph.node:
        if node.op_type != "TreeEnsembleRegressor":
            continue
        attributes = {entry.name: helper.get_attribute_value(entry) for entry in node.attribute}
        pairs = zip(attributes["nodes_featureids"], attributes["nodes_values"], attributes["nodes_modes"], strict=True)
        for feature, value, mode in sorted(set(pairs))[:600]:
            if mode == b"LEAF" or feature >= FEATURES - 1:
                continue
            for near in (value, np.nextafter(np.float32(value), np.float32(9)), np.nextafter(np.float32(value), -9.0)):
                rows.append(np.zeros((1, FEATURES)))
                rows[-1][0, feature] = near
    return np.vstack(rows).astype(np.float32)


def worst_difference(imported: Imported, rows: np.ndarray) -> float:
    """Between the framework's predictions and those of the imported model, relative to the largest."""
    session = onnxruntime.InferenceSession(imported.model.SerializeToString())
    names = [entry.name for entry in session.get_outputs()]
    ours = dict(zip(names, session.run(names, {"x": rows}), strict=True))
    assert imported.predict is not None
    assert imported.task.output in ours
    return max(entry.max_relative for entry in compare_outputs(imported.predict({"x": rows}), ours))
