"""The edge-arm target on whole networks: right in float, close in int8, the same bytes twice, clear in refusal."""

from __future__ import annotations

import re
from typing import TYPE_CHECKING

import numpy as np
import onnx
import pytest
from ai_edge_litert import schema_py_generated as schema
from onnx import helper

from manifests.manifest import ParitySection
from packager.gates.parity import gate_parity
from packager.measures.parity import compare_outputs
from targets._target import Target, TargetError
from targets.edge_arm import target

if TYPE_CHECKING:
    from collections.abc import Callable
    from pathlib import Path

    from numpy.typing import NDArray

    from manifests.manifest import OutputParity
    from targets._target import Artifact

    Build = Callable[..., onnx.ModelProto]
    Convert = Callable[..., tuple[Artifact, Path]]
    Tensors = dict[str, NDArray]
    Reference = Callable[[onnx.ModelProto, Tensors], Tensors]

SCHEMES = ("none", "float16", "dynamic-int8", "int8")


@pytest.fixture(params=["mlp", "cnn"])
def network(request: pytest.FixtureRequest) -> onnx.ModelProto:
    return request.getfixturevalue(request.param)


def _pictures(model: onnx.ModelProto, count: int) -> NDArray[np.float32]:
    shape = [size.dim_value for size in model.graph.input[0].type.tensor_type.shape.dim]
    return np.random.default_rng(3).standard_normal((count, *shape[1:])).astype(np.float32)


def _parity(artifact: Artifact, folder: Path, model: onnx.ModelProto, reference: Reference) -> OutputParity:
    pictures = _pictures(model, 30)
    runner = target.runner(artifact, folder)
    got, expected = [], []
    for picture in pictures:
        got.append(runner.run({"x": picture[None]})["y"])
        expected.append(reference(model, {"x": picture[None]})["y"])
    runner.close()
    (parity,) = compare_outputs({"y": np.array(expected)}, {"y": np.array(got)})
    return parity


def _codes(artifact: Artifact, folder: Path) -> list[str]:
    model = schema.ModelT.InitFromPackedBuf((folder / artifact.runtime.entry).read_bytes())
    names = {number: name for name, number in vars(schema.BuiltinOperator).items() if not name.startswith("_")}
    used = [model.operatorCodes[operator.opcodeIndex].builtinCode for operator in model.subgraphs[0].operators]
    return [names[code] for code in used]


def test_the_target_satisfies_the_protocol() -> None:
    assert isinstance(target, Target)
    assert target.free_dimensions(target.Options(batch=4)) == {"*": 4}


@pytest.mark.parametrize("scheme", SCHEMES)
def test_every_scheme_keeps_to_the_parity_limit_that_it_declares(
    network: onnx.ModelProto, convert: Convert, reference: Reference, scheme: str
) -> None:
    artifact, folder = convert(target, network, {"x": _pictures(network, 100)}, quantize=scheme)
    parity = _parity(artifact, folder, network, reference)
    assert (
        gate_parity(
            None,
            ParitySection(samples=30, inputs="generated", fidelity="runtime", outputs=(parity,)),
            measure=artifact.parity_measure,
            default=artifact.parity_limit,
        ).verdict
        == "passed"
    )


@pytest.mark.parametrize("scheme", SCHEMES)
def test_inputs_and_outputs_keep_name_dtype_shape_and_layout(
    cnn: onnx.ModelProto, convert: Convert, scheme: str
) -> None:
    artifact, folder = convert(target, cnn, {"x": _pictures(cnn, 20)}, quantize=scheme)
    (given,), (made,) = artifact.signature.inputs, artifact.signature.outputs
    assert (given.name, given.dtype, given.shape) == ("x", "float32", (1, 3, 16, 16))
    assert (made.name, made.dtype, made.shape) == ("y", "float32", (1, 10))
    result = target.runner(artifact, folder).run({"x": _pictures(cnn, 1)})
    assert result["y"].dtype == np.float32
    assert result["y"].shape == (1, 10)


