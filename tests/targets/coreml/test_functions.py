"""Several functions in one package, for several sizes of free dimensions."""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np
import pytest
from onnx import helper

from targets._target import TargetError
from targets.coreml import target
from targets.coreml._package import PACKAGE, read_specification
from targets.coreml.evaluator import load_program

if TYPE_CHECKING:
    from collections.abc import Callable
    from pathlib import Path

    import onnx
    from numpy.typing import NDArray

    from targets._target import Artifact

    Build = Callable[..., onnx.ModelProto]
    Convert = Callable[..., tuple[Artifact, Path]]
    Reference = Callable[[onnx.ModelProto, dict[str, NDArray]], dict[str, NDArray]]

FUNCTIONS = {"step": {"time": 1}, "prompt": {"time": 12}}


@pytest.fixture
def mixer(build: Build) -> onnx.ModelProto:
    """Two products by 64 x 64 numbers around a softmax over all time steps."""
    random = np.random.default_rng(7)
    nodes = [
        helper.make_node("MatMul", ["x", "w"], ["a"]),
        helper.make_node("Softmax", ["a"], ["s"], axis=1),
        helper.make_node("MatMul", ["s", "v"], ["y"]),
    ]
    constants = {name: random.standard_normal((64, 64)).astype(np.float32) / 8 for name in ("w", "v")}
    return build(nodes, {"x": ["batch", "time", 64]}, {"y": ["batch", "time", 64]}, constants)


def weights(folder: Path) -> int:
    return (folder / PACKAGE / "Data/com.apple.CoreML/weights/weight.bin").stat().st_size


@pytest.mark.parametrize("options", [{"precision": "float32"}, {}, {"compress": "int8"}, {"compress": "auto"}])
def test_each_function_computes_what_the_model_does_at_its_sizes(
    mixer: onnx.ModelProto, convert: Convert, reference: Reference, options: dict[str, object]
) -> None:
    artifact, folder = convert(target, mixer, minimum="ios18", functions=FUNCTIONS, **options)
    assert [entry.shape for entry in artifact.signature.inputs] == [(1, "time", 64)]
    assert [entry.shape for entry in artifact.signature.outputs] == [(1, "time", 64)]
    limit = {"float32": 1e-5}.get(str(options.get("precision")), 0.07 if "compress" in options else 5e-3)
    for name, sizes in FUNCTIONS.items():
        program = load_program(folder / PACKAGE, name)
        x = np.random.default_rng(1).standard_normal((1, sizes["time"], 64)).astype(np.float32)
        expected = reference(mixer, {"x": x})["y"]
        difference = program.predict({"x": x})["y"] - expected
        assert np.sqrt(np.mean(difference**2) / np.mean(expected**2)) < limit


def test_the_functions_share_their_weights(mixer: onnx.ModelProto, convert: Convert) -> None:
    _, one = convert(target, mixer, minimum="ios18", dimensions={"time": 12})
    _, two = convert(target, mixer, minimum="ios18", functions=FUNCTIONS)
    assert weights(two) < 1.05 * weights(one)


def test_the_first_function_is_the_default_and_the_same_bytes_come_twice(
    mixer: onnx.ModelProto, convert: Convert
) -> None:
    first, folder = convert(target, mixer, minimum="ios18", functions=FUNCTIONS)
    second, _ = convert(target, mixer, minimum="ios18", functions=FUNCTIONS)
    assert first == second
    description = read_specification(folder / PACKAGE).description
    assert description.defaultFunctionName == "step"
    assert {each.name for each in description.functions} == set(FUNCTIONS)


def test_the_runner_chooses_the_function_by_the_shape(
    mixer: onnx.ModelProto, convert: Convert, reference: Reference
) -> None:
    artifact, folder = convert(target, mixer, minimum="ios18", functions=FUNCTIONS, precision="float32")
    runner = target.runner(artifact, folder)
    for length in (12, 1):
        x = np.random.default_rng(2).standard_normal((1, length, 64)).astype(np.float32)
        np.testing.assert_allclose(runner.run({"x": x})["y"], reference(mixer, {"x": x})["y"], rtol=1e-4, atol=1e-5)
    with pytest.raises(TargetError, match="expected"):
        runner.run({"x": np.zeros((1, 5, 64), np.float32)})


def test_functions_for_several_batches_take_any_number_of_samples(
    free_mlp: onnx.ModelProto, convert: Convert, reference: Reference
) -> None:
    functions = {"one": {"batch": 1}, "eight": {"batch": 8}}
    artifact, folder = convert(target, free_mlp, minimum="ios18", functions=functions, precision="float32")
    x = np.random.default_rng(3).standard_normal((19, 64)).astype(np.float32)
    got = target.runner(artifact, folder).run({"x": x})["y"]
    np.testing.assert_allclose(got, reference(free_mlp, {"x": x})["y"], rtol=1e-4, atol=1e-5)


@pytest.mark.parametrize(
    ("options", "said"),
    [
        ({"minimum": "ios17", "functions": FUNCTIONS}, "ios17 has one function"),
        ({"minimum": "ios18", "functions": {"a": {"length": 3}}}, "a size to 'length'"),
        ({"minimum": "ios18", "functions": {"a b": {"time": 3}}}, "no name for Core ML"),
        ({"minimum": "ios18", "functions": FUNCTIONS, "classifier": True}, "one function"),
    ],
)
def test_what_core_ml_has_not_is_refused(
    mixer: onnx.ModelProto, convert: Convert, options: dict[str, object], said: str
) -> None:
    with pytest.raises(TargetError, match=said) as caught:
        convert(target, mixer, **options)
    assert caught.value.code == "coreml.functions"
