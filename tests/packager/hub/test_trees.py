"""Lowered tree ensembles against onnxruntime's own, on inputs that sit on thresholds."""

from __future__ import annotations

import numpy as np
import onnx
import onnxruntime
import pytest

from packager.hub import lower_ml
from tests.packager.hub.ensembles import MODES, adversarial, classifier, grown, regressor, tree_ensemble
from tests.packager.hub.test_passes import form

SCORES = 1e-6


def run(model: onnx.ModelProto, x: np.ndarray) -> list[np.ndarray]:
    options = onnxruntime.SessionOptions()
    options.graph_optimization_level = onnxruntime.GraphOptimizationLevel.ORT_DISABLE_ALL
    options.intra_op_num_threads = 1
    session = onnxruntime.InferenceSession(model.SerializeToString(), options, ["CPUExecutionProvider"])
    return list(session.run(None, {"x": x}))


def lowered(model: onnx.ModelProto) -> onnx.ModelProto:
    copy = onnx.ModelProto()
    copy.CopyFrom(model)
    result = lower_ml.run(copy, form())
    assert not [node.op_type for node in result.graph.node if node.domain]
    onnx.checker.check_model(result, full_check=True)
    return result


def same(model: onnx.ModelProto, x: np.ndarray) -> None:
    *labels, scores = run(model, x)
    *our_labels, our_scores = run(lowered(model), x)
    np.testing.assert_allclose(our_scores, scores, rtol=SCORES, atol=SCORES)
    assert our_scores.dtype == scores.dtype
    for ours, theirs in zip(our_labels, labels, strict=True):
        np.testing.assert_array_equal(ours, theirs)


@pytest.mark.parametrize("missing", [False, True])
@pytest.mark.parametrize("modes", [*((mode,) for mode in MODES), MODES], ids=[*MODES, "mixed"])
def test_every_mode_decides_as_in_the_ensemble(modes: tuple[str, ...], *, missing: bool) -> None:
    for seed in range(3):
        same(regressor(grown(modes=modes, missing=missing, seed=seed)), adversarial())


@pytest.mark.parametrize("base", [0, 1])
@pytest.mark.parametrize("targets", [1, 3])
@pytest.mark.parametrize("aggregate", ["SUM", "AVERAGE", "MIN", "MAX"])
@pytest.mark.parametrize("transform", ["NONE", "LOGISTIC", "SOFTMAX", "SOFTMAX_ZERO"])
def test_every_aggregate_and_transform_of_a_regressor(aggregate: str, transform: str, targets: int, base: int) -> None:
    base_values = {"base_values": [0.3, -0.2, 0.1][:targets]} if base else {}
    model = regressor(grown(), targets, aggregate_function=aggregate, post_transform=transform, **base_values)
    same(model, adversarial())


def test_trees_that_each_speak_of_one_target() -> None:
    same(regressor(grown(count=9), 3, every=False, base_values=[0.1, 0.2, 0.3]), adversarial())


@pytest.mark.parametrize("base", [0, 1])
@pytest.mark.parametrize("words", [False, True])
@pytest.mark.parametrize("signed", [False, True])
@pytest.mark.parametrize("transform", ["NONE", "LOGISTIC", "SOFTMAX", "SOFTMAX_ZERO"])
def test_a_classifier_of_many_classes(transform: str, base: int, *, words: bool, signed: bool) -> None:
    base_values = {"base_values": [0.1, 0.2, 0.05, 0.0]} if base else {}
    same(classifier(grown(), 4, words=words, signed=signed, post_transform=transform, **base_values), adversarial())


@pytest.mark.parametrize("base", [0, 1])
@pytest.mark.parametrize("only", [0, 1])
@pytest.mark.parametrize("signed", [False, True])
@pytest.mark.parametrize("transform", ["NONE", "LOGISTIC", "SOFTMAX"])
def test_a_classifier_of_two_classes_with_weights_for_one(
    transform: str, only: int, base: int, *, signed: bool
) -> None:
    base_values = {"base_values": [0.2, 0.2][:base]} if base else {}
    model = classifier(grown(), 2, ids=(only,), signed=signed, post_transform=transform, **base_values)
    same(model, adversarial())