@pytest.mark.parametrize("scheme", SCHEMES)
def test_the_same_model_gives_the_same_bytes_in_another_folder(
    network: onnx.ModelProto, convert: Convert, scheme: str
) -> None:
    calibration = {"x": _pictures(network, 20)}
    first, _ = convert(target, network, calibration, quantize=scheme)
    second, _ = convert(target, network, calibration, quantize=scheme)
    assert first == second


def test_int8_is_a_third_of_the_size_and_computes_in_int8(mlp: onnx.ModelProto, convert: Convert) -> None:
    plain, _ = convert(target, mlp)
    small, folder = convert(target, mlp, {"x": _pictures(mlp, 20)}, quantize="int8")
    assert small.files[0].size < plain.files[0].size / 2
    assert _codes(small, folder)[0] == "QUANTIZE"
    assert _codes(small, folder)[-2:] == ["DEQUANTIZE", "SOFTMAX"]
    assert small.quantization.calibration_samples == 20


def test_batch_normalization_bias_and_activation_leave_no_operation_of_their_own(
    cnn: onnx.ModelProto, convert: Convert
) -> None:
    artifact, folder = convert(target, cnn)
    assert _codes(artifact, folder) == [
        "TRANSPOSE",
        "PAD",
        "CONV_2D",
        "DEPTHWISE_CONV_2D",
        "HARD_SWISH",
        "ADD",
        "MAX_POOL_2D",
        "CONV_2D",
        "TRANSPOSE",
        "RESHAPE",
        "FULLY_CONNECTED",
        "SOFTMAX",
    ]


def test_no_transpose_stands_between_channels_last_operations(
    build: Build, convert: Convert, reference: Reference
) -> None:
    weights = np.random.default_rng(5).standard_normal((4, 4, 3, 3)).astype(np.float32)
    nodes = [
        helper.make_node("Transpose", ["x"], ["t"], perm=[0, 3, 1, 2]),
        helper.make_node("Conv", ["t", "w"], ["c"], pads=[1, 1, 1, 1]),
        helper.make_node("Concat", ["c", "t"], ["d"], axis=1),
        helper.make_node("ReduceMean", ["d"], ["m"], axes=[1], keepdims=1),
        helper.make_node("Mul", ["m", "d"], ["s"]),
        helper.make_node("Transpose", ["s"], ["y"], perm=[0, 2, 3, 1]),
    ]
    model = build(nodes, {"x": [1, 6, 6, 4]}, {"y": [1, 6, 6, 8]}, {"w": weights})
    artifact, folder = convert(target, model)
    assert "TRANSPOSE" not in artifact.runtime.operators
    x = np.random.default_rng(6).standard_normal((1, 6, 6, 4)).astype(np.float32)
    got = target.runner(artifact, folder).run({"x": x})["y"]
    np.testing.assert_allclose(got, reference(model, {"x": x})["y"], rtol=1e-4, atol=1e-5)


def test_channels_that_are_shuffled_between_convolutions_move_once(
    build: Build, convert: Convert, reference: Reference
) -> None:
    weights = np.random.default_rng(5).standard_normal((8, 8, 1, 1)).astype(np.float32)
    nodes = [
        helper.make_node("Conv", ["x", "w"], ["a"]),
        helper.make_node("Reshape", ["a", "split"], ["b"]),
        helper.make_node("Transpose", ["b"], ["c"], perm=[0, 2, 1, 3, 4]),
        helper.make_node("Reshape", ["c", "joined"], ["d"]),
        helper.make_node("Conv", ["d", "w"], ["y"]),
    ]
    constants = {"w": weights, "split": np.array([1, 2, 4, 5, 6]), "joined": np.array([1, 8, 5, 6])}
    model = build(nodes, {"x": [1, 8, 5, 6]}, {"y": [1, 8, 5, 6]}, constants)
    artifact, folder = convert(target, model)
    assert _codes(artifact, folder).count("TRANSPOSE") == 3  # channels last, shuffled, channels first
    x = np.random.default_rng(6).standard_normal((1, 8, 5, 6)).astype(np.float32)
    got = target.runner(artifact, folder).run({"x": x})["y"]
    np.testing.assert_allclose(got, reference(model, {"x": x})["y"], rtol=1e-4, atol=1e-5)


