"""Networks of integers: formats, exact layers, and the files that keep a network."""

from __future__ import annotations

from math import floor
from typing import TYPE_CHECKING

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from agent.runtimes._fixed.formats import Format, dequantize, quantize, requantize, smallest_format
from agent.runtimes._fixed.host import Affine, Port, Softmax
from agent.runtimes._fixed.layers import Add, Conv, Dense, Pool, Reorder, Tensor, run_layer
from agent.runtimes._fixed.network import Network, network_identity, read_network, write_network

if TYPE_CHECKING:
    from pathlib import Path

FORMATS = st.builds(Format, st.booleans(), st.integers(-3, 8), st.integers(4, 10))


@given(FORMATS)
def test_a_formats_codes_fill_its_width(form: Format) -> None:
    assert form.high - form.low + 1 == 1 << form.width


@given(st.integers(-(1 << 20), 1 << 20), st.integers(0, 1 << 20), st.integers(-4, 12))
def test_the_smallest_format_holds_the_range_and_one_bit_less_does_not(low: int, more: int, fraction: int) -> None:
    high = low + more
    form = smallest_format(low, high, fraction)
    assert form.low <= low
    assert high <= form.high
    if form.width > 1:
        narrower = Format(form.signed, form.integer - 1, fraction)
        assert low < narrower.low or high > narrower.high


@given(FORMATS, st.floats(-1e6, 1e6))
def test_quantizing_rounds_halves_upwards_and_saturates(form: Format, value: float) -> None:
    code = int(quantize(np.array([value]), form)[0])
    assert code == min(max(floor(value * 2**form.fraction + 0.5), form.low), form.high)


def test_nan_is_refused() -> None:
    with pytest.raises(ValueError, match="NaN"):
        quantize(np.array([np.nan]), Format(signed=True, integer=1, fraction=2))


@given(FORMATS)
def test_what_a_format_holds_survives_quantizing(form: Format) -> None:
    codes = np.unique(np.linspace(form.low, form.high, 50).astype(np.int64))
    assert np.array_equal(quantize(dequantize(codes, form), form), codes)


@given(st.integers(-(1 << 30), 1 << 30), st.integers(-4, 16), FORMATS)
def test_requantizing_is_quantizing_the_value(code: int, fraction: int, form: Format) -> None:
    codes = np.array([code])
    got = requantize(codes, fraction, form, (form.low, form.high))
    assert np.array_equal(got, quantize(codes * 2.0**-fraction, form))


S8 = Format(signed=True, integer=3, fraction=4)


def _codes(
    generator: np.random.Generator, tensor: Tensor, samples: int = 5
) -> np.ndarray[tuple[int, ...], np.dtype[np.int64]]:
    return generator.integers(tensor.format.low, tensor.format.high, (samples, *tensor.shape), endpoint=True)


def test_a_dense_layer_is_the_float_product_rounded_once() -> None:
    generator = np.random.default_rng(0)
    source = Tensor("x", (6,), S8)
    layer = Dense(
        name="d",
        sources=("x",),
        output=Tensor("y", (3,), Format(signed=False, integer=4, fraction=2)),
        low=0,
        weights=generator.integers(-7, 8, (6, 3)),
        weight_fraction=3,
        bias=generator.integers(-50, 50, 3),
    )
    codes = _codes(generator, source)
    real = dequantize(codes, S8) @ (layer.weights / 8) + layer.bias / 128
    assert np.array_equal(run_layer(layer, [source], [codes]), quantize(np.maximum(real, 0), layer.output.format))


