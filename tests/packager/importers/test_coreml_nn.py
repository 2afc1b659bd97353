from __future__ import annotations

from typing import TYPE_CHECKING, Any

import numpy as np
import onnx
import onnxruntime
import pytest
from scipy.signal import correlate2d
from sklearn.ensemble import RandomForestClassifier, RandomForestRegressor
from sklearn.linear_model import LogisticRegression

from packager.errors import ConversionError
from packager.importers._importer import Options
from packager.importers.coreml_nn import read_model
from packager.importers.detection import detect_framework

if TYPE_CHECKING:
    from collections.abc import Callable
    from pathlib import Path

pytestmark = pytest.mark.filterwarnings("ignore::DeprecationWarning")

RANDOM = np.random.default_rng(0)
MAP = RANDOM.normal(size=(3, 7, 6)).astype(np.float32)
KERNEL = RANDOM.normal(size=(3, 3, 3, 4)).astype(np.float32)
"""As coremltools takes it: rows, columns, inputs, outputs."""
SHIFT = RANDOM.normal(size=4).astype(np.float32)
DENSE = RANDOM.normal(size=(5, 126)).astype(np.float32)
THREE = RANDOM.random(3).astype(np.float32) + 0.5
STATES = RANDOM.random((4, 3)).astype(np.float32) + 0.5


def convolved(array: np.ndarray, pads: tuple[int, int, int, int], step: int) -> np.ndarray:
    top, bottom, left, right = pads
    padded = np.pad(array, ((0, 0), (top, bottom), (left, right)))
    maps = [
        sum(correlate2d(padded[channel], KERNEL[:, :, channel, out], mode="valid") for channel in range(3))
        for out in range(4)
    ]
    return np.stack(maps)[:, ::step, ::step] + SHIFT[:, None, None]


def windows(array: np.ndarray, reduce: Callable[..., np.ndarray], step: int = 2) -> np.ndarray:
    """Windows of 2 x 2; the last ones may hang over."""
    rows = range(0, array.shape[1], step)
    columns = range(0, array.shape[2], step)
    return np.stack([[reduce(array[:, r : r + 2, c : c + 2], axis=(1, 2)) for c in columns] for r in rows]).transpose(
        2, 0, 1
    )


def conv(builder: Any, border: str, step: int, mode: str = "BOTTOM_RIGHT_HEAVY") -> None:  # noqa: ANN401 - coremltools has no types
    builder.add_convolution(
        "l", 3, 4, 3, 3, step, step, border, 1, KERNEL, SHIFT, True,  # noqa: FBT003 - has_bias
        input_name="x", output_name="y", same_padding_asymmetry_mode=mode,
    )  # fmt: skip