def test_a_value_that_is_read_twice_is_not_fused_away(build: Build, convert: Convert, reference: Reference) -> None:
    nodes = [
        helper.make_node("MatMul", ["x", "w"], ["m"]),
        helper.make_node("Relu", ["m"], ["r"]),
        helper.make_node("Transpose", ["m"], ["t"], perm=[1, 0]),
        helper.make_node("Transpose", ["t"], ["n"], perm=[1, 0]),
        helper.make_node("Add", ["n", "b"], ["a"]),
        helper.make_node("Sub", ["a", "r"], ["y"]),
    ]
    constants = {"w": np.eye(4, dtype=np.float32), "b": np.full(4, 3, np.float32)}
    model = build(nodes, {"x": [2, 4]}, {"y": [2, 4], "r": [2, 4]}, constants)
    x = np.array([[-1, 2, -3, 4], [5, -6, 7, -8]], np.float32)
    artifact, folder = convert(target, model)
    got = target.runner(artifact, folder).run({"x": x})
    for name, expected in reference(model, {"x": x}).items():
        np.testing.assert_allclose(got[name], expected)


def test_an_input_that_is_also_an_output_keeps_both_names(build: Build, convert: Convert) -> None:
    nodes = [helper.make_node("Identity", ["x"], ["y"]), helper.make_node("Identity", ["x"], ["z"])]
    artifact, folder = convert(target, build(nodes, {"x": [2]}, {"y": [2], "z": [2]}, {}))
    got = target.runner(artifact, folder).run({"x": np.array([1, 2], np.float32)})
    assert [got[name].tolist() for name in ("y", "z")] == [[1, 2], [1, 2]]


def test_every_node_that_cannot_be_taken_is_listed_at_once_by_name(build: Build) -> None:
    nodes = [
        helper.make_node("NonZero", ["x"], ["a"], name="first"),
        helper.make_node("Relu", ["a"], ["b"], name="fine"),
        helper.make_node("Unique", ["x"], ["c"], name="second"),
        helper.make_node("Nothing", ["b"], ["d"], domain="com.example"),
        helper.make_node("Add", ["c", "d"], ["y"], name="last"),
    ]
    model = build(nodes, {"x": [2, 2]}, {"y": [2, 2]}, {})
    found = target.unsupported(model, target.Options())
    assert [finding.node for finding in found][:3] == ["first", "second", "d"]
    assert [finding.operator for finding in found][:3] == ["NonZero", "Unique", "com.example.Nothing"]
    assert all(finding.reason for finding in found)


def test_an_unsupported_model_is_refused_with_the_node_and_no_file(build: Build, convert: Convert) -> None:
    model = build(
        [helper.make_node("Nothing", ["x"], ["y"], domain="com.example", name="odd")], {"x": [2]}, {"y": [2]}, {}
    )
    with pytest.raises(TargetError, match=re.escape("node 'odd' (com.example.Nothing) can't be expressed")) as caught:
        convert(target, model)
    assert caught.value.code == "edge-arm.operators"


def test_a_constant_outside_int32_is_refused_by_the_node_that_reads_it(build: Build) -> None:
    nodes = [
        helper.make_node("Cast", ["x"], ["i"], to=onnx.TensorProto.INT64),
        helper.make_node("Add", ["i", "huge"], ["s"], name="sum"),
        helper.make_node("Cast", ["s"], ["y"], to=onnx.TensorProto.FLOAT),
    ]
    model = build(nodes, {"x": [2]}, {"y": [2]}, {"huge": np.array([2**40], np.int64)})
    (finding,) = target.unsupported(model, target.Options())
    assert finding.node == "sum"
    assert "does not fit into int32" in finding.reason


def test_a_node_whose_inputs_do_not_fit_is_refused_by_name(build: Build) -> None:
    nodes = [
        helper.make_node("Nothing", ["x"], ["a"], domain="com.example", name="before"),
        helper.make_node("LSTM", ["x", "w", "r"], ["y"], hidden_size=2, name="layer"),
    ]
    constants = {"w": np.zeros((1, 8, 3), np.float32), "r": np.zeros((1, 8, 2), np.float32)}
    model = build(nodes, {"x": [2, 3]}, {"a": [2, 3]}, constants)
    assert [finding.node for finding in target.unsupported(model, target.Options())] == ["before", "layer"]


