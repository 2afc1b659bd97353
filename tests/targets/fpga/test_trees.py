from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np
import onnx
import onnxruntime
import pytest
from onnx import helper

from agent.runtimes._fixed.network import read_network, write_network
from targets._source.model import read_source
from targets.fpga._hardware.simulation import simulate
from targets.fpga._trees import is_trees, read_trees, unsupported_trees, write_trees
from tests.packager.hub.ensembles import (
    FEATURES,
    MODES,
    adversarial,
    classifier,
    grown,
    regressor,
    tree_ensemble,
)

if TYPE_CHECKING:
    from pathlib import Path

    from targets._source.model import Source
    from targets.fpga._trees import TreeReading

FLOAT32 = 1e-5
"""What sums in float32, in onnxruntime, are off by themselves."""


def scores_only(model: onnx.ModelProto) -> onnx.ModelProto:
    """The model for one sample, without its label."""
    single = onnx.ModelProto()
    single.CopyFrom(model)
    for entry in (*single.graph.input, *single.graph.output):
        entry.type.tensor_type.shape.dim[0].dim_value = 1
    if len(single.graph.output) > 1:
        del single.graph.output[0]
    return single


def source(model: onnx.ModelProto) -> Source:
    return read_source(scores_only(model), {schema.name for schema in onnx.defs.get_all_schemas()})


def read(model: onnx.ModelProto, bits: int = 20) -> TreeReading:
    found = source(model)
    assert is_trees(found)
    assert unsupported_trees(found) == []
    return read_trees(found, bits)


def reference(model: onnx.ModelProto, x: np.ndarray) -> list[np.ndarray]:
    session = onnxruntime.InferenceSession(model.SerializeToString(), providers=["CPUExecutionProvider"])
    return session.run(None, {session.get_inputs()[0].name: x})


def same(model: onnx.ModelProto, x: np.ndarray) -> TreeReading:
    """Each output is off by less than the rounding of leaves that the reading tells: each node answers right."""
    found = read(model)
    wanted = reference(model, x)[-1]
    assert found.error < 1e-3 < np.ptp(wanted)
    # Neither the logistic function nor softmax is steeper than the identity.
    assert np.abs(found.network.predict(x) - wanted).max() <= found.error + FLOAT32 * (1 + np.abs(wanted).max())
    return found


@pytest.mark.parametrize("mode", MODES)
@pytest.mark.parametrize("missing", [False, True])
def test_every_way_to_branch_decides_as_in_onnxruntime_on_and_beside_thresholds(mode: str, *, missing: bool) -> None:
    same(regressor(grown(modes=(mode,), missing=missing)), adversarial())


@pytest.mark.parametrize("threshold", [float("inf"), float("-inf"), float("nan")])
@pytest.mark.parametrize("mode", MODES)
@pytest.mark.parametrize("missing", [False, True])
def test_a_threshold_may_be_no_number(mode: str, threshold: float, *, missing: bool) -> None:
    same(regressor(grown(modes=(mode,), missing=missing, thresholds=(threshold, 0.5))), adversarial())


@pytest.mark.parametrize("dtype", [np.float32, np.float64])
@pytest.mark.parametrize("missing", [False, True])
def test_a_node_may_ask_whether_a_value_is_one_of_a_set(dtype: type, *, missing: bool) -> None:
    # Whole numbers: onnxruntime finds 2.5 in a set that has 2.
    same(tree_ensemble(grown(modes=(*MODES, "BRANCH_MEMBER"), missing=missing), dtype), np.round(adversarial(dtype)))


def test_thresholds_of_float64_that_no_float32_is_are_kept() -> None:
    split = 0.1 + 1e-12
    model = tree_ensemble(grown(thresholds=(split,)), np.float64)
    same(model, np.random.default_rng(2).choice([0.1, split, np.nextafter(split, 1)], (200, FEATURES)))


@pytest.mark.parametrize("kind", ["NONE", "SOFTMAX", "LOGISTIC"])
@pytest.mark.parametrize(
    ("classes", "options"),
    [
        (3, {}),
        (2, {}),
        (2, {"ids": (0,)}),
        (2, {"ids": (1,)}),
        (2, {"ids": (0,), "signed": False}),
        (2, {"ids": (0,), "base_values": [0.25]}),
        (4, {"base_values": [1.0, -0.5, 0.25, 0.0]}),
    ],
)
def test_a_classifier_gives_the_probabilities_of_onnxruntime(
    classes: int, options: dict[str, object], kind: str
) -> None:
    same(classifier(grown(modes=MODES), classes, post_transform=kind, **options), adversarial())


@pytest.mark.parametrize("aggregate", ["SUM", "AVERAGE"])
def test_a_regressor_of_several_targets_adds_up_or_averages_its_trees(aggregate: str) -> None:
    model = regressor(grown(), 3, every=False, aggregate_function=aggregate, base_values=[1.0, 2.0, -3.0])
    same(model, adversarial())


def test_leaves_that_fixed_point_holds_are_exact() -> None:
    model, x = regressor(grown(exact=True)), adversarial()
    found = read(model, bits=12)
    assert found.error == 0
    assert (found.network.predict(x) == reference(model, x)[0]).all()


def test_the_error_told_is_reached_at_most_and_halves_with_each_bit() -> None:
    model, x = regressor(grown(count=20)), adversarial()
    errors = [read(model, bits).error for bits in (8, 12, 16)]
    off = [np.abs(read(model, bits).network.predict(x) - reference(model, x)[0]).max() for bits in (8, 12, 16)]
    assert all(0.2 * told < found <= told + FLOAT32 for told, found in zip(errors, off, strict=True))
    assert errors[0] / errors[1] == pytest.approx(16, rel=0.3)


