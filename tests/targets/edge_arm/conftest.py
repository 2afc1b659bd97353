"""Networks on real digits, and how far a shipped file of them is from the source."""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np
import pytest
from onnx import helper
from sklearn.datasets import load_digits
from sklearn.linear_model import LogisticRegression
from sklearn.neural_network import MLPClassifier

if TYPE_CHECKING:
    from collections.abc import Callable

    import onnx
    from numpy.typing import NDArray

    Build = Callable[..., onnx.ModelProto]
    Tensors = dict[str, NDArray]
    Reference = Callable[[onnx.ModelProto, Tensors], Tensors]
    Digits = tuple[onnx.ModelProto, list[NDArray[np.float32]], list[NDArray[np.float32]]]

SEEN = 300
"""Digits that the networks learn from and are calibrated with; those after them are held back."""


def _floats(*arrays: NDArray[np.floating]) -> list[NDArray[np.float32]]:
    return [array.astype(np.float32) for array in arrays]


@pytest.fixture(scope="module")
def pictures() -> tuple[NDArray[np.float32], NDArray[np.int64]]:
    found = load_digits()
    return (found.data[:400] / 16).astype(np.float32), found.target[:400]


@pytest.fixture
def digits_mlp(build: Build, pictures: tuple[NDArray, NDArray]) -> Digits:
    data, labels = pictures
    net = MLPClassifier((32,), random_state=0, learning_rate_init=0.02, tol=1e-3).fit(data[:SEEN], labels[:SEEN])
    nodes = [
        helper.make_node("Gemm", ["x", "w1", "b1"], ["h"]),
        helper.make_node("Relu", ["h"], ["r"]),
        helper.make_node("Gemm", ["r", "w2", "b2"], ["l"]),
        helper.make_node("Softmax", ["l"], ["y"]),
    ]
    constants = dict(zip(("w1", "w2", "b1", "b2"), _floats(*net.coefs_, *net.intercepts_), strict=True))
    calls = [row[None] for row in data]
    return build(nodes, {"x": [1, 64]}, {"y": [1, 10]}, constants), calls[:SEEN], calls[SEEN:]


@pytest.fixture
def digits_cnn(build: Build, pictures: tuple[NDArray, NDArray], reference: Reference) -> Digits:
    """Random convolutions, plain and depthwise, under a trained last layer."""
    data, labels = pictures
    calls = [row.reshape(1, 1, 8, 8) for row in data]
    random = np.random.default_rng(0)
    plain, depthwise = _floats(*random.standard_normal((2, 16, 1, 3, 3)) / 3)
    nodes = [
        helper.make_node("Conv", ["x", "plain"], ["c"], pads=[1, 1, 1, 1]),
        helper.make_node("Relu", ["c"], ["r"]),
        helper.make_node("Conv", ["r", "depthwise"], ["d"], group=16, strides=[2, 2], pads=[1, 1, 1, 1]),
        helper.make_node("Relu", ["d"], ["e"]),
        helper.make_node("Flatten", ["e"], ["features"]),
    ]
    constants = {"plain": plain, "depthwise": depthwise}
    body = build(nodes, {"x": [SEEN, 1, 8, 8]}, {"features": [SEEN, 256]}, constants)
    features = reference(body, {"x": np.concatenate(calls[:SEEN])})["features"]
    last = LogisticRegression(max_iter=300).fit(features, labels[:SEEN])
    constants["w"], constants["b"] = _floats(last.coef_.T, last.intercept_)
    nodes += [helper.make_node("Gemm", ["features", "w", "b"], ["l"]), helper.make_node("Softmax", ["l"], ["y"])]
    return build(nodes, {"x": [1, 1, 8, 8]}, {"y": [1, 10]}, constants), calls[:SEEN], calls[SEEN:]


@pytest.fixture
def digits_lstm(build: Build, pictures: tuple[NDArray, NDArray]) -> Digits:
    """Each row of a picture is a step; what comes out is the last state."""
    calls = [row.reshape(8, 1, 8) for row in pictures[0]]
    random = np.random.default_rng(0)
    nodes = [
        helper.make_node("LSTM", ["x", "w", "r"], ["all", "last"], hidden_size=16),
        helper.make_node("Reshape", ["last", "shape"], ["y"]),
    ]
    w, r = _floats(random.standard_normal((1, 64, 8)) / 3, random.standard_normal((1, 64, 16)) / 4)
    model = build(nodes, {"x": [8, 1, 8]}, {"y": [1, 16]}, {"w": w, "r": r, "shape": np.array([-1, 16])})
    return model, calls[:SEEN], calls[SEEN:]
