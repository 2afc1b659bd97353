"""Quantized networks on real digits: as close as their scheme allows, and what LiteRT gets wrong is caught."""

from __future__ import annotations

import warnings
from typing import TYPE_CHECKING

import flatbuffers
import numpy as np
import pytest
from ai_edge_litert import schema_py_generated as schema
from ai_edge_quantizer import quantizer, recipe
from onnx import helper

from manifests.manifest import ParitySection
from packager.gates.parity import gate_parity
from packager.measures.parity import compare_outputs
from packager.measures.running import Shipped
from targets._target import TargetError
from targets.edge_arm import target
from targets.edge_arm._convert import _proven
from targets.edge_arm._packing import repacked

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
    Digits = tuple[onnx.ModelProto, list[NDArray[np.float32]], list[NDArray[np.float32]]]

SCHEMES = ("float16", "dynamic-int8", "int8", "int8-io", "int16x8", "int4-weights")


def _verdict(
    artifact: Artifact,
    folder: Path,
    model: onnx.ModelProto,
    calls: list[NDArray[np.float32]],
    reference: Reference,
) -> tuple[str, float]:
    """What the parity gate says by the target's own default, and the root mean square that it may have looked at."""
    shipped = Shipped(target.runner(artifact, folder), artifact.signature)
    got = [shipped.real_outputs(shipped.run(shipped.stored_inputs({"x": call})))["y"] for call in calls]
    shipped.close()
    expected = [reference(model, {"x": call})["y"] for call in calls]
    (parity,) = compare_outputs({"y": np.array(expected)}, {"y": np.array(got)})
    section = ParitySection(samples=len(calls), inputs="data", fidelity="runtime", outputs=(parity,))
    result = gate_parity(None, section, measure=artifact.parity_measure, default=artifact.parity_limit)
    return result.verdict, parity.rms_relative


def _rewritten(path: Path, model: schema.ModelT) -> Path:
    builder = flatbuffers.Builder(1 << 16)
    builder.Finish(model.Pack(builder), file_identifier=b"TFL3")
    path.write_bytes(builder.Output())
    return path


@pytest.mark.parametrize("scheme", SCHEMES)
@pytest.mark.parametrize("network", ["digits_mlp", "digits_cnn", "digits_lstm"])
def test_held_back_digits_pass_the_gate_of_every_scheme(
    request: pytest.FixtureRequest, convert: Convert, reference: Reference, network: str, scheme: str
) -> None:
    model, seen, held = request.getfixturevalue(network)
    artifact, folder = convert(target, model, {"x": np.concatenate(seen)}, quantize=scheme)
    assert artifact.quantization.scheme == scheme
    verdict, error = _verdict(artifact, folder, model, held, reference)
    assert verdict == "passed", error


def test_int8_io_takes_and_gives_int8_by_the_parameters_in_the_signature(digits_mlp: Digits, convert: Convert) -> None:
    model, seen, held = digits_mlp
    artifact, folder = convert(target, model, {"x": np.concatenate(seen)}, quantize="int8-io")
    (given,), (made,) = artifact.signature.inputs, artifact.signature.outputs
    assert (given.dtype, made.dtype) == ("int8", "int8")
    assert given.quantization is not None
    assert given.quantization.scale == pytest.approx(1 / 255)
    assert given.quantization.zero_point == -128
    assert made.quantization is not None
    assert "QUANTIZE" not in artifact.runtime.operators
    assert "DEQUANTIZE" not in artifact.runtime.operators
    stored = np.rint(held[0] / given.quantization.scale) + given.quantization.zero_point
    assert target.runner(artifact, folder).run({"x": stored.astype(np.int8)})["y"].dtype == np.int8


def test_int4_weights_are_smaller_than_int8(digits_mlp: Digits, convert: Convert) -> None:
    model, seen, _ = digits_mlp
    calibration = {"x": np.concatenate(seen)}
    sizes = {scheme: convert(target, model, calibration, quantize=scheme)[0].files[0].size for scheme in SCHEMES}
    assert sizes["int4-weights"] < sizes["dynamic-int8"] < sizes["float16"]


