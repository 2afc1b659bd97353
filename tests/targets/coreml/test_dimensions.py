"""Free dimensions: a size, a range or choices for each, in the package and in the runner."""

from __future__ import annotations

from typing import TYPE_CHECKING

import msgspec
import numpy as np
import pytest
from onnx import helper

from manifests.pipeline import DECLARATION_KEY, Declaration
from targets._target import TargetError
from targets.coreml import target
from targets.coreml._package import PACKAGE, read_specification
from targets.coreml.evaluator import InputError, load_program

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
def free_cnn(build: Build) -> onnx.ModelProto:
    """Pictures of any batch, height and width: a convolution, pools, a resize, a joint, and 4 means."""
    random = np.random.default_rng(5)
    nodes = [
        helper.make_node("Conv", ["x", "w"], ["c"], pads=[1, 1, 1, 1], strides=[2, 2]),
        helper.make_node("Relu", ["c"], ["r"]),
        helper.make_node("MaxPool", ["r"], ["p"], kernel_shape=[3, 3], pads=[1, 1, 1, 1]),
        helper.make_node("Concat", ["r", "p"], ["joined"], axis=1),
        helper.make_node("GlobalAveragePool", ["joined"], ["means"]),
        helper.make_node("Flatten", ["means"], ["flat"]),
        helper.make_node("MatMul", ["flat", "m"], ["y"]),
    ]
    constants = {
        "w": random.standard_normal((4, 3, 3, 3)).astype(np.float32),
        "m": random.standard_normal((8, 4)).astype(np.float32),
    }
    return build(nodes, {"x": ["batch", 3, "height", "width"]}, {"y": ["batch", 4]}, constants)


def _rows(count: int) -> NDArray[np.float32]:
    return np.random.default_rng(count).standard_normal((count, 64)).astype(np.float32)


def test_a_free_dimension_without_an_entry_is_the_batch(free_mlp: onnx.ModelProto, convert: Convert) -> None:
    artifact, _ = convert(target, free_mlp, batch=3)
    assert artifact.signature.inputs[0].shape == (3, 64)


def test_a_range_stands_in_the_package_and_every_size_within_it_is_right(
    free_mlp: onnx.ModelProto, convert: Convert, reference: Reference
) -> None:
    artifact, folder = convert(target, free_mlp, dimensions={"batch": "1..8"}, precision="float32")
    assert artifact.signature.inputs[0].shape == ("batch", 64)
    assert artifact.signature.outputs[0].shape == ("batch", 10)
    (entry,) = read_specification(folder / PACKAGE).description.input
    ranges = entry.type.multiArrayType.shapeRange.sizeRanges
    assert [(each.lowerBound, each.upperBound) for each in ranges] == [(1, 8), (64, 64)]
    program = load_program(folder / PACKAGE)
    for count in (1, 5, 8):
        expected = reference(free_mlp, {"x": _rows(count)})["y"]
        np.testing.assert_allclose(program.predict({"x": _rows(count)})["y"], expected, rtol=1e-5, atol=1e-6)
    with pytest.raises(InputError):
        program.predict({"x": _rows(9)})


@pytest.mark.parametrize(("allowed", "count"), [("1..8", 20), ("4, 16", 23), ("2..", 300)])
def test_the_runner_takes_any_number_of_samples_in_calls_that_the_package_allows(
    free_mlp: onnx.ModelProto, convert: Convert, reference: Reference, allowed: str, count: int
) -> None:
    artifact, folder = convert(target, free_mlp, dimensions={"*": allowed}, precision="float32")
    got = target.runner(artifact, folder).run({"x": _rows(count)})["y"]
    np.testing.assert_allclose(got, reference(free_mlp, {"x": _rows(count)})["y"], rtol=1e-5, atol=1e-6)


def test_choices_are_listed_shape_by_shape(free_cnn: onnx.ModelProto, convert: Convert, reference: Reference) -> None:
    sizes = {"batch": 1, "height": "16, 32", "width": "16, 24"}
    _, folder = convert(target, free_cnn, dimensions=sizes, precision="float32")
    array = read_specification(folder / PACKAGE).description.input[0].type.multiArrayType
    assert list(array.shape) == [1, 3, 16, 16]
    shapes = [tuple(each.shape) for each in array.enumeratedShapes.shapes]
    assert shapes == [(1, 3, 16, 16), (1, 3, 16, 24), (1, 3, 32, 16), (1, 3, 32, 24)]
    program = load_program(folder / PACKAGE)
    for shape in shapes:
        picture = np.random.default_rng(1).standard_normal(shape).astype(np.float32)
        expected = reference(free_cnn, {"x": picture})["y"]
        np.testing.assert_allclose(program.predict({"x": picture})["y"], expected, rtol=1e-4, atol=1e-5)


