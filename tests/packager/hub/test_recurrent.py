"""Recurrent layers by steps: against onnxruntime's own layers."""

from __future__ import annotations

import itertools
from typing import TYPE_CHECKING

import numpy as np
import pytest
from onnx import helper, numpy_helper

from packager.hub import lower_recurrent, unroll_loops
from tests.packager.hub.ort import run_all
from tests.packager.hub.test_passes import form

if TYPE_CHECKING:
    import onnx

STEPS, BATCH, WIDTH, HIDDEN = 5, 3, 4, 2
GATES = {"RNN": 1, "GRU": 3, "LSTM": 4}
DIRECTIONS = ("forward", "reverse", "bidirectional")


def layer(
    operator: str, *, direction: str = "forward", lengths: bool = False, given: bool = False, peeps: bool = False,
    steps: int | str = STEPS, **attributes: object,
) -> tuple[onnx.ModelProto, dict[str, np.ndarray]]:  # fmt: skip
    random = np.random.default_rng(1)
    ways, wide = 1 + (direction == "bidirectional"), GATES[operator] * HIDDEN
    draw = lambda *shape: random.standard_normal(shape).astype(np.float32)  # noqa: E731 - one line
    constants = {"w": draw(ways, wide, WIDTH), "r": draw(ways, wide, HIDDEN), "b": draw(ways, 2 * wide)}
    feeds = {"x": draw(STEPS, BATCH, WIDTH)}
    names = ["x", "w", "r", "b", "", "", "", ""]
    if lengths:
        feeds["lengths"] = np.array([5, 0, 3], dtype=np.int32)
        names[4] = "lengths"
    states = 2 if operator == "LSTM" else 1
    for place in range(states if given else 0):
        feeds[f"s{place}"], names[5 + place] = draw(ways, BATCH, HIDDEN), f"s{place}"
    if peeps:
        constants["p"], names[7] = draw(ways, 3 * HIDDEN), "p"
    while not names[-1]:
        names.pop()
    outputs = ["y", "h", "c"][: states + 1]
    node = helper.make_node(operator, names, outputs, hidden_size=HIDDEN, direction=direction, **attributes)
    value = helper.make_tensor_value_info
    inputs = [
        value(name, helper.np_dtype_to_tensor_dtype(array.dtype), [steps, "B", WIDTH] if name == "x" else array.shape)
        for name, array in feeds.items()
    ]
    initializers = [numpy_helper.from_array(array, name) for name, array in constants.items()]
    graph = helper.make_graph([node], "layer", inputs, [value(name, 1, None) for name in outputs], initializers)
    return helper.make_model(graph, opset_imports=[helper.make_opsetid("", 17)], ir_version=9), feeds


def check(model: onnx.ModelProto, feeds: dict[str, np.ndarray]) -> onnx.ModelProto:
    expected = run_all(model, feeds)
    lowered = lower_recurrent.run(model, form())
    assert not {node.op_type for node in lowered.graph.node} & set(GATES)
    assert "Scan" in {node.op_type for node in lowered.graph.node}
    for ours, theirs in zip(run_all(lowered, feeds), expected, strict=True):
        np.testing.assert_allclose(ours, theirs, rtol=1e-5, atol=2e-6)
    return lowered


@pytest.mark.parametrize("operator", GATES)
@pytest.mark.parametrize("direction", DIRECTIONS)
def test_lengths_and_states_are_taken_as_the_layer_takes_them(direction: str, operator: str) -> None:
    for lengths, given in itertools.product([False, True], repeat=2):
        check(*layer(operator, direction=direction, lengths=lengths, given=given))


@pytest.mark.parametrize("direction", DIRECTIONS)
@pytest.mark.parametrize("forget", [0, 1])
def test_the_gates_of_lstm_may_look_at_its_memory_and_share(direction: str, forget: int) -> None:
    check(*layer("LSTM", direction=direction, peeps=True, input_forget=forget, given=True))


@pytest.mark.parametrize("direction", DIRECTIONS)
@pytest.mark.parametrize("before", [0, 1])
def test_gru_resets_before_or_after_the_product(direction: str, before: int) -> None:
    check(*layer("GRU", direction=direction, linear_before_reset=before, lengths=True))


@pytest.mark.parametrize("operator", GATES)
def test_what_goes_into_the_gates_may_be_clipped(operator: str) -> None:
    check(*layer(operator, clip=0.4))


@pytest.mark.parametrize(
    "activation",
    ["Relu", "Sigmoid", "Tanh", "Softsign", "Softplus", "LeakyRelu", "ThresholdedRelu", "HardSigmoid", "Elu"],
)
def test_every_activation(activation: str) -> None:
    numbers = {"activation_alpha": [0.3]} if activation == "ThresholdedRelu" else {}
    check(*layer("RNN", activations=[activation], **numbers))


@pytest.mark.parametrize("activation", ["Affine", "ScaledTanh", "LeakyRelu", "HardSigmoid"])
def test_numbers_of_activations_are_given_out_in_order(activation: str) -> None:
    names = {"activations": ["Tanh", activation], "activation_alpha": [0.3]}
    numbers = names | ({} if activation == "LeakyRelu" else {"activation_beta": [0.7]})
    check(*layer("RNN", direction="bidirectional", **numbers))


@pytest.mark.parametrize("operator", GATES)
@pytest.mark.parametrize("direction", DIRECTIONS)
def test_a_layer_of_known_length_can_be_laid_out_without_any_loop(direction: str, operator: str) -> None:
    model, feeds = layer(operator, direction=direction, lengths=True, given=True)
    expected = run_all(model, feeds)
    flat = unroll_loops.run(lower_recurrent.run(model, form()), form(unrolled=8))
    assert not {node.op_type for node in flat.graph.node} & {"Scan", *GATES}
    assert not unroll_loops.ensures(flat, form(unrolled=8))
    for ours, theirs in zip(run_all(flat, feeds), expected, strict=True):
        np.testing.assert_allclose(ours, theirs, rtol=1e-5, atol=2e-6)


def test_a_layer_of_an_old_opset_is_lowered_all_the_same() -> None:
    model, feeds = layer("LSTM", direction="bidirectional")
    model.opset_import[0].version = 9
    check(model, feeds)


def test_a_layer_of_unknown_length_stays_a_loop() -> None:
    model, feeds = layer("LSTM", steps="T")
    lowered = check(model, feeds)
    assert "Scan" in {node.op_type for node in unroll_loops.run(lowered, form(unrolled=8)).graph.node}