@pytest.mark.parametrize("scheme", ["int8", "int8-io", "int16x8"])
def test_fixed_ranges_need_data(digits_mlp: Digits, convert: Convert, scheme: str) -> None:
    with pytest.raises(TargetError, match="needs calibration data: got none") as caught:
        convert(target, digits_mlp[0], quantize=scheme)
    assert caught.value.code == "edge-arm.calibration"


def test_a_recurrence_from_a_state_of_zeros_stays_in_float_where_litert_would_not_allocate_it(
    digits_lstm: Digits, convert: Convert, tmp_path: Path
) -> None:
    model, _, _ = digits_lstm
    plain, folder = convert(target, model)
    with warnings.catch_warnings(action="ignore"):
        work = quantizer.Quantizer(str(folder / "model.tflite"), recipe.dynamic_wi8_afp32())
        unguarded = bytes(work.quantize(enable_progress_report=False).quantized_model)
    path = tmp_path / "unguarded.tflite"
    path.write_bytes(unguarded)
    with pytest.raises(TargetError, match="LiteRT does not run what was made") as caught:
        _proven(path, plain.signature)
    assert caught.value.code == "edge-arm.load"
    convert(target, model, quantize="dynamic-int8")


def test_a_subtraction_that_litert_allocates_not_in_int16_stays_in_float(
    build: Build, convert: Convert, reference: Reference
) -> None:
    random = np.random.default_rng(4)
    nodes = [
        helper.make_node("Gemm", ["x", "w"], ["a"]),
        helper.make_node("Exp", ["a"], ["b"]),
        helper.make_node("Sub", ["b", "a"], ["d"]),
        helper.make_node("Gemm", ["d", "w"], ["y"]),
    ]
    weights = (random.standard_normal((8, 8)) / 3).astype(np.float32)
    model = build(nodes, {"x": [1, 8]}, {"y": [1, 8]}, {"w": weights})
    calls = [random.standard_normal((1, 8)).astype(np.float32) for _ in range(60)]
    artifact, folder = convert(target, model, {"x": np.concatenate(calls)}, quantize="int16x8")
    assert _verdict(artifact, folder, model, calls[:30], reference)[0] == "passed"


def test_an_output_of_another_type_than_the_signature_says_is_caught(
    digits_mlp: Digits, convert: Convert, tmp_path: Path
) -> None:
    artifact, folder = convert(target, digits_mlp[0], quantize="float16")
    model = schema.ModelT.InitFromPackedBuf((folder / "model.tflite").read_bytes())
    graph = model.subgraphs[0]
    half = next(place for place, tensor in enumerate(graph.tensors) if tensor.type == schema.TensorType.FLOAT16)
    graph.outputs = np.array([half], np.int32)
    model.signatureDefs[0].outputs[0].tensorIndex = half
    with pytest.raises(TargetError, match=r"float32.*got float16|does not run") as caught:
        _proven(_rewritten(tmp_path / "half.tflite", model), artifact.signature)
    assert caught.value.code == "edge-arm.load"


@pytest.mark.parametrize("form", ["grouped", "dilated", "multiplied", "batch"])
def test_convolutions_of_every_form_are_right_under_dynamic_ranges(
    build: Build, convert: Convert, reference: Reference, form: str
) -> None:
    random = np.random.default_rng(4)
    batch = 4 if form == "batch" else 1
    filters, attributes, size = {
        "grouped": ((8, 4, 3, 3), {"group": 2}, 6),
        "dilated": ((8, 8, 3, 3), {"dilations": [2, 2]}, 4),
        "multiplied": ((16, 1, 3, 3), {"group": 8}, 6),
        "batch": ((8, 8, 3, 3), {}, 6),
    }[form]
    nodes = [helper.make_node("Conv", ["x", "w"], ["y"], **attributes)]
    weights = (random.standard_normal(filters) / 3).astype(np.float32)
    model = build(nodes, {"x": [batch, 8, 8, 8]}, {"y": [batch, filters[0], size, size]}, {"w": weights})
    artifact, folder = convert(target, model, quantize="dynamic-int8")
    calls = [random.standard_normal((batch, 8, 8, 8)).astype(np.float32) for _ in range(20)]
    verdict, error = _verdict(artifact, folder, model, calls, reference)
    assert verdict == "passed", error


