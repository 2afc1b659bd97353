"""What edge-arm takes together: fewer operations, the same answer."""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np
import pytest
from ai_edge_litert import schema_py_generated as schema
from onnx import helper

from targets.edge_arm import target

if TYPE_CHECKING:
    from collections.abc import Callable
    from pathlib import Path

    import onnx
    from numpy.typing import NDArray

    from targets._target import Artifact

    Build = Callable[..., onnx.ModelProto]
    Convert = Callable[..., tuple[Artifact, Path]]
    Tensors = dict[str, NDArray]
    Reference = Callable[[onnx.ModelProto, Tensors], Tensors]


@pytest.fixture
def codes(build: Build, convert: Convert, reference: Reference) -> Callable[..., list[str]]:
    """The operators of a model's file, once its answer is seen to be right."""

    def run(
        nodes: list[onnx.NodeProto], inputs: dict[str, list[int]], outputs: dict[str, list[int]], constants: Tensors
    ) -> list[str]:
        model = build(nodes, inputs, outputs, constants)
        artifact, folder = convert(target, model)
        random = np.random.default_rng(1)
        given = {name: random.standard_normal(shape).astype(np.float32) for name, shape in inputs.items()}
        got = target.runner(artifact, folder).run(given)
        for name, expected in reference(model, given).items():
            np.testing.assert_allclose(got[name], expected, rtol=1e-4, atol=1e-5)
        file = schema.ModelT.InitFromPackedBuf((folder / artifact.runtime.entry).read_bytes())
        names = {number: name for name, number in vars(schema.BuiltinOperator).items()}
        used = file.subgraphs[0].operators
        return [names[file.operatorCodes[operation.opcodeIndex].builtinCode] for operation in used]

    return run


def test_a_sign_and_a_divisor_are_taken_into_the_weights(codes: Callable[..., list[str]]) -> None:
    weights = np.random.default_rng(2).standard_normal((3, 3)).astype(np.float32)
    nodes = [
        helper.make_node("MatMul", ["x", "w"], ["m"]),
        helper.make_node("Neg", ["m"], ["n"]),
        helper.make_node("Div", ["n", "seven"], ["y"]),
    ]
    constants = {"w": weights, "seven": np.array(7, np.float32)}
    assert codes(nodes, {"x": [2, 3]}, {"y": [2, 3]}, constants) == ["FULLY_CONNECTED"]


def test_a_divisor_of_zero_is_not_taken_into_the_weights(codes: Callable[..., list[str]]) -> None:
    nodes = [helper.make_node("MatMul", ["x", "w"], ["m"]), helper.make_node("Div", ["m", "zeros"], ["y"])]
    constants = {"w": np.eye(3, dtype=np.float32), "zeros": np.array([1, 0, 1], np.float32)}
    assert "DIV" in codes(nodes, {"x": [2, 3]}, {"y": [2, 3]}, constants)


def test_constant_factors_in_a_row_become_one(codes: Callable[..., list[str]]) -> None:
    nodes = [helper.make_node("Mul", ["x", "a"], ["m"]), helper.make_node("Mul", ["b", "m"], ["y"])]
    constants = {"a": np.array([2, 3, 4], np.float32), "b": np.array(5, np.float32)}
    assert codes(nodes, {"x": [2, 3]}, {"y": [2, 3]}, constants) == ["MUL"]


def test_factors_whose_product_is_past_float32_stay_apart(codes: Callable[..., list[str]]) -> None:
    nodes = [helper.make_node("Mul", ["x", "a"], ["m"]), helper.make_node("Mul", ["b", "m"], ["y"])]
    constants = {"a": np.array(1e-30, np.float32), "b": np.array(1e-10, np.float32)}
    assert codes(nodes, {"x": [2, 3]}, {"y": [2, 3]}, constants) == ["MUL", "MUL"]


def test_what_is_joined_step_by_step_is_joined_at_once(codes: Callable[..., list[str]]) -> None:
    nodes = [
        helper.make_node("Concat", ["a", "b"], ["ab"], axis=1),
        helper.make_node("Concat", ["ab", "c"], ["abc"], axis=1),
        helper.make_node("Concat", ["a", "abc"], ["y"], axis=1),
    ]
    assert codes(nodes, {name: [2, 3] for name in "abc"}, {"y": [2, 12]}, {}) == ["CONCATENATION"]


def test_a_joined_value_that_is_read_twice_stays(codes: Callable[..., list[str]]) -> None:
    nodes = [
        helper.make_node("Concat", ["a", "b"], ["ab"], axis=1),
        helper.make_node("Concat", ["ab", "c"], ["y"], axis=1),
        helper.make_node("Tanh", ["ab"], ["z"]),
    ]
    made = codes(nodes, {name: [2, 3] for name in "abc"}, {"y": [2, 9], "z": [2, 6]}, {})
    assert made.count("CONCATENATION") == 2


def test_an_activation_of_a_reshaped_value_spares_who_reads_the_value_later(codes: Callable[..., list[str]]) -> None:
    nodes = [
        helper.make_node("Mul", ["x", "x"], ["m"]),
        helper.make_node("Sub", ["m", "one"], ["s"]),
        helper.make_node("Reshape", ["s", "shape"], ["r"]),
        helper.make_node("Relu", ["r"], ["y"]),
        helper.make_node("Tanh", ["s"], ["z"]),
    ]
    constants = {"one": np.array(1, np.float32), "shape": np.array([3, 2], np.int64)}
    assert "RELU" in codes(nodes, {"x": [2, 3]}, {"y": [3, 2], "z": [2, 3]}, constants)