by_channel = THREE[:, None, None]
CASES: dict[str, tuple[Callable[[Any], object], np.ndarray]] = {
    "convolution": (lambda b: conv(b, "valid", 1), convolved(MAP, (0, 0, 0, 0), 1)),
    "convolution, same": (lambda b: conv(b, "same", 1), convolved(MAP, (1, 1, 1, 1), 1)),
    "convolution, same, steps": (lambda b: conv(b, "same", 2), convolved(MAP, (1, 1, 0, 1), 2)),
    "convolution, same, top heavy": (
        lambda b: conv(b, "same", 2, "TOP_LEFT_HEAVY"), convolved(MAP, (1, 1, 1, 0), 2),
    ),
    "relu": (lambda b: b.add_activation("l", "RELU", "x", "y"), np.maximum(MAP, 0)),
    "leaky": (lambda b: b.add_activation("l", "LEAKYRELU", "x", "y", [0.1]), np.where(MAP > 0, MAP, 0.1 * MAP)),
    "threshold": (lambda b: b.add_activation("l", "THRESHOLDEDRELU", "x", "y", 0.5), np.where(MAP >= 0.5, MAP, 0)),
    "prelu": (
        lambda b: b.add_activation("l", "PRELU", "x", "y", THREE), np.where(MAP > 0, MAP, by_channel * MAP),
    ),
    "elu": (lambda b: b.add_activation("l", "ELU", "x", "y", 0.7), np.where(MAP > 0, MAP, 0.7 * np.expm1(MAP))),
    "hard sigmoid": (
        lambda b: b.add_activation("l", "SIGMOID_HARD", "x", "y", [0.3, 0.4]), np.clip(0.3 * MAP + 0.4, 0, 1),
    ),
    "scaled tanh": (lambda b: b.add_activation("l", "SCALED_TANH", "x", "y", [2, 0.5]), 2 * np.tanh(0.5 * MAP)),
    "linear": (lambda b: b.add_activation("l", "LINEAR", "x", "y", [2, 0.5]), 2 * MAP + 0.5),
    "parametric softplus": (
        lambda b: b.add_activation("l", "PARAMETRICSOFTPLUS", "x", "y", [THREE, THREE]),
        by_channel * np.log1p(np.exp(by_channel * MAP)),
    ),
    "largest": (lambda b: b.add_pooling("l", 2, 2, 2, 2, "MAX", "VALID", "x", "y"), windows(MAP[:, :6], np.max)),
    "largest, last too": (
        lambda b: b.add_pooling("l", 2, 2, 2, 2, "MAX", "INCLUDE_LAST_PIXEL", "x", "y", padding_top=0, padding_left=0),
        windows(MAP, np.max),
    ),
    "mean": (lambda b: b.add_pooling("l", 2, 2, 2, 2, "AVERAGE", "VALID", "x", "y"), windows(MAP[:, :6], np.mean)),
    "mean of all": (
        lambda b: b.add_pooling("l", 1, 1, 1, 1, "AVERAGE", "VALID", "x", "y", is_global=True),
        MAP.mean(axis=(1, 2), keepdims=True),
    ),
    "dense": (
        lambda b: b.add_inner_product("l", DENSE, SHIFT[[0, 1, 2, 3, 0]], 126, 5, True, "x", "y"),  # noqa: FBT003 - has_bias
        (DENSE @ MAP.reshape(-1) + SHIFT[[0, 1, 2, 3, 0]]).reshape(5, 1, 1),
    ),
    "batchnorm": (
        lambda b: b.add_batchnorm("l", 3, *STATES, input_name="x", output_name="y", epsilon=1e-3),
        (MAP - STATES[2][:, None, None]) / np.sqrt(STATES[3] + 1e-3)[:, None, None] * STATES[0][:, None, None]
        + STATES[1][:, None, None],
    ),
    "padding": (lambda b: b.add_padding("l", 1, 2, 0, 1, 0.5, "x", "y"),
                np.pad(MAP, ((0, 0), (0, 1), (1, 2)), constant_values=0.5)),
    "reflection": (lambda b: b.add_padding("l", 1, 2, 0, 1, 0, "x", "y", padding_type="reflection"),
                   np.pad(MAP, ((0, 0), (0, 1), (1, 2)), mode="reflect")),
    "upsampling": (lambda b: b.add_upsample("l", 2, 3, "x", "y"), MAP.repeat(2, axis=1).repeat(3, axis=2)),
    "scale": (
        lambda b: b.add_scale("l", THREE, THREE, True, "x", "y", [3], [3]), MAP * by_channel + by_channel,  # noqa: FBT003 - has_bias
    ),
    "bias": (lambda b: b.add_bias("l", THREE, "x", "y", [3]), MAP + by_channel),
    "product with itself": (lambda b: b.add_elementwise("l", ["x", "x"], "y", "MULTIPLY"), MAP * MAP),
    "sum with a number": (lambda b: b.add_elementwise("l", ["x"], "y", "ADD", 2.5), MAP + 2.5),
    "inverse": (
        lambda b: b.add_unary("l", "x", "y", "inverse", scale=2, shift=20, epsilon=1e-3), 1 / (2 * MAP + 20 + 1e-3),
    ),
    "power": (lambda b: b.add_unary("l", "x", "y", "power", alpha=2, shift=1), (MAP + 1) ** 2),
    "flat": (lambda b: b.add_flatten("l", 0, "x", "y"), MAP.reshape(-1, 1, 1)),
    "flat, channels last": (lambda b: b.add_flatten("l", 1, "x", "y"), MAP.transpose(1, 2, 0).reshape(-1, 1, 1)),
    "other axes": (lambda b: b.add_permute("l", (0, 2, 3, 1), "x", "y"), MAP.transpose(1, 2, 0)),
    "other sizes": (lambda b: b.add_reshape("l", "x", "y", (6, 7, 3), 0), MAP.reshape(6, 7, 3)),
    "twice": (lambda b: b.add_elementwise("l", ["x", "x"], "y", "CONCAT"), np.concatenate([MAP, MAP])),
    "slice": (lambda b: b.add_slice("l", "x", "y", "height", 1, -1, 2), MAP[:, 1::2]),
    "softmax": (
        lambda b: b.add_softmax("l", "x", "y"), np.exp(MAP) / np.exp(MAP).sum(axis=0, keepdims=True),
    ),
    "sum of rows and columns": (
        lambda b: b.add_reduce("l", "x", "y", "HW", "sum"), MAP.sum(axis=(1, 2), keepdims=True),
    ),
    "unit length": (
        lambda b: b.add_l2_normalize("l", "x", "y", epsilon=1e-6), MAP / np.sqrt((MAP**2).sum() + 1e-6),
    ),
}  # fmt: skip


