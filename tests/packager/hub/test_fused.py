"""What onnxruntime fused, by ONNX's own operators: against onnxruntime, which runs both."""

from __future__ import annotations

import numpy as np
import onnx
import pytest
from onnx import TensorProto, helper, numpy_helper

from packager.hub import split_fused
from packager.hub.split_fused import DOMAIN, split
from tests.packager.hub.ort import run_all
from tests.packager.hub.test_passes import form

RANDOM = np.random.default_rng(3)
IMAGE = RANDOM.standard_normal((2, 3, 8, 8)).astype(np.float32)
ROWS = RANDOM.standard_normal((2, 5, 6)).astype(np.float32)
KERNEL = RANDOM.standard_normal((4, 3, 3, 3)).astype(np.float32)
SQUARE = RANDOM.standard_normal((6, 6)).astype(np.float32)
SIX = RANDOM.standard_normal(6).astype(np.float32)
BYTES = RANDOM.integers(0, 256, (2, 3, 4, 4)).astype(np.uint8)
SIGNED = RANDOM.integers(-128, 128, (2, 3, 4, 4)).astype(np.int8)


def scale(value: float) -> np.ndarray:
    return np.array(value, dtype=np.float32)


def zero(value: int, dtype: type = np.uint8) -> np.ndarray:
    return np.array(value, dtype=dtype)


def model_of(node: onnx.NodeProto, feeds: dict[str, np.ndarray], constants: tuple[str, ...] = ()) -> onnx.ModelProto:
    inputs = [
        helper.make_tensor_value_info(name, helper.np_dtype_to_tensor_dtype(value.dtype), value.shape)
        for name, value in feeds.items()
        if name not in constants
    ]
    graph = helper.make_graph(
        [node],
        "fused",
        inputs,
        [helper.make_value_info(name, onnx.TypeProto()) for name in node.output if name],
        [numpy_helper.from_array(feeds[name], name) for name in constants],
    )
    domains = [helper.make_opsetid("", 17), helper.make_opsetid(DOMAIN, 1)]
    return helper.make_model(graph, opset_imports=domains, ir_version=9)


def check(
    operator: str,
    *values: np.ndarray | None,
    outputs: int = 1,
    wanted: tuple[int, ...] = (0, 3),
    constants: tuple[int, ...] = (),
    tolerance: float = 1e-6,
    **attributes: object,
) -> None:
    names = ["" if value is None else f"i{place}" for place, value in enumerate(values)]
    feeds = {name: value for name, value in zip(names, values, strict=True) if value is not None}
    results = [f"o{place}" if outputs == 1 or place in wanted else "" for place in range(outputs)]
    domain = "" if operator == "SimplifiedLayerNormalization" else DOMAIN
    written = {name: value for name, value in attributes.items() if value != []}
    model = model_of(
        helper.make_node(operator, names, results, domain=domain, **written),
        feeds,
        tuple(names[place] for place in constants),
    )
    expected = run_all(model, feeds)
    assert not split(model)
    assert {node.domain for node in model.graph.node} == {""}
    for ours, theirs in zip(run_all(model, feeds), expected, strict=True):
        assert ours.dtype == theirs.dtype
        if ours.dtype.kind in "ui":
            # A value between two steps may be rounded to either.
            assert np.abs(ours.astype(int) - theirs.astype(int)).max() <= 1
            assert (ours != theirs).mean() < 0.02
        else:
            np.testing.assert_allclose(ours, theirs, rtol=tolerance, atol=tolerance)


@pytest.mark.parametrize(
    ("kind", "parameters"),
    [
        ("Relu", []),
        ("Tanh", []),
        ("Sigmoid", []),
        ("LeakyRelu", [0.2]),
        ("Clip", [-0.5, 0.75]),
        ("HardSigmoid", [0.3, 0.4]),
    ],
)
@pytest.mark.parametrize("summed", [False, True])
def test_a_convolution_with_an_activation(kind: str, parameters: list[float], *, summed: bool) -> None:
    bias = RANDOM.standard_normal(4).astype(np.float32)
    more = (RANDOM.standard_normal((2, 4, 6, 6)).astype(np.float32),) if summed else ()
    check("FusedConv", IMAGE, KERNEL, bias, *more, tolerance=1e-5, activation=kind, activation_params=parameters)


@pytest.mark.parametrize(("left", "right"), [(0, 0), (1, 0), (0, 1), (1, 1)])
@pytest.mark.parametrize("alpha", [1.0, 0.25])
def test_a_product_of_transposed_matrices(left: int, right: int, alpha: float) -> None:
    first = ROWS.transpose(0, 2, 1).copy() if left else ROWS
    check("FusedMatMul", first, SQUARE, transA=left, transB=right, alpha=alpha)


def test_a_general_product_with_an_activation() -> None:
    check("FusedGemm", SQUARE, SQUARE, SIX, activation="LeakyRelu", activation_alpha=0.1, alpha=0.5, transB=1)


@pytest.mark.parametrize("operator", ["Gelu", "BiasGelu", "FastGelu", "QuickGelu"])
def test_an_activation(operator: str) -> None:
    check(operator, ROWS * 3, *([SIX] if operator in {"BiasGelu", "FastGelu"} else []))