def test_a_factor_of_a_reshaped_product_spares_who_reads_the_product_later(codes: Callable[..., list[str]]) -> None:
    nodes = [
        helper.make_node("MatMul", ["x", "w"], ["m"]),
        helper.make_node("Reshape", ["m", "shape"], ["r"]),
        helper.make_node("Mul", ["r", "seven"], ["y"]),
        helper.make_node("Tanh", ["m"], ["z"]),
    ]
    constants = {"w": np.eye(3, dtype=np.float32), "seven": np.array(7, np.float32), "shape": np.array([1, 2, 3])}
    codes(nodes, {"x": [2, 3]}, {"y": [1, 2, 3], "z": [2, 3]}, constants)


@pytest.mark.parametrize(("quantize", "code"), [("none", "PRELU"), ("float16", "PRELU"), ("dynamic-int8", "MINIMUM")])
def test_a_slope_per_channel_is_one_operation_unless_its_parts_are_to_be_quantized(
    build: Build, convert: Convert, reference: Reference, quantize: str, code: str
) -> None:
    random = np.random.default_rng(6)
    constants = {
        "w": random.standard_normal((8, 3, 3, 3)).astype(np.float32),
        "slope": random.standard_normal((8, 1, 1)).astype(np.float32),
    }
    nodes = [helper.make_node("Conv", ["x", "w"], ["c"]), helper.make_node("PRelu", ["c", "slope"], ["y"])]
    model = build(nodes, {"x": [1, 3, 8, 8]}, {"y": [1, 8, 6, 6]}, constants)
    artifact, folder = convert(target, model, quantize=quantize)
    assert code in artifact.runtime.operators
    x = random.standard_normal((1, 3, 8, 8)).astype(np.float32)
    runner = target.runner(artifact, folder)
    got, wanted = runner.run({"x": x})["y"], reference(model, {"x": x})["y"]
    assert np.sqrt(np.mean((got - wanted) ** 2)) <= artifact.parity_limit * np.sqrt(np.mean(wanted**2))


def _gelu(orders: str) -> tuple[list[onnx.NodeProto], Tensors]:
    """Gelu of x by its parts; the three letters say which two of x, the curve and a half come first."""
    first = {"x": "x", "c": "raised", "h": "half"}
    nodes = [
        helper.make_node("Div", ["x", "root"], ["scaled"]),
        helper.make_node("Erf", ["scaled"], ["curve"]),
        helper.make_node("Add", ["curve", "one"], ["raised"]),
        helper.make_node("Mul", [first[orders[0]], first[orders[1]]], ["partly"]),
        helper.make_node("Mul", ["partly", first[orders[2]]], ["y"]),
    ]
    return nodes, {"root": np.float32(2**0.5), "one": np.float32(1), "half": np.float32(0.5)}


@pytest.mark.parametrize("orders", ["xch", "xhc", "chx", "hxc"])
def test_gelu_by_its_parts_becomes_one_operation(codes: Callable[..., list[str]], orders: str) -> None:
    nodes, constants = _gelu(orders)
    assert codes(nodes, {"x": [2, 9]}, {"y": [2, 9]}, constants) == ["GELU"]


def test_gelu_whose_part_is_read_elsewhere_stays_apart(codes: Callable[..., list[str]]) -> None:
    nodes, constants = _gelu("xch")
    assert "ADD" in codes(nodes, {"x": [2, 9]}, {"y": [2, 9], "raised": [2, 9]}, constants)


def test_what_only_looks_like_gelu_stays_what_it_is(codes: Callable[..., list[str]]) -> None:
    nodes, constants = _gelu("xch")
    constants["half"] = np.float32(0.6)
    assert len(codes(nodes, {"x": [2, 9]}, {"y": [2, 9]}, constants)) > 1


def _by_tanh(*, is_power: bool = True) -> tuple[list[onnx.NodeProto], Tensors]:
    cube = (
        [helper.make_node("Pow", ["x", "three"], ["cube"])]
        if is_power
        else [helper.make_node("Mul", ["x", "x"], ["square"]), helper.make_node("Mul", ["square", "x"], ["cube"])]
    )
    nodes = [
        *cube,
        helper.make_node("Mul", ["cube", "small"], ["bent"]),
        helper.make_node("Add", ["x", "bent"], ["sum"]),
        helper.make_node("Mul", ["sum", "root"], ["scaled"]),
        helper.make_node("Tanh", ["scaled"], ["curve"]),
        helper.make_node("Add", ["one", "curve"], ["raised"]),
        helper.make_node("Mul", ["half", "x"], ["halved"]),
        helper.make_node("Mul", ["halved", "raised"], ["y"]),
    ]
    numbers = {"three": 3, "small": 0.044715, "root": (2 / np.pi) ** 0.5, "one": 1, "half": 0.5}
    return nodes, {name: np.float32(number) for name, number in numbers.items()}


@pytest.mark.parametrize("is_power", [True, False])
def test_gelu_by_tanh_becomes_one_operation(codes: Callable[..., list[str]], *, is_power: bool) -> None:
    nodes, constants = _by_tanh(is_power=is_power)
    assert codes(nodes, {"x": [2, 9]}, {"y": [2, 9]}, constants) == ["GELU"]


def test_gelu_by_tanh_stays_apart_where_there_is_no_kernel_for_it(build: Build, convert: Convert) -> None:
    nodes, constants = _by_tanh(is_power=False)
    artifact, _ = convert(target, build(nodes, {"x": [2, 9]}, {"y": [2, 9]}, constants), device="mcu")
    assert "TANH" in artifact.runtime.operators