def test_a_convolution_computed_wrongly_fails_the_gate(
    digits_cnn: Digits, convert: Convert, reference: Reference
) -> None:
    model, _, held = digits_cnn
    artifact, folder = convert(target, model, quantize="dynamic-int8")
    path = folder / "model.tflite"
    wrong = schema.ModelT.InitFromPackedBuf(path.read_bytes())
    for tensor in wrong.subgraphs[0].tensors:
        if tensor.type == schema.TensorType.INT8 and len(tensor.shape) == 4:
            tensor.quantization.scale = np.asarray(tensor.quantization.scale, np.float32)[::-1].copy()
    assert _verdict(artifact, folder, model, held, reference)[0] == "passed"
    _rewritten(path, wrong)
    assert _verdict(artifact, folder, model, held, reference)[0] == "failed"


def test_a_divisor_that_int8_may_round_to_zero_stays_in_float(
    build: Build, convert: Convert, reference: Reference
) -> None:
    random = np.random.default_rng(5)
    nodes = [
        helper.make_node("Gemm", ["x", "w"], ["a"]),
        helper.make_node("Exp", ["a"], ["e"]),
        helper.make_node("ReduceSum", ["e", "axes"], ["s"]),
        helper.make_node("Div", ["e", "s"], ["d"]),
        helper.make_node("Div", ["d", "s"], ["q"]),
        helper.make_node("Gemm", ["q", "w"], ["y"]),
    ]
    weights = (random.standard_normal((8, 8)) * 2).astype(np.float32)
    model = build(nodes, {"x": [1, 8]}, {"y": [1, 8]}, {"w": weights, "axes": np.array([1])})
    calls = [random.standard_normal((1, 8)).astype(np.float32) for _ in range(40)]
    artifact, folder = convert(target, model, {"x": np.concatenate(calls)}, quantize="int8")
    runner = target.runner(artifact, folder)
    assert all(np.isfinite(runner.run({"x": call})["y"]).all() for call in calls)
    assert reference(model, {"x": calls[0]})["y"].shape == (1, 8)


def test_outputs_that_only_float_computes_are_int8_under_int8_io(build: Build, convert: Convert) -> None:
    random = np.random.default_rng(5)
    nodes = [
        helper.make_node("Gemm", ["x", "w"], ["a"]),
        helper.make_node("Abs", ["a"], ["b"]),
        helper.make_node("Add", ["b", "one"], ["c"]),
        helper.make_node("Div", ["a", "c"], ["y"]),
    ]
    weights = random.standard_normal((8, 8)).astype(np.float32)
    model = build(nodes, {"x": [1, 8]}, {"y": [1, 8]}, {"w": weights, "one": np.float32(1)})
    x = random.standard_normal((40, 8)).astype(np.float32)
    artifact, folder = convert(target, model, {"x": x}, quantize="int8-io")
    (given,), (made,) = artifact.signature.inputs, artifact.signature.outputs
    assert given.quantization is not None
    assert made.quantization is not None
    stored = np.rint(x[:1] / given.quantization.scale + given.quantization.zero_point).clip(-128, 127).astype(np.int8)
    got = target.runner(artifact, folder).run({"x": stored})["y"]
    product = x[:1] @ weights
    real = (got.astype(float) - made.quantization.zero_point) * made.quantization.scale
    np.testing.assert_allclose(real, product / (np.abs(product) + 1), atol=0.03)


def test_what_is_outside_of_a_loop_is_int8_and_the_loop_stays_in_float(
    build: Build, convert: Convert, reference: Reference
) -> None:
    random = np.random.default_rng(6)
    steps, width = 30, 8
    nodes = [
        helper.make_node("MatMul", ["x", "before"], ["a"]),
        helper.make_node("Relu", ["a"], ["r"]),
        helper.make_node("GRU", ["r", "w", "u"], ["", "last"], hidden_size=width),
        helper.make_node("Reshape", ["last", "shape"], ["h"]),
        helper.make_node("Gemm", ["h", "after"], ["y"]),
    ]
    constants = {
        "before": random.standard_normal((width, width)) / 3,
        "w": random.standard_normal((1, 3 * width, width)) / 3,
        "u": random.standard_normal((1, 3 * width, width)) / 3,
        "after": random.standard_normal((width, 4)),
    }
    weights = {name: array.astype(np.float32) for name, array in constants.items()} | {"shape": np.array([1, width])}
    model = build(nodes, {"x": [steps, 1, width]}, {"y": [1, 4]}, weights)
    calls = [random.standard_normal((steps, 1, width)).astype(np.float32) for _ in range(16)]
    artifact, folder = convert(target, model, {"x": np.concatenate(calls)}, quantize="int8")
    assert "WHILE" in artifact.runtime.operators
    stored = schema.ModelT.InitFromPackedBuf((folder / "model.tflite").read_bytes())
    kinds = [{tensor.type for tensor in graph.tensors} for graph in stored.subgraphs]
    assert schema.TensorType.INT8 in kinds[0]
    assert all(schema.TensorType.INT8 not in kind for kind in kinds[1:])
    verdict, error = _verdict(artifact, folder, model, calls, reference)
    assert verdict == "passed", error