@pytest.mark.parametrize("groups", [1, 2])
@pytest.mark.parametrize("pads", [(0, 0, 0, 0), (1, 0, 2, 1)])
def test_a_convolution_is_that_of_onnx(groups: int, pads: tuple[int, ...]) -> None:
    from onnx import helper
    from onnx.reference import ReferenceEvaluator

    generator = np.random.default_rng(1)
    source = Tensor("x", (4, 7, 6), S8)
    weights = generator.integers(-7, 8, (6, 4 // groups, 3, 2))
    attributes = {"strides": [2, 1], "pads": list(pads), "dilations": [1, 2], "group": groups}
    model = helper.make_model(
        helper.make_graph(
            [helper.make_node("Conv", ["x", "w"], ["y"], **attributes)],
            "g",
            [helper.make_tensor_value_info(name, 11, None) for name in "xw"],
            [helper.make_tensor_value_info("y", 11, None)],
        )
    )
    codes = _codes(generator, source)
    (real,) = ReferenceEvaluator(model).run(None, {"x": codes * 1.0, "w": weights * 1.0})
    layer = Conv(
        name="c",
        sources=("x",),
        output=Tensor("y", real.shape[1:], Format(signed=True, integer=20, fraction=6)),
        weights=weights,
        weight_fraction=2,
        bias=np.arange(6),
        strides=(2, 1),
        pads=pads,
        dilations=(1, 2),
        groups=groups,
    )
    assert np.array_equal(run_layer(layer, [source], [codes]), real + np.arange(6).reshape(6, 1, 1))


@pytest.mark.parametrize("kind", ["max", "average"])
def test_pooling_looks_at_each_window(kind: str) -> None:
    source = Tensor("x", (1, 4), S8)
    layer = Pool(
        name="p",
        sources=("x",),
        output=Tensor("y", (1, 2), S8),
        kind="max" if kind == "max" else "average",
        kernel=(2,),
        strides=(2,),
        pads=(0, 0),
        reciprocal_fraction=0 if kind == "max" else 1,
    )
    got = run_layer(layer, [source], [np.array([[[-8, -3, 5, 6]]])])
    assert got.tolist() == ([[[-3, 6]]] if kind == "max" else [[[-5, 6]]])


def test_the_border_of_a_maximum_is_never_the_largest() -> None:
    source = Tensor("x", (1, 2), S8)
    layer = Pool(
        name="p",
        sources=("x",),
        output=Tensor("y", (1, 2), S8),
        kind="max",
        kernel=(2,),
        strides=(1,),
        pads=(1, 0),
    )
    assert run_layer(layer, [source], [np.array([[[-8, -9]]])]).tolist() == [[[-8, -8]]]


def test_a_sum_aligns_the_points_of_both_sources() -> None:
    coarse = Tensor("a", (1,), Format(signed=True, integer=3, fraction=1))
    fine = Tensor("b", (1,), Format(signed=True, integer=3, fraction=3))
    layer = Add(name="s", sources=("a", "b"), output=Tensor("y", (1,), Format(signed=True, integer=4, fraction=3)))
    assert run_layer(layer, [coarse, fine], [np.array([[3]]), np.array([[-1]])]).tolist() == [[11]]


@given(st.integers(0, 1 << 16))
def test_no_sum_leaves_the_accumulators_format(seed: int) -> None:
    generator = np.random.default_rng(seed)
    source = Tensor("x", (5,), Format(bool(seed % 2), 3, 4))
    weights = generator.integers(-8, 8, (5, 2))
    layer = Dense(
        name="d",
        sources=("x",),
        output=Tensor("y", (2,), S8),
        weights=weights,
        weight_fraction=0,
        bias=generator.integers(-99, 99, 2),
    )
    extremes = np.where(np.stack([weights.T > 0, weights.T <= 0]).reshape(4, 5), source.format.high, source.format.low)
    total = layer.accumulate([source], [extremes.astype(np.int64)])
    form = layer.accumulator([source])
    assert form.fraction == total.fraction
    assert form.low <= total.codes.min()
    assert total.codes.max() <= form.high


def test_an_accumulator_beyond_64_bits_is_refused() -> None:
    source = Tensor("x", (1,), Format(signed=True, integer=31, fraction=0))
    layer = Dense(
        name="d",
        sources=("x",),
        output=Tensor("y", (1,), S8),
        weights=np.array([[1 << 40]]),
        weight_fraction=0,
        bias=np.array([0]),
    )
    with pytest.raises(OverflowError, match="too wide"):
        layer.accumulator([source])


def _network() -> Network:
    generator = np.random.default_rng(3)
    x = Tensor("x", (2, 3), Format(signed=True, integer=2, fraction=5))
    flat = Reorder(
        name="flat", sources=("x",), output=Tensor("f", (6,), x.format), indices=np.array([0, 3, 1, 4, 2, 5])
    )
    dense = Dense(
        name="dense",
        sources=("f",),
        output=Tensor("y", (4,), Format(signed=True, integer=4, fraction=3)),
        weights=generator.integers(-8, 8, (6, 4)),
        weight_fraction=3,
        bias=generator.integers(-99, 99, 4),
        source_node="gemm",
    )
    return Network(
        input=x,
        layers=(flat, dense),
        output=dense.output,
        accepts=Port(name="features", dtype="float32", shape=(2, 3)),
        returns=Port(name="scores", dtype="float32", shape=(4,)),
        before=(Affine(scale=np.array([0.5]), offset=np.array([0.25])),),
        after=(Softmax(),),
    )


def test_a_network_that_was_written_and_read_computes_the_same(tmp_path: Path) -> None:
    network = _network()
    write_network(network, tmp_path)
    values = np.random.default_rng(4).normal(size=(7, 2, 3)).astype(np.float32)
    assert np.array_equal(read_network(tmp_path).predict(values), network.predict(values))


def test_the_same_network_gives_the_same_files(tmp_path: Path) -> None:
    folders = tmp_path / "a", tmp_path / "b"
    for folder in folders:
        folder.mkdir()
        write_network(_network(), folder)
    assert network_identity(folders[0]) == network_identity(folders[1])


def test_a_network_without_an_array_is_refused(tmp_path: Path) -> None:
    write_network(_network(), tmp_path)
    path = tmp_path / "network.json"
    path.write_text(path.read_text().replace("a0001", "a9999"))
    with pytest.raises(ValueError, match="no array 'a9999'"):
        read_network(tmp_path)


def test_codes_outside_the_inputs_format_are_refused() -> None:
    with pytest.raises(ValueError, match=r"codes leave the format s2\.5"):
        _network().run(np.full((1, 2, 3), 128))


def test_a_trace_names_every_tensor() -> None:
    network = _network()
    trace = network.trace(np.ones((2, 2, 3), np.int64))
    assert {name: codes.shape for name, codes in trace.items()} == {"x": (2, 2, 3), "f": (2, 6), "y": (2, 4)}