def test_features_that_no_node_asks_for_do_not_enter_the_fpga() -> None:
    model = regressor(grown(count=1, depth=1))
    assert read(model).network.input.shape == (1,)
    same(model, adversarial())


def test_a_network_of_trees_comes_back_from_its_files(tmp_path: Path) -> None:
    network = read(classifier(grown(modes=MODES, missing=True), 3, post_transform="SOFTMAX")).network
    write_network(network, tmp_path)
    x = adversarial()
    assert (read_network(tmp_path).predict(x) == network.predict(x)).all()


def trained(name: str) -> tuple[onnx.ModelProto, np.ndarray]:
    """A model of breast cancer or of digits, and all rows, with rows that sit on its thresholds."""
    from skl2onnx import to_onnx
    from sklearn.datasets import load_breast_cancer, load_digits
    from sklearn.ensemble import GradientBoostingClassifier, RandomForestClassifier

    load, model = {
        "boosted": (load_breast_cancer, GradientBoostingClassifier(n_estimators=20, max_depth=3, random_state=0)),
        "forest": (load_digits, RandomForestClassifier(n_estimators=6, max_depth=6, random_state=0)),
    }[name]
    x, y = load(return_X_y=True)
    x = x.astype(np.float32)
    model.fit(x[::2], y[::2])
    converted = to_onnx(model, x[:1], options={"zipmap": False}, target_opset={"": 17, "ai.onnx.ml": 3})
    node = next(node for node in converted.graph.node if node.op_type == "TreeEnsembleClassifier")
    held = {entry.name: helper.get_attribute_value(entry) for entry in node.attribute}
    rows = np.repeat(x[:200], 2, axis=0)
    random = np.random.default_rng(0)
    inner = [place for place, mode in enumerate(held["nodes_modes"]) if mode != b"LEAF"]
    for row in rows:
        for place in random.choice(inner, 8):
            row[held["nodes_featureids"][place]] = np.float32(held["nodes_values"][place])
    return converted, np.concatenate([x, rows])


@pytest.mark.parametrize("name", ["boosted", "forest"])
def test_labels_are_those_of_onnxruntime_on_real_data_and_on_thresholds(name: str) -> None:
    model, x = trained(name)
    found = read(model)
    labels, wanted = reference(model, x)
    predicted = found.network.predict(x)
    assert np.abs(predicted - wanted).max() <= found.error + FLOAT32
    assert (predicted.argmax(axis=1) == labels).all()


def simulated(model: onnx.ModelProto, x: np.ndarray, folder: Path) -> None:
    network = read(model).network
    core = write_trees(network, folder)
    codes = network.encode(x)
    wanted = network.run(codes)
    for pauses in (0, 3):
        found = simulate(core, codes, wanted, pauses=pauses, simulator="iverilog")
        assert (found.mismatch, found.matched) == (None, len(x))
        if not pauses:
            assert found.latency_cycles == core.latency_cycles
            # The first samples enter while nothing waits for the output.
            assert 0.8 * core.interval_cycles <= found.interval_cycles <= core.interval_cycles


@pytest.mark.parametrize(
    "model",
    [
        regressor(grown(modes=MODES, missing=True)),
        regressor(grown(count=1, depth=1)),
        regressor(grown(count=5, depth=8, prune=0.6), 7, every=False, base_values=[0.5] * 7),
        regressor(grown(count=3), 2, base_values=[0.0, 1.0]),
        classifier(grown(count=10, modes=MODES), 3),
        tree_ensemble(grown(modes=(*MODES, "BRANCH_MEMBER"), missing=True)),
    ],
    ids=["modes", "stump", "uneven", "base", "classes", "members"],
)
def test_hardware_computes_the_scores_of_the_integer_model(model: onnx.ModelProto, tmp_path: Path) -> None:
    simulated(model, adversarial(rows=60), tmp_path)


def test_hardware_of_a_trained_model_computes_its_scores(tmp_path: Path) -> None:
    model, x = trained("boosted")
    simulated(model, x[-40:], tmp_path)


def test_what_stands_beside_an_ensemble_is_named() -> None:
    model = regressor(grown())
    model.graph.node[0].output[0] = "sum"
    model.graph.node.append(helper.make_node("Exp", ["sum"], ["y"], name="skewed"))
    assert [(entry.node, entry.operator) for entry in unsupported_trees(source(model))] == [("skewed", "Exp")]


@pytest.mark.parametrize(
    ("model", "reason"),
    [
        (regressor(grown(), 2, post_transform="PROBIT"), "post_transform is PROBIT"),
        (regressor(grown(), aggregate_function="MIN"), "aggregate_function is MIN"),
        (classifier(grown(), 3, ids=(0, 1)), "nothing of class 2"),
    ],
)
def test_what_has_no_hardware_is_refused_by_name(model: onnx.ModelProto, reason: str) -> None:
    (finding,) = unsupported_trees(source(model))
    assert reason in finding.reason


def test_a_tree_that_leads_back_to_itself_is_refused() -> None:
    model = tree_ensemble(grown())
    for entry in model.graph.node[0].attribute:
        if entry.name in {"nodes_truenodeids", "nodes_trueleafs"}:
            entry.ints[0] = 0
    (finding,) = unsupported_trees(source(model))
    assert "back to itself" in finding.reason