@pytest.mark.parametrize("bias", [False, True])
@pytest.mark.parametrize("outputs", [1, 4])
def test_a_sum_that_is_normalized(outputs: int, *, bias: bool) -> None:
    more = (SIX[::-1].copy(),) if bias else ()
    other = ROWS[::-1].copy()
    check("SkipLayerNormalization", ROWS, other, SIX, SIX + 1, *more, outputs=outputs, tolerance=3e-6, epsilon=1e-5)
    check("SkipSimplifiedLayerNormalization", ROWS, other, SIX, *more, outputs=outputs, tolerance=3e-6)


def test_a_normalization_without_mean() -> None:
    check("SimplifiedLayerNormalization", ROWS, SIX, tolerance=3e-6, axis=-1, epsilon=1e-6)


@pytest.mark.parametrize("operator", ["QLinearAdd", "QLinearMul"])
def test_quantized_values_together(operator: str) -> None:
    check(
        operator, BYTES, scale(0.02), zero(120), BYTES[:, :, ::-1].copy(), scale(0.03), zero(7), scale(0.05), zero(90)
    )
    eight = [zero(value, np.int8) for value in (3, -9, 5)]
    check(operator, SIGNED, scale(0.02), eight[0], SIGNED[:, ::-1].copy(), scale(0.03), eight[1], scale(0.05), eight[2])


def test_quantized_activations_and_pools() -> None:
    parameters = scale(0.02), zero(120), scale(1 / 256), zero(0)
    check("QLinearSigmoid", BYTES, *parameters)
    check("QLinearLeakyRelu", BYTES, scale(0.02), zero(120), scale(0.03), zero(20), alpha=0.1)
    check("QLinearGlobalAveragePool", BYTES, scale(0.02), zero(120), scale(0.013), zero(110))
    check("QLinearAveragePool", BYTES, scale(0.02), zero(120), scale(0.013), zero(110), kernel_shape=[2, 2])


def test_quantized_values_side_by_side() -> None:
    check("QLinearConcat", scale(0.05), zero(90), BYTES, scale(0.02), zero(120), BYTES, scale(0.1), zero(3), axis=1)


def test_products_of_integers() -> None:
    weights = RANDOM.integers(-128, 128, (6, 4)).astype(np.int8)
    left = RANDOM.integers(0, 256, (3, 6)).astype(np.uint8)
    bias = RANDOM.standard_normal(4).astype(np.float32)
    check(
        "MatMulIntegerToFloat",
        left,
        weights,
        scale(0.02),
        scale(0.1),
        zero(100),
        zero(3, np.int8),
        bias,
        tolerance=1e-5,
    )
    check("DynamicQuantizeMatMul", SQUARE, weights, scale(0.1), zero(0, np.int8), bias, tolerance=1e-4)


@pytest.mark.parametrize("bits", [4, 8])
@pytest.mark.parametrize("zeros", [False, True])
@pytest.mark.parametrize("rows", [64, 40])
def test_weights_in_blocks_become_numbers(rows: int, bits: int, *, zeros: bool) -> None:
    columns, block = 6, 32
    blocks = -(-rows // block)
    feeds = {
        "a": RANDOM.standard_normal((3, rows)).astype(np.float32),
        "w": RANDOM.integers(0, 256, (columns, blocks, block * bits // 8)).astype(np.uint8),
        "s": RANDOM.random((columns, blocks)).astype(np.float32),
    }
    if zeros:
        feeds["z"] = RANDOM.integers(0, 256, (columns, -(-blocks * bits // 8))).astype(np.uint8)
    attributes = {"K": rows, "N": columns, "bits": bits, "block_size": block}
    node = helper.make_node("MatMulNBits", list(feeds), ["y"], domain=DOMAIN, **attributes)
    model = model_of(node, feeds, constants=tuple(name for name in feeds if name != "a"))
    (expected,) = run_all(model, feeds)
    assert not split(model)
    assert [entry.op_type for entry in model.graph.node] == ["MatMul"]
    np.testing.assert_allclose(run_all(model, feeds)[0], expected, rtol=1e-5, atol=1e-6 * np.abs(expected).max())


def test_a_model_of_an_old_opset_is_split_all_the_same() -> None:
    node = helper.make_node("FusedConv", ["x", "k"], ["y"], domain=DOMAIN, activation="Relu")
    feeds = {"x": IMAGE, "k": KERNEL}
    model = model_of(node, feeds)
    model.opset_import[0].version = 9
    (expected,) = run_all(model, feeds)
    model = split_fused.run(model, form(7, 21))
    assert [entry.op_type for entry in model.graph.node] == ["Conv", "Relu"]
    np.testing.assert_allclose(run_all(model, feeds)[0], expected, rtol=1e-5, atol=1e-5)


def test_what_is_declined_has_its_reason() -> None:
    node = helper.make_node("FusedMatMul", ["a", "b"], ["y"], domain=DOMAIN, transBatchA=1)
    model = model_of(node, {"a": ROWS, "b": SQUARE})
    (finding,) = split(model)
    assert (finding.operator, finding.reason) == ("com.microsoft.FusedMatMul", "a batch is transposed with its rows")
    assert model.graph.output[0].type.tensor_type.elem_type == TensorProto.UNDEFINED