def built(add: Callable[[Any], object], path: Path, shape: tuple[int, ...] = MAP.shape) -> Any:  # noqa: ANN401 - likewise
    from coremltools.models import datatypes
    from coremltools.models.neural_network import NeuralNetworkBuilder

    builder = NeuralNetworkBuilder([("x", datatypes.Array(*shape))], [("y", None)])
    add(builder)
    path.write_bytes(builder.spec.SerializeToString())
    return builder


@pytest.mark.parametrize("name", CASES)
def test_a_layer_computes_what_its_documentation_says(tmp_path: Path, name: str) -> None:
    add, expected = CASES[name]
    built(add, tmp_path / "model.mlmodel")
    assert detect_framework(tmp_path / "model.mlmodel") == ("coreml_nn", tmp_path / "model.mlmodel")
    imported = read_model(tmp_path / "model.mlmodel", Options())
    assert imported.predict is None
    assert "not compared with Core ML" in imported.notes[0]
    onnx.checker.check_model(imported.model, full_check=True)
    batch = np.stack([MAP, MAP])
    (got,) = onnxruntime.InferenceSession(imported.model.SerializeToString()).run(None, {"x": batch})
    np.testing.assert_allclose(got.reshape(2, *expected.shape)[1], expected, rtol=1e-4, atol=1e-5)


def test_a_layer_that_is_not_known_is_refused_by_name(tmp_path: Path) -> None:
    built(lambda b: b.add_resize_bilinear("grown", "x", "y"), tmp_path / "model")
    with pytest.raises(ConversionError, match="layer 'grown' is a resizeBilinear"):
        read_model(tmp_path / "model", Options())


def stored_trees(model: Any, forest: Any, features: int) -> None:  # noqa: ANN401 - likewise
    """A forest of scikit-learn's in a TreeEnsemble message."""
    import coremltools.proto.FeatureTypes_pb2 as types

    feature = model.description.input.add(name="x")
    feature.type.multiArrayType.shape.append(features)
    feature.type.multiArrayType.dataType = types.ArrayFeatureType.DOUBLE
    kind = "treeEnsembleClassifier" if hasattr(forest, "classes_") else "treeEnsembleRegressor"
    ensemble = getattr(model, kind).treeEnsemble
    outputs = len(forest.classes_) if hasattr(forest, "classes_") else 1
    ensemble.numPredictionDimensions = outputs
    for number, member in enumerate(forest.estimators_):
        tree = member.tree_
        for node in range(tree.node_count):
            entry = ensemble.nodes.add(treeId=number, nodeId=node)
            if tree.children_left[node] == -1:
                entry.nodeBehavior = 6
                for output in range(outputs):
                    value = tree.value[node, 0, output] / len(forest.estimators_)
                    entry.evaluationInfo.add(evaluationIndex=output, evaluationValue=value)
                continue
            entry.nodeBehavior = (0, 3)[node % 2]
            ways = int(tree.children_left[node]), int(tree.children_right[node])
            entry.trueChildNodeId, entry.falseChildNodeId = ways if node % 2 == 0 else ways[::-1]
            entry.branchFeatureIndex, entry.branchFeatureValue = tree.feature[node], tree.threshold[node]
    if hasattr(forest, "classes_"):
        getattr(model, kind).int64ClassLabels.vector.extend(int(label) for label in forest.classes_)


