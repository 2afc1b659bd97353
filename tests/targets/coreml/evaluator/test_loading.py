# ruff: noqa: ANN401 - coremltools has no types
"""A package is read back from its bytes, and called with what it declares."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import numpy as np
import pytest

from targets.coreml._coremltools import coremltools, part
from targets.coreml.evaluator import EvaluationError, InputError, PackageError, load_program
from targets.coreml.evaluator._specification import messages
from tests.targets.coreml.evaluator.programs import builder, saved, sum_of_two, target, types

if TYPE_CHECKING:
    from collections.abc import Callable
    from pathlib import Path

A = np.array([1, 2, 3], np.float32)
B = np.array([10, 20, 30], np.float32)


def changed(package: Path, change: Callable[[Any], None]) -> Path:
    path = package / "Data" / "com.apple.CoreML" / "model.mlmodel"
    model = messages("Model_pb2").Model()
    model.ParseFromString(path.read_bytes())
    change(model)
    path.write_bytes(model.SerializeToString())
    return package


def test_a_package_computes_what_its_program_says(tmp_path: Path) -> None:
    program = load_program(sum_of_two(tmp_path))
    assert [(each.name, each.dtype, each.shape) for each in program.inputs] == [
        ("a", "float32", (3,)),
        ("b", "float32", (3,)),
    ]
    assert [(each.name, each.dtype) for each in program.outputs] == [("y", "float32")]
    assert program.predict({"a": A, "b": B})["y"].tolist() == [22, 44, 66]


def test_float16_is_rounded_after_each_operation(tmp_path: Path) -> None:
    mb = builder()
    spec = mb.TensorSpec(shape=(1,), dtype=types().fp16)

    @mb.program(input_specs=[spec], opset_version=target("iOS17"))
    def program(x: Any) -> Any:
        big = mb.add(x=x, y=np.float16(2048))
        return mb.sub(x=big, y=np.float16(2048), name="y")

    result = load_program(saved(tmp_path, program)).predict({"x": np.array([1.25], np.float16)})["y"]
    assert result.dtype == np.float16
    # Above 2048 a float16 counts in twos.
    assert result.tolist() == [2.0]


@pytest.mark.parametrize(
    ("inputs", "message"),
    [
        ({"a": A}, "input 'b' is missing"),
        ({"a": A, "b": B, "c": B}, "unknown input 'c'"),
        ({"a": A, "b": B[:2]}, r"'b' has the shape \[2\]: expected \[3\]"),
        ({"a": A, "b": np.array(["x", "y", "z"])}, "'b' is of type"),
    ],
)
def test_an_input_that_does_not_fit_is_refused(tmp_path: Path, inputs: dict[str, Any], message: str) -> None:
    program = load_program(sum_of_two(tmp_path))
    with pytest.raises(InputError, match=message):
        program.predict(inputs)


def test_a_free_dimension_keeps_to_its_range(tmp_path: Path) -> None:
    mb, ct = builder(), coremltools()
    symbol = part("converters.mil.mil").get_new_symbol()
    spec = mb.TensorSpec(shape=(symbol, 2), dtype=types().fp32)

    @mb.program(input_specs=[spec], opset_version=target("iOS17"))
    def program(x: Any) -> Any:
        return mb.relu(x=x, name="y")

    shape = ct.Shape(shape=(ct.RangeDim(2, 4, default=2), 2))
    loaded = load_program(saved(tmp_path, program, inputs=[ct.TensorType(name="x", shape=shape)]))
    assert loaded.predict({"x": np.ones((4, 2), np.float32)})["y"].shape == (4, 2)
    with pytest.raises(InputError, match=r"\[5, 2\]: expected \[2..4, 2..2\]"):
        loaded.predict({"x": np.ones((5, 2), np.float32)})


def test_a_state_lives_from_call_to_call(tmp_path: Path) -> None:
    mb = builder()
    state = mb.StateTensorSpec(shape=(3,), dtype=types().fp16)
    spec = mb.TensorSpec(shape=(3,), dtype=types().fp16)

    @mb.program(input_specs=[spec, state], opset_version=target("iOS18"))
    def program(x: Any, memory: Any) -> Any:
        total = mb.add(x=mb.read_state(input=memory), y=x)
        return mb.identity(x=mb.coreml_update_state(state=memory, value=total), name="y")

    loaded = load_program(saved(tmp_path, program, system="iOS18"))
    memory = loaded.new_state()
    given = {"x": A.astype(np.float16)}
    loaded.predict(given, state=memory)
    assert loaded.predict(given, state=memory)["y"].tolist() == [2, 4, 6]
    assert memory["memory"].tolist() == [2, 4, 6]
    assert loaded.predict(given)["y"].tolist() == [1, 2, 3]


def test_an_unknown_operator_is_named(tmp_path: Path) -> None:
    def rename(model: Any) -> None:
        block = model.mlProgram.functions["main"].block_specializations["CoreML7"]
        for operation in block.operations:
            if operation.type == "add":
                operation.type = "addd"

    program = load_program(changed(sum_of_two(tmp_path), rename))
    with pytest.raises(EvaluationError, match="operator 'addd' is not known"):
        program.predict({"a": A, "b": B})


def test_an_operation_that_fails_is_named(tmp_path: Path) -> None:
    def reshape(model: Any) -> None:
        main = model.mlProgram.functions["main"]
        main.inputs[1].type.tensorType.dimensions[0].constant.size = 4
        model.description.input[1].type.multiArrayType.shape[0] = 4

    program = load_program(changed(sum_of_two(tmp_path), reshape))
    with pytest.raises(EvaluationError, match=r"'total' \(add\) failed: operands could not be broadcast"):
        program.predict({"a": A, "b": np.ones(4, np.float32)})


def test_a_result_of_another_shape_than_declared_is_refused(tmp_path: Path) -> None:
    def reshape(model: Any) -> None:
        block = model.mlProgram.functions["main"].block_specializations["CoreML7"]
        for operation in block.operations:
            if operation.type == "add":
                operation.outputs[0].type.tensorType.dimensions[0].constant.size = 5

    program = load_program(changed(sum_of_two(tmp_path), reshape))
    with pytest.raises(EvaluationError, match=r"'total' \(add\) gave the shape \[3\]: expected fp32\[5\]"):
        program.predict({"a": A, "b": B})


def test_a_neural_network_is_refused_by_name(tmp_path: Path) -> None:
    package = changed(sum_of_two(tmp_path), lambda model: model.neuralNetwork.SetInParent())
    with pytest.raises(PackageError, match="of type 'neuralNetwork': expected 'mlProgram'"):
        load_program(package)


def test_a_function_that_is_not_there_is_refused(tmp_path: Path) -> None:
    with pytest.raises(PackageError, match=r"no function 'other': expected one of \['main'\]"):
        load_program(sum_of_two(tmp_path), "other")


def test_a_folder_without_a_manifest_is_refused(tmp_path: Path) -> None:
    with pytest.raises(PackageError, match=r"has no Manifest\.json"):
        load_program(tmp_path)


def test_a_manifest_can_not_lead_out_of_the_package(tmp_path: Path) -> None:
    package = sum_of_two(tmp_path)
    manifest = package / "Manifest.json"
    manifest.write_text(manifest.read_text().replace("com.apple.CoreML/model.mlmodel", "../../../model.mlmodel"))
    (tmp_path.parent / "model.mlmodel").write_bytes(b"")
    with pytest.raises(PackageError, match="is not in the package"):
        load_program(package)


def test_bytes_that_are_no_model_are_refused(tmp_path: Path) -> None:
    package = sum_of_two(tmp_path)
    (package / "Data" / "com.apple.CoreML" / "model.mlmodel").write_bytes(b"\xff" * 40)
    with pytest.raises(PackageError, match="is no model specification"):
        load_program(package)


def test_blocks_nested_beyond_the_bound_are_refused(tmp_path: Path) -> None:
    def nest(model: Any) -> None:
        block = model.mlProgram.functions["main"].block_specializations["CoreML7"]
        for _ in range(40):
            operation = block.operations.add()
            operation.type = "cond"
            block = operation.blocks.add()

    with pytest.raises(PackageError, match="nested too deeply"):
        load_program(changed(sum_of_two(tmp_path), nest))


def test_siblings_may_use_one_name_for_two_constants(tmp_path: Path) -> None:
    mb = builder()
    spec = mb.TensorSpec(shape=(1,), dtype=types().fp32)

    @mb.program(input_specs=[spec], opset_version=target("iOS17"))
    def program(x: Any) -> Any:
        positive = mb.squeeze(x=mb.greater(x=x, y=0.0), axes=[0])
        return mb.cond(
            pred=positive,
            _true_fn=lambda: mb.add(x=x, y=10.0, name="shifted"),
            _false_fn=lambda: mb.add(x=x, y=20.0, name="shifted_too"),
            name="y",
        )

    def rename(model: Any) -> None:
        block = model.mlProgram.functions["main"].block_specializations["CoreML7"]
        cond = next(each for each in block.operations if each.type == "cond")
        for inner in cond.blocks:
            constants = {each.outputs[0].name for each in inner.operations if each.type == "const"}
            for operation in inner.operations:
                for place in operation.outputs:
                    place.name = "same" if place.name in constants else place.name
                for argument in operation.inputs.values():
                    for binding in argument.arguments:
                        binding.name = "same" if binding.name in constants else binding.name

    loaded = load_program(changed(saved(tmp_path, program), rename))
    assert loaded.predict({"x": np.array([1], np.float32)})["y"].tolist() == [11]
    assert loaded.predict({"x": np.array([-1], np.float32)})["y"].tolist() == [19]