def test_a_flexible_model_in_float16_keeps_to_its_limit(
    free_cnn: onnx.ModelProto, convert: Convert, reference: Reference
) -> None:
    artifact, folder = convert(target, free_cnn, dimensions={"*": "1..", "height": "8..64", "width": "8..64"})
    picture = np.random.default_rng(1).standard_normal((2, 3, 40, 24)).astype(np.float32)
    expected = reference(free_cnn, {"x": picture})["y"]
    got = target.runner(artifact, folder).run({"x": picture})["y"]
    assert np.sqrt(np.mean((got - expected) ** 2)) < artifact.parity_limit * np.sqrt(np.mean(expected**2))


def test_a_node_that_needs_sizes_as_numbers_is_named(build: Build, convert: Convert) -> None:
    model = build(
        [helper.make_node("DepthToSpace", ["x"], ["d"], blocksize=2), helper.make_node("Det", ["d"], ["y"], "last")],
        {"x": [1, 4, "side", "side"]},
        {"y": [1, 1]},
        {},
    )
    with pytest.raises(TargetError, match=r"'last' \(Det\).*axis 2 is free"):
        convert(target, model, dimensions={"side": "1..3"})


@pytest.mark.parametrize("entry", ["", "0", "8..1", "0..4", "a", "1,0"])
def test_an_entry_that_is_neither_size_nor_range_nor_choices_is_refused(
    free_mlp: onnx.ModelProto, convert: Convert, entry: str
) -> None:
    with pytest.raises(TargetError) as caught:
        convert(target, free_mlp, dimensions={"batch": entry})
    assert caught.value.code == "coreml.dimensions"


@pytest.mark.parametrize(
    ("entry", "ends"), [("1..", (1, 6)), ("2..4", (2, 4)), ("1..64", (1, 6))], ids=["open", "within", "beyond"]
)
def test_a_range_ends_at_what_the_model_declares(
    free_mlp: onnx.ModelProto, convert: Convert, entry: str, ends: tuple[int, int]
) -> None:
    stored = free_mlp.metadata_props.add()
    stored.key = DECLARATION_KEY
    stored.value = msgspec.json.encode(Declaration(maximum={"batch": 6})).decode()
    artifact, folder = convert(target, free_mlp, dimensions={"batch": entry})
    assert load_program(folder / PACKAGE).inputs[0].ranges[0] == ends
    assert artifact.signature.maximum == {"batch": ends[1]}
    with pytest.raises(TargetError, match="expected at most 6"):
        convert(target, free_mlp, dimensions={"batch": "4, 8"})


def test_several_inputs_with_choices_go_together_from_ios18_on(build: Build, convert: Convert) -> None:
    nodes = [helper.make_node("Add", ["a", "b"], ["y"])]
    model = build(nodes, {"a": ["batch", "size"], "b": ["batch", 1]}, {"y": ["batch", "size"]}, {})
    choices = {"batch": "1, 4", "size": "3, 5"}
    with pytest.raises(TargetError, match="2 inputs have choices"):
        convert(target, model, dimensions=choices)
    _, folder = convert(target, model, dimensions=choices, minimum="ios18")
    first, second = load_program(folder / PACKAGE).inputs
    assert first.shapes == ((1, 3), (1, 5), (4, 3), (4, 5))
    assert second.shapes == ((1, 1), (1, 1), (4, 1), (4, 1))


FREE = {
    "nearest": (
        [
            helper.make_node(
                "Resize", ["x", "", "scales"], ["y"], coordinate_transformation_mode="asymmetric", nearest_mode="floor"
            )
        ],
        {"scales": np.array([1, 1, 2, 3], np.float32)},
    ),
    "transposed convolution": (
        [helper.make_node("ConvTranspose", ["x", "w"], ["y"], strides=[2, 2], pads=[1, 0, 1, 0])],
        {"w": np.arange(24, dtype=np.float32).reshape(2, 3, 2, 2)},
    ),
    "average pool": (
        [helper.make_node("AveragePool", ["x"], ["y"], kernel_shape=[2, 2], pads=[1, 1, 0, 0])],
        {},
    ),
    "expand": (
        [
            helper.make_node("Shape", ["x"], ["shape"]),
            helper.make_node("Expand", ["row", "shape"], ["wide"]),
            helper.make_node("Mul", ["wide", "x"], ["y"]),
        ],
        {"row": np.array([[[[2.0]], [[3.0]]]], np.float32)},
    ),
    "constant of shape": (
        [
            helper.make_node("Shape", ["x"], ["shape"], start=2),
            helper.make_node("ConstantOfShape", ["shape"], ["zeros"]),
            helper.make_node("Add", ["zeros", "x"], ["y"]),
        ],
        {},
    ),
    "reshape": (
        [helper.make_node("Reshape", ["x", "wanted"], ["y"])],
        {"wanted": np.array([0, 0, -1], np.int64)},
    ),
    "slice and joint": (
        [
            helper.make_node("Slice", ["x", "start", "end", "axis"], ["part"]),
            helper.make_node("Concat", ["part", "x"], ["y"], axis=3),
        ],
        {name: np.array([value], np.int64) for name, value in (("start", 1), ("end", 2**62), ("axis", 3))},
    ),
}