@pytest.mark.parametrize("kind", ["classifier", "regressor"])
def test_trees_predict_what_the_forest_does_that_they_were_written_from(tmp_path: Path, kind: str) -> None:
    import coremltools.proto.Model_pb2 as messages

    rows = RANDOM.normal(size=(200, 4)).astype(np.float32)
    labels = (rows[:, 0] > 0).astype(int) + (rows[:, 1] > 0.5)
    forest = (RandomForestClassifier if kind == "classifier" else RandomForestRegressor)(4, random_state=0)
    forest.fit(rows, labels)
    model = messages.Model(specificationVersion=1)
    stored_trees(model, forest, 4)
    (tmp_path / "model").write_bytes(model.SerializeToString())
    imported = read_model(tmp_path / "model", Options())
    (got,) = onnxruntime.InferenceSession(imported.model.SerializeToString()).run(None, {"x": rows})
    expected = forest.predict_proba(rows) if kind == "classifier" else forest.predict(rows)[:, None]
    np.testing.assert_allclose(got, expected, rtol=1e-5, atol=1e-6)
    assert imported.task.labels == (("0", "1", "2") if kind == "classifier" else ())


def test_a_linear_classifier_predicts_what_it_was_written_from(tmp_path: Path) -> None:
    import coremltools.proto.Model_pb2 as messages

    rows = RANDOM.normal(size=(200, 4)).astype(np.float32)
    source = LogisticRegression().fit(rows, np.where(rows[:, 0] > 0, "yes", "no"))
    model = messages.Model(specificationVersion=1)
    model.description.input.add(name="x").type.multiArrayType.shape.append(4)
    model.glmClassifier.weights.add(value=source.coef_[0].tolist())
    model.glmClassifier.offset.append(float(source.intercept_[0]))
    model.glmClassifier.stringClassLabels.vector.extend(["no", "yes"])
    (tmp_path / "model").write_bytes(model.SerializeToString())
    imported = read_model(tmp_path / "model", Options())
    assert imported.task.labels == ("no", "yes")
    (got,) = onnxruntime.InferenceSession(imported.model.SerializeToString()).run(None, {"x": rows})
    np.testing.assert_allclose(got, source.predict_proba(rows), rtol=1e-5, atol=1e-6)


@pytest.mark.parametrize("data", [b"\x08\x01\xa2\x1f\x02\xff\xff", b"\x08\x01\xa2\x1f\x00", b"\x08\x01\xca\x0c\x00"])
def test_a_file_that_is_no_such_model_is_refused(tmp_path: Path, data: bytes) -> None:
    (tmp_path / "model").write_bytes(data)
    assert detect_framework(tmp_path / "model")[0] == "coreml_nn"
    with pytest.raises(ConversionError) as caught:
        read_model(tmp_path / "model", Options())
    assert caught.value.code == "import.coreml_nn"


@pytest.mark.parametrize("damage", ["no function", "no output", "a kind of pool that there is not"])
def test_a_layer_like_none_of_its_kind_is_refused_by_name(tmp_path: Path, damage: str) -> None:
    import coremltools.proto.Model_pb2 as messages

    model = messages.Model(specificationVersion=1)
    model.description.input.add(name="x").type.multiArrayType.shape.append(4)
    layer = model.neuralNetwork.layers.add(name="odd", input=["x"], output=["y"])
    if damage == "no function":
        layer.activation.SetInParent()
    elif damage == "no output":
        layer.softmax.SetInParent()
        del layer.output[:]
    else:
        layer.pooling.type = 7
    (tmp_path / "model").write_bytes(model.SerializeToString())
    with pytest.raises(ConversionError, match="layer 'odd'") as caught:
        read_model(tmp_path / "model", Options())
    assert caught.value.code == "import.coreml_nn"
