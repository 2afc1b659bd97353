"""Formats for what was observed, and the networks that are made with them."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from hypothesis.extra.numpy import arrays

from agent.runtimes._fixed.formats import Format, dequantize, quantize
from agent.runtimes._fixed.layers import Add, Conv, Pool
from targets.fpga._cost import adder_bits, signed_digits, weight_width
from targets.fpga._quantization import Quantization, nearest_format, observe
from targets.fpga._reading import read_model
from targets.fpga._search import real_outputs
from tests.targets.fpga.models import cnn, mlp, model, node

VALUES = arrays(np.float64, st.integers(1, 30), elements=st.floats(-1000, 1000, width=32))


def error(values: np.ndarray, form: Format) -> float:
    return float(np.square(dequantize(quantize(values, form), form) - values).mean())


@given(VALUES, st.integers(2, 12))
def test_the_nearest_format_has_no_more_bits_than_asked_for(values: np.ndarray, bits: int) -> None:
    assert nearest_format(values, bits, signed=None).width <= bits


@given(VALUES, st.integers(3, 12))
def test_no_format_of_those_bits_that_holds_every_value_is_nearer(values: np.ndarray, bits: int) -> None:
    signed = bool(values.min() < 0)
    chosen = nearest_format(values, bits, signed=None)
    most = max(float(values.max(initial=0)), -float(values.min(initial=0)))
    if most == 0:
        return
    whole = int(np.floor(np.log2(most))) + 1
    wide = Format(signed, whole, bits - signed - whole)
    assert error(values, chosen) <= error(values, wide) * (1 + 1e-9)


def test_whole_numbers_take_the_bits_that_they_need() -> None:
    assert nearest_format(np.arange(17.0), 12, signed=None) == Format(signed=False, integer=5, fraction=0)


def test_one_far_value_does_not_coarsen_all_others() -> None:
    values = np.concatenate([np.linspace(-1, 1, 1000), [9.0]])
    assert nearest_format(values, 4, signed=None).integer < 4


def test_values_that_are_all_zero_have_a_format() -> None:
    assert nearest_format(np.zeros(3), 8, signed=None).width == 1


@pytest.mark.parametrize("made", [mlp((6, 8, 4)), cnn()], ids=["mlp", "cnn"])
def test_wide_formats_are_as_good_as_real_numbers(made: object) -> None:
    reading = read_model(made, host_tail=True)  # type: ignore[arg-type]  # parametrized
    samples = np.random.default_rng(0).normal(size=(50, *reading.accepts.shape)).astype(np.float32)
    quantization = Quantization(reading, observe(reading, samples))
    network = quantization.network(quantization.uniform(18))
    assert np.abs(network.predict(samples) - real_outputs(reading, samples)).max() < 1e-3


def test_a_network_keeps_the_layers_and_the_nodes_they_come_from() -> None:
    reading = read_model(cnn(), host_tail=True)
    samples = np.random.default_rng(0).normal(size=(20, 1, 8, 8))
    quantization = Quantization(reading, observe(reading, samples))
    network = quantization.network(quantization.uniform(8))
    kinds = [type(layer) for layer in network.layers]
    assert kinds.count(Conv) == 2
    assert kinds.count(Add) == 1
    assert network.layers[0].source_node == "conv_c0"
    first = network.layers[0]
    assert not first.output.format.signed
    assert first.bounds[0] == 0


def test_a_bound_above_stays_a_bound() -> None:
    nodes = [node("MatMul", "x w", "a"), node("Clip", "a low high", "y")]
    constants = {
        "w": np.eye(3, dtype=np.float32),
        "low": np.array(0, np.float32),
        "high": np.array(0.75, np.float32),
    }
    reading = read_model(model(nodes, constants, (1, 3), (1, 3)), host_tail=True)
    samples = np.random.default_rng(0).uniform(-2, 2, (60, 3))
    quantization = Quantization(reading, observe(reading, samples))
    network = quantization.network(quantization.uniform(10))
    assert network.predict(np.full((1, 3), 1.5)).max() == pytest.approx(0.75)
    assert network.predict(np.full((1, 3), -1.5)).max() == 0


def test_a_mean_over_a_power_of_two_is_exact() -> None:
    made = model([node("AveragePool", "x", "y", kernel_shape=[4], strides=[4])], {}, (1, 2, 8), (1, 2, 2))
    reading = read_model(made, host_tail=True)
    samples = np.random.default_rng(0).integers(0, 16, (40, 2, 8)).astype(np.float64)
    quantization = Quantization(reading, observe(reading, samples))
    network = quantization.network(quantization.uniform(12))
    (pool,) = network.layers
    assert isinstance(pool, Pool)
    assert (pool.reciprocal, pool.reciprocal_fraction) == (1, 2)
    assert np.array_equal(network.predict(samples), real_outputs(reading, samples))


@given(st.integers(-(1 << 20), 1 << 20))
def test_signed_digits_are_those_of_the_non_adjacent_form(number: int) -> None:
    digits, rest = 0, abs(number)
    while rest:
        if rest % 2:
            digits += 1
            rest -= 2 - rest % 4
        rest //= 2
    assert signed_digits(np.array([number])) == digits


def test_fewer_bits_of_weights_cost_fewer_adders() -> None:
    reading = read_model(mlp((6, 8, 4)), host_tail=True)
    samples = np.random.default_rng(0).normal(size=(50, 6))
    quantization = Quantization(reading, observe(reading, samples))
    wide, narrow = (quantization.network(quantization.uniform(bits)) for bits in (10, 5))
    assert adder_bits(narrow) < adder_bits(wide)
    assert weight_width(narrow.layers[0]) <= 5  # type: ignore[arg-type]  # the first layer of a perceptron is dense