@pytest.mark.parametrize("transform", ["NONE", "LOGISTIC", "SOFTMAX"])
@pytest.mark.parametrize("words", [False, True])
def test_a_classifier_of_two_classes_with_weights_for_both(transform: str, *, words: bool) -> None:
    model = classifier(grown(), 2, words=words, post_transform=transform)
    if not words:
        labels = next(entry for entry in model.graph.node[0].attribute if entry.name == "classlabels_int64s")
        labels.ints[:] = [0, 1]
    same(model, adversarial())


def test_boosted_trees_that_each_speak_of_one_class() -> None:
    same(classifier(grown(count=9), 3, ids=()), adversarial())
    model = classifier(grown(count=9), 3)
    node = model.graph.node[0]
    columns = {entry.name: entry for entry in node.attribute if entry.name.startswith("class_")}
    kept = [
        place
        for place, tree in enumerate(columns["class_treeids"].ints)
        if columns["class_ids"].ints[place] == tree % 3
    ]
    for name in ("class_treeids", "class_nodeids", "class_ids"):
        columns[name].ints[:] = [columns[name].ints[place] for place in kept]
    columns["class_weights"].floats[:] = [columns["class_weights"].floats[place] for place in kept]
    same(model, adversarial())


@pytest.mark.parametrize("aggregate", [0, 1, 2, 3])
@pytest.mark.parametrize("dtype", [np.float32, np.float64])
def test_the_newer_operator_in_both_precisions(dtype: type, aggregate: int) -> None:
    trees = grown(modes=MODES, missing=True)
    same(tree_ensemble(trees, dtype, aggregate_function=aggregate), adversarial(dtype))


def test_votes_that_are_equal_give_the_first_label_however_many_trees_there_are() -> None:
    trees = grown(count=50, depth=2)
    model = classifier(trees, 3, signed=False)
    weights = next(entry for entry in model.graph.node[0].attribute if entry.name == "class_weights")
    weights.floats[:] = [0.02] * len(weights.floats)
    labels, _ = run(lowered(model), adversarial())
    assert set(labels.tolist()) == {10}


@pytest.mark.parametrize("targets", [1, 3])
@pytest.mark.parametrize("aggregate", ["SUM", "AVERAGE", "MIN", "MAX"])
def test_the_normal_distribution_is_inverted_as_in_the_operator(aggregate: str, targets: int) -> None:
    # Near 0.5 the last bit of a sum changes the fourth digit of the result.
    trees = grown(exact=True)
    same(regressor(trees, targets, aggregate_function=aggregate, post_transform="PROBIT"), adversarial())
    same(classifier(grown(exact=True), 3, signed=False, post_transform="PROBIT"), adversarial())


@pytest.mark.parametrize("dtype", [np.float32, np.float64])
@pytest.mark.parametrize("missing", [False, True])
def test_a_node_may_ask_whether_a_value_is_one_of_a_set(dtype: type, *, missing: bool) -> None:
    trees = grown(modes=(*MODES, "BRANCH_MEMBER"), missing=missing)
    assert trees.members() > 5
    # Whole numbers: onnxruntime 1.32 finds 2.5 in a set that has 2.
    model, x = tree_ensemble(trees, dtype), np.round(adversarial(dtype))
    same(model, x)
    beside = np.nextafter(x, dtype(7))
    assert (run(lowered(model), beside)[0] != run(lowered(model), x)[0]).any()


@pytest.mark.parametrize("threshold", [float("inf"), float("-inf"), float("nan")])
@pytest.mark.parametrize("mode", MODES)
@pytest.mark.parametrize("missing", [False, True])
def test_a_threshold_may_be_no_number(mode: str, threshold: float, *, missing: bool) -> None:
    trees = grown(modes=(mode,), missing=missing, thresholds=(threshold, 0.5))
    same(regressor(trees), adversarial())


def test_trees_of_uneven_depth_and_full_ones_are_walked_alike() -> None:
    for prune in (0.0, 0.6):
        trees = grown(count=5, depth=8, prune=prune)
        same(regressor(trees, 2), adversarial())