@pytest.mark.parametrize("scheme", ["none", "float16", "dynamic-int8", "int8", "int16x8", "int4-weights"])
def test_all_data_lies_within_the_tables_where_a_microcontroller_looks(
    digits_mlp: Digits, convert: Convert, scheme: str
) -> None:
    """The quantizer puts larger weights behind the tables, and TensorFlow Lite Micro reads something else."""
    model, seen, _ = digits_mlp
    artifact, folder = convert(target, model, {"x": np.concatenate(seen[:20])}, quantize=scheme)
    data = (folder / artifact.runtime.entry).read_bytes()
    file = schema.ModelT.InitFromPackedBuf(data)
    assert [buffer.offset for buffer in file.buffers] == [0] * len(file.buffers)
    assert sum(len(buffer.data) for buffer in file.buffers if buffer.data is not None) > len(data) / 3


def test_equal_vectors_are_written_once(digits_mlp: Digits, convert: Convert) -> None:
    model, seen, _ = digits_mlp
    artifact, folder = convert(target, model, {"x": np.concatenate(seen[:20])}, quantize="int8")
    data = (folder / artifact.runtime.entry).read_bytes()
    zeros = np.zeros(32, np.int64).tobytes()  # of the hidden layer's weights, and of its biases
    assert data.count((32).to_bytes(4, "little") + zeros) == 1
    assert len(repacked(data)) == len(data)


@pytest.mark.parametrize("scheme", ["int8", "int8-io", "int16x8"])
@pytest.mark.parametrize("far", [-1e4, -1e9, -np.inf])
@pytest.mark.parametrize("is_chosen", [True, False])
def test_a_mask_before_a_softmax_leaves_the_rest_its_steps(
    build: Build, convert: Convert, reference: Reference, scheme: str, far: float, *, is_chosen: bool
) -> None:
    """A range that reaches to the mask has steps of 40 and more; one without the mask's infinity forgets the mask."""
    random = np.random.default_rng(4)
    constants = {
        name: (random.standard_normal((16, 16)) / 6).astype(np.float32) for name in ("query", "key", "value", "result")
    }
    later = np.triu(np.ones((12, 12), bool), 1)
    constants |= {"far": np.float32(far), "later": later, "mask": np.where(later, far, 0).astype(np.float32)}
    nodes = [
        helper.make_node("MatMul", ["x", "query"], ["q"]),
        helper.make_node("MatMul", ["x", "key"], ["k"]),
        helper.make_node("MatMul", ["x", "value"], ["v"]),
        helper.make_node("Transpose", ["k"], ["turned"], perm=[0, 2, 1]),
        helper.make_node("MatMul", ["q", "turned"], ["scores"]),
        helper.make_node("Where", ["later", "far", "scores"], ["masked"])
        if is_chosen
        else helper.make_node("Add", ["scores", "mask"], ["masked"]),
        helper.make_node("Softmax", ["masked"], ["shares"]),
        helper.make_node("MatMul", ["shares", "v"], ["mixed"]),
        helper.make_node("MatMul", ["mixed", "result"], ["y"]),
    ]
    model = build(nodes, {"x": [1, 12, 16]}, {"y": [1, 12, 16]}, constants)
    calls = [random.standard_normal((1, 12, 16)).astype(np.float32) for _ in range(24)]
    artifact, folder = convert(target, model, {"x": np.concatenate(calls[:16])}, quantize=scheme)
    verdict, error = _verdict(artifact, folder, model, calls[16:], reference)
    assert verdict == "passed", error
    assert error < 0.04
