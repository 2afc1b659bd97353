"""Lowered support vector classifiers, and linear ones with a single score, against onnxruntime's own."""

from __future__ import annotations

import itertools
from typing import TYPE_CHECKING

import numpy as np
import pytest
from onnx import TensorProto, helper

from packager.hub import lower_ml
from tests.packager.hub.test_passes import form
from tests.packager.hub.test_trees import lowered, run, same

FEATURES, COUNTS = 4, (3, 5, 2, 4)
if TYPE_CHECKING:
    import onnx

KERNELS = ("LINEAR", "POLY", "RBF", "SIGMOID")


def classifier(
    classes: int, *, scores: int, linear: bool = False, words: bool = False, **more: object
) -> onnx.ModelProto:
    random = np.random.default_rng(classes)
    pairs = classes * (classes - 1) // 2
    counts = COUNTS[:classes]
    labels = {"classlabels_strings": [f"c{k}" for k in range(classes)]} if words else {
        "classlabels_ints": [10 - 3 * k for k in range(classes)]
    }  # fmt: skip
    draw = lambda *shape: random.standard_normal(shape).astype(np.float32).reshape(-1).tolist()  # noqa: E731 - one line
    machine = {"coefficients": draw(classes, FEATURES), "rho": [0.1]} if linear else {
        "coefficients": draw(classes - 1, sum(counts)), "support_vectors": draw(sum(counts), FEATURES),
        "vectors_per_class": list(counts), "rho": draw(pairs),
    }  # fmt: skip
    node = helper.make_node(
        "SVMClassifier",
        ["x"],
        ["label", "y"],
        domain="ai.onnx.ml",
        **{"kernel_params": [0.3, 0.5, 3.0]} | machine | labels | more,
    )
    kind = TensorProto.STRING if words else TensorProto.INT64
    return model(node, scores, kind)


def model(node: onnx.NodeProto, scores: int, kind: int) -> onnx.ModelProto:
    value = helper.make_tensor_value_info
    outputs = [value("label", kind, ["N"]), value("y", TensorProto.FLOAT, ["N", scores])]
    graph = helper.make_graph([node], "svm", [value("x", TensorProto.FLOAT, ["N", FEATURES])], outputs)
    domains = [helper.make_opsetid("", 17), helper.make_opsetid("ai.onnx.ml", 3)]
    return helper.make_model(graph, opset_imports=domains, ir_version=9)


def rows() -> np.ndarray:
    """Near the support vectors, far from them, and with zeros, infinities and NaN in every column."""
    random = np.random.default_rng(5)
    odd = np.array(list(itertools.product([0.0, -0.0, 1.5, np.inf, -np.inf, np.nan], repeat=2)), dtype=np.float32)
    beside = random.standard_normal((len(odd), FEATURES - 2)).astype(np.float32)
    scale = random.choice([0.01, 1, 30], (400, 1))
    return np.concatenate([random.standard_normal((400, FEATURES)) * scale, np.hstack([odd, beside])]).astype(
        np.float32
    )


@pytest.mark.parametrize("kernel", KERNELS)
@pytest.mark.parametrize("classes", [2, 3, 4])
@pytest.mark.parametrize("transform", ["NONE", "LOGISTIC", "SOFTMAX"])
def test_pairs_of_classes_decide_as_in_the_operator(transform: str, classes: int, kernel: str) -> None:
    scores = 2 if classes == 2 else classes * (classes - 1) // 2
    same(classifier(classes, scores=scores, kernel_type=kernel, post_transform=transform), rows())


@pytest.mark.parametrize("kernel", KERNELS)
@pytest.mark.parametrize("classes", [2, 3, 4])
@pytest.mark.parametrize("words", [False, True])
def test_probabilities_are_coupled_as_in_the_operator(classes: int, kernel: str, *, words: bool) -> None:
    pairs = classes * (classes - 1) // 2
    slopes, offsets = [-1.7, -0.4, -3.0, -0.9, -2.2, -1.0][:pairs], [0.1, -0.2, 0.3, 0.0, 1.0, -1.0][:pairs]
    probabilities = {"prob_a": slopes, "prob_b": offsets}
    same(classifier(classes, scores=classes, kernel_type=kernel, words=words, **probabilities), rows())


@pytest.mark.parametrize("degree", [1.0, 2.0, 3.0, 4.0, 5.0, 7.0])
def test_the_degree_of_a_polynomial_kernel(degree: float) -> None:
    same(classifier(3, scores=3, kernel_type="POLY", kernel_params=[0.3, 0.5, degree]), rows())


@pytest.mark.parametrize("transform", ["NONE", "LOGISTIC", "SOFTMAX"])
@pytest.mark.parametrize("classes", [2, 3])
def test_a_score_for_each_class(classes: int, transform: str) -> None:
    x = rows()[:400]
    same(classifier(classes, scores=classes, linear=True, post_transform=transform), x)
    weights = np.abs(np.random.default_rng(0).standard_normal(classes * FEATURES)).astype(np.float32).tolist()
    same(classifier(classes, scores=classes, linear=True, post_transform=transform, coefficients=weights), x)


@pytest.mark.parametrize("transform", ["NONE", "LOGISTIC", "SOFTMAX"])
def test_a_linear_classifier_of_two_labels_with_one_score(transform: str) -> None:
    node = helper.make_node(
        "LinearClassifier", ["x"], ["label", "y"], domain="ai.onnx.ml", coefficients=[0.5, -1.0, 2.0, 0.1],
        intercepts=[0.3], classlabels_ints=[7, 3], post_transform=transform,
    )  # fmt: skip
    same(model(node, 2, TensorProto.INT64), rows()[:400])


def test_columns_taken_from_a_lowered_classifier_are_lowered_too() -> None:
    first = classifier(3, scores=3)
    node = helper.make_node("ArrayFeatureExtractor", ["y", "i"], ["z"], domain="ai.onnx.ml")
    first.graph.node.append(node)
    first.graph.initializer.append(helper.make_tensor("i", TensorProto.INT64, [2], [2, 0]))
    del first.graph.output[:]
    first.graph.output.append(helper.make_tensor_value_info("z", TensorProto.FLOAT, ["N", 2]))
    np.testing.assert_array_equal(run(lowered(first), rows()[:50])[0], run(first, rows()[:50])[0])


def test_what_is_declined_has_its_reason() -> None:
    unsaid = classifier(2, scores=2, post_transform="PROBIT")
    (finding,) = lower_ml.declined(unsaid)
    assert (finding.node, finding.operator) == ("label", "ai.onnx.ml.SVMClassifier")
    assert finding.reason == "onnxruntime leaves the second score undefined (PROBIT of one score)"
    assert [node.op_type for node in lower_ml.run(unsaid, form()).graph.node] == ["SVMClassifier"]


def test_a_model_of_an_old_opset_is_lowered_all_the_same() -> None:
    old = classifier(3, scores=3)
    old.opset_import[0].version = 9
    assert not lower_ml.declined(old)
    expected = run(old, rows()[:50])
    new = lower_ml.run(old, form(7, 21))
    assert not [node.op_type for node in new.graph.node if node.domain]
    np.testing.assert_array_equal(run(new, rows()[:50])[0], expected[0])