@pytest.mark.parametrize("name", FREE)
def test_an_operator_that_needs_no_numbers_is_right_at_every_size(
    name: str, build: Build, convert: Convert, reference: Reference
) -> None:
    nodes, constants = FREE[name]
    rank = 3 if name == "reshape" else 4
    model = build(nodes, {"x": ["batch", 2, "height", "width"]}, {"y": [f"y{axis}" for axis in range(rank)]}, constants)
    _, folder = convert(target, model, dimensions={"*": "1..9"}, precision="float32")
    program = load_program(folder / PACKAGE)
    for shape in ((1, 2, 4, 5), (3, 2, 7, 4)):
        x = np.random.default_rng(1).standard_normal(shape).astype(np.float32)
        np.testing.assert_allclose(
            program.predict({"x": x})["y"], reference(model, {"x": x})["y"], rtol=1e-5, atol=1e-6
        )


def test_sizes_that_the_model_computes_have_names_that_stay_the_same(build: Build, convert: Convert) -> None:
    nodes, constants = FREE["expand"]
    model = build(nodes, {"x": [1, 2, "height", 4]}, {"y": [f"y{axis}" for axis in range(4)]}, constants)
    first, _ = convert(target, model, dimensions={"height": "1..9"})
    second, _ = convert(target, model, dimensions={"height": "1..9"})
    assert first == second


@pytest.mark.parametrize("direction", ["forward", "reverse", "bidirectional"])
@pytest.mark.parametrize(("kind", "gates"), [("LSTM", 4), ("GRU", 3), ("RNN", 1)])
def test_a_recurrent_layer_takes_any_number_of_steps(
    kind: str, gates: int, direction: str, build: Build, convert: Convert, reference: Reference
) -> None:
    random = np.random.default_rng(6)
    ways = 2 if direction == "bidirectional" else 1
    constants = {
        name: random.standard_normal((ways, *shape)).astype(np.float32) / 2
        for name, shape in {"w": (gates * 5, 3), "r": (gates * 5, 5), "b": (gates * 10,)}.items()
    }
    nodes = [helper.make_node(kind, ["x", "w", "r", "b"], ["y", "h"], hidden_size=5, direction=direction)]
    model = build(nodes, {"x": ["steps", 2, 3]}, {"y": ["steps", ways, 2, 5], "h": [ways, 2, 5]}, constants)
    _, folder = convert(target, model, dimensions={"steps": "1..50"}, precision="float32")
    program = load_program(folder / PACKAGE)
    for steps in (1, 7, 30):
        x = random.standard_normal((steps, 2, 3)).astype(np.float32)
        expected = reference(model, {"x": x})
        got = program.predict({"x": x})
        for name in ("y", "h"):
            np.testing.assert_allclose(got[name], expected[name], rtol=1e-4, atol=1e-5)


CAUSAL = [
    helper.make_node("Shape", ["x"], ["size"], start=1, end=2),
    helper.make_node("Concat", ["size", "size"], ["square"], axis=0),
    helper.make_node("Expand", ["truth", "square"], ["all"]),
    helper.make_node("Trilu", ["all", "k"], ["seen"], upper=0),
    helper.make_node("Where", ["seen", "zero", "far"], ["mask"]),
    helper.make_node("MatMul", ["x", "turned"], ["scores"]),
    helper.make_node("Add", ["scores", "mask"], ["masked"]),
    helper.make_node("Softmax", ["masked"], ["y"]),
]


@pytest.mark.parametrize("k", [-1, 0, 1])
def test_a_mask_that_follows_the_length_is_computed_as_the_model_runs(
    k: int, build: Build, convert: Convert, reference: Reference
) -> None:
    nodes = [helper.make_node("Transpose", ["x"], ["turned"], perm=[0, 2, 1]), *CAUSAL]
    constants = {
        "truth": np.array(True),  # noqa: FBT003 - an element
        "k": np.array(k),
        "zero": np.array(0, np.float32),
        "far": np.array(-1e4, np.float32),
    }
    model = build(nodes, {"x": [1, "time", 8]}, {"y": [1, "time", "time"]}, constants)
    _, folder = convert(target, model, dimensions={"time": "1..20"}, precision="float32")
    program = load_program(folder / PACKAGE)
    for length in (2, 9):
        x = np.random.default_rng(1).standard_normal((1, length, 8)).astype(np.float32)
        np.testing.assert_allclose(
            program.predict({"x": x})["y"], reference(model, {"x": x})["y"], rtol=1e-4, atol=1e-6
        )