def test_a_free_dimension_is_refused_with_a_hint(free_mlp: onnx.ModelProto, convert: Convert) -> None:
    with pytest.raises(TargetError) as caught:
        convert(target, free_mlp)
    assert caught.value.code == "edge-arm.shape"
    assert "targets.edge-arm.batch" in caught.value.hint


@pytest.mark.parametrize(
    ("calibration", "message"),
    [
        (None, "needs calibration data: got none"),
        ({"other": np.zeros((3, 64), np.float32)}, "no array for input 'x'"),
        ({"x": np.zeros((3, 63), np.float32)}, r"expected \[1, 64\], got \[3, 63\]"),
    ],
)
def test_int8_without_data_that_fits_is_refused(
    mlp: onnx.ModelProto, convert: Convert, calibration: Tensors | None, message: str
) -> None:
    with pytest.raises(TargetError, match=message) as caught:
        convert(target, mlp, calibration, quantize="int8")
    assert caught.value.code == "edge-arm.calibration"


def test_int64_inside_is_noted(build: Build, convert: Convert) -> None:
    model = build(
        [helper.make_node("ArgMax", ["x"], ["i"]), helper.make_node("Cast", ["i"], ["y"], to=1)],
        {"x": [3, 2]},
        {"y": [1, 2]},
        {},
    )
    artifact, _ = convert(target, model)
    assert any("int64 is computed as int32" in note for note in artifact.notes)


def test_features_of_different_ranges_that_the_model_scales_itself_survive_int8(
    build: Build, convert: Convert, reference: Reference
) -> None:
    random = np.random.default_rng(8)
    ranges = np.array([1000, 1, 0.001, 10], np.float32)
    nodes = [
        helper.make_node("Sub", ["x", "mean"], ["centred"]),
        helper.make_node("Mul", ["centred", "scale"], ["standard"]),
        helper.make_node("Gemm", ["standard", "w"], ["y"]),
    ]
    constants = {"mean": ranges, "scale": 1 / ranges, "w": random.standard_normal((4, 3)).astype(np.float32)}
    model = build(nodes, {"x": [1, 4]}, {"y": [1, 3]}, constants)
    x = (random.uniform(0, 2, (200, 4)) * ranges).astype(np.float32)
    artifact, folder = convert(target, model, {"x": x}, quantize="int8")
    runner = target.runner(artifact, folder)
    got = np.array([runner.run({"x": row[None]})["y"] for row in x])
    expected = np.array([reference(model, {"x": row[None]})["y"] for row in x])
    assert np.abs(got - expected).max() / np.abs(expected).max() < 0.03


@pytest.mark.parametrize("form", ["divided", "gated"])
def test_hard_swish_by_its_parts_becomes_one_operation(
    build: Build, convert: Convert, reference: Reference, form: str
) -> None:
    divided = [
        helper.make_node("Add", ["x", "three"], ["a"]),
        helper.make_node("Clip", ["a", "zero", "six"], ["c"]),
        helper.make_node("Mul", ["x", "c"], ["m"]),
        helper.make_node("Div", ["m", "six"], ["y"]),
    ]
    gated = [
        helper.make_node("HardSigmoid", ["x"], ["h"], alpha=1 / 6, beta=0.5),
        helper.make_node("Mul", ["x", "h"], ["y"]),
    ]
    constants = {"zero": np.float32(0), "three": np.float32(3), "six": np.float32(6)}
    model = build({"divided": divided, "gated": gated}[form], {"x": [2, 9]}, {"y": [2, 9]}, constants)
    artifact, folder = convert(target, model)
    assert artifact.runtime.operators == ("HARD_SWISH",)
    x = np.linspace(-5, 5, 18, dtype=np.float32).reshape(2, 9)
    got = target.runner(artifact, folder).run({"x": x})["y"]
    np.testing.assert_allclose(got, reference(model, {"x": x})["y"], rtol=1e-5, atol=1e-6)
