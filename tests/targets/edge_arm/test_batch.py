"""A batch that stays free: any number of samples in one call, or a refusal that names who needs the number."""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np
import pytest
from onnx import helper

from targets._target import TargetError
from targets.edge_arm import Options, target

if TYPE_CHECKING:
    from collections.abc import Callable
    from pathlib import Path

    import onnx
    from numpy.typing import NDArray

    from targets._target import Artifact

    Build = Callable[..., onnx.ModelProto]
    Convert = Callable[..., tuple[Artifact, Path]]
    Reference = Callable[[onnx.ModelProto, dict[str, NDArray]], dict[str, NDArray]]


@pytest.fixture
def free_maps(build: Build) -> onnx.ModelProto:
    """A convolution, a flattening reshape with the batch from its shape, a slice, a product, a softmax."""
    random = np.random.default_rng(5)
    nodes = [
        helper.make_node("Conv", ["x", "w"], ["c"], pads=[1, 1, 1, 1]),
        helper.make_node("Relu", ["c"], ["r"]),
        helper.make_node("Shape", ["x"], ["shape"]),
        helper.make_node("Slice", ["shape", "zero", "one"], ["rows"]),
        helper.make_node("Concat", ["rows", "rest"], ["flat"], axis=0),
        helper.make_node("Reshape", ["r", "flat"], ["f"]),
        helper.make_node("Slice", ["f", "zero", "fifty", "one"], ["part"]),
        helper.make_node("MatMul", ["part", "v"], ["m"]),
        helper.make_node("Softmax", ["m"], ["y"]),
    ]
    constants = {
        "w": random.standard_normal((4, 3, 3, 3)).astype(np.float32),
        "v": random.standard_normal((50, 3)).astype(np.float32),
        "zero": np.array([0]), "one": np.array([1]), "fifty": np.array([50]), "rest": np.array([-1]),
    }  # fmt: skip
    return build(nodes, {"x": ["rows", 3, 4, 5]}, {"y": ["rows", 3]}, constants)


@pytest.mark.parametrize("scheme", ["none", "float16", "dynamic-int8"])
def test_one_file_takes_any_number_of_samples(
    free_maps: onnx.ModelProto, convert: Convert, reference: Reference, scheme: str
) -> None:
    artifact, folder = convert(target, free_maps, batch="free", quantize=scheme)
    assert artifact.signature.inputs[0].shape == ("batch", 3, 4, 5)
    assert artifact.signature.outputs[0].shape == ("batch", 3)
    runner = target.runner(artifact, folder)
    for count in (5, 1, 1, 7):
        x = np.random.default_rng(count).standard_normal((count, 3, 4, 5)).astype(np.float32)
        tolerance = 1e-4 if scheme == "none" else 0.05
        expected = reference(free_maps, {"x": x})["y"]
        np.testing.assert_allclose(runner.run({"x": x})["y"], expected, rtol=tolerance, atol=tolerance)


def test_a_free_batch_and_pictures_channels_last_go_together(
    free_maps: onnx.ModelProto, convert: Convert, reference: Reference
) -> None:
    artifact, folder = convert(target, free_maps, batch="free", io_layout="nhwc")
    assert artifact.signature.inputs[0].shape == ("batch", 4, 5, 3)
    x = np.random.default_rng(1).standard_normal((3, 3, 4, 5)).astype(np.float32)
    got = target.runner(artifact, folder).run({"x": x.transpose(0, 2, 3, 1)})["y"]
    np.testing.assert_allclose(got, reference(free_maps, {"x": x})["y"], rtol=1e-4, atol=1e-5)


@pytest.mark.parametrize("reader", ["Concat", "Mul"])
def test_rows_that_are_all_the_same_follow_the_batch(
    build: Build, convert: Convert, reference: Reference, reader: str
) -> None:
    nodes = [
        helper.make_node("Shape", ["x"], ["shape"]),
        helper.make_node("Expand", ["row", "shape"], ["e"], name="spread"),
        helper.make_node(reader, ["x", "e"], ["y"], **({"axis": 1} if reader == "Concat" else {})),
    ]
    row = np.array([[1, 2, 3]], np.float32)
    model = build(nodes, {"x": ["rows", 3]}, {"y": ["rows", 6 if reader == "Concat" else 3]}, {"row": row})
    artifact, folder = convert(target, model, batch="free")
    _same(artifact, folder, model, reference, (5, 3))


def test_a_transposed_convolution_follows_the_batch(build: Build, convert: Convert, reference: Reference) -> None:
    weights = np.random.default_rng(3).standard_normal((2, 3, 2, 2)).astype(np.float32)
    nodes = [helper.make_node("ConvTranspose", ["x", "w"], ["y"], strides=[2, 2])]
    model = build(nodes, {"x": ["rows", 2, 4, 5]}, {"y": ["rows", 3, 8, 10]}, {"w": weights})
    artifact, folder = convert(target, model, batch="free")
    _same(artifact, folder, model, reference, (7, 2, 4, 5))


def _same(
    artifact: Artifact, folder: Path, model: onnx.ModelProto, reference: Reference, shape: tuple[int, ...]
) -> None:
    x = np.random.default_rng(2).standard_normal(shape).astype(np.float32)
    got = target.runner(artifact, folder).run({"x": x})["y"]
    np.testing.assert_allclose(got, reference(model, {"x": x})["y"], rtol=1e-5, atol=1e-6)


def test_who_needs_the_batch_as_a_number_is_named(build: Build, convert: Convert) -> None:
    nodes = [
        helper.make_node("Shape", ["x"], ["shape"]),
        helper.make_node("Squeeze", ["shape"], ["rows"]),
        helper.make_node("Range", ["zero", "rows", "one"], ["numbers"]),
        helper.make_node("Cast", ["numbers"], ["places"], to=1),
        helper.make_node("Add", ["x", "places"], ["y"], name="numbered"),
    ]
    model = build(nodes, {"x": ["rows"]}, {"y": ["rows"]}, {"zero": np.array(0), "one": np.array(1)})
    with pytest.raises(TargetError, match="the batch can't stay free: node") as caught:
        convert(target, model, batch="free")
    assert caught.value.code == "edge-arm.batch"
    assert caught.value.hint == "give targets.edge-arm.batch a number"


def test_only_the_first_axis_can_stay_free(build: Build) -> None:
    model = build([helper.make_node("Relu", ["x"], ["y"])], {"x": ["rows", "columns"]}, {"y": ["rows", "columns"]}, {})
    with pytest.raises(TargetError, match="axis 1 of input 'x' is free"):
        target.unsupported(model, Options(batch="free"))


@pytest.mark.parametrize("options", [{"quantize": "int8"}, {"state": "variables", "state_pairs": {"x": "y"}}])
def test_what_has_one_batch_is_refused_beside_a_free_one(
    free_maps: onnx.ModelProto, convert: Convert, options: dict[str, object]
) -> None:
    with pytest.raises(TargetError) as caught:
        convert(target, free_maps, batch="free", **options)
    assert caught.value.code == "edge-arm.batch"


def test_a_slice_with_steps_along_other_axes_leaves_the_batch_open(
    build: Build, convert: Convert, reference: Reference
) -> None:
    constants = {"from": np.array([0, 1]), "to": np.array([9, 9]), "axes": np.array([1, 2]), "by": np.array([2, 2])}
    nodes = [
        helper.make_node("Slice", ["x", "from", "to", "axes", "by"], ["s"]),
        helper.make_node("Exp", ["s"], ["y"]),
    ]
    model = build(nodes, {"x": ["rows", 4, 6]}, {"y": ["rows", 2, 3]}, constants)
    artifact, folder = convert(target, model, batch="free")
    x = np.random.default_rng(2).standard_normal((5, 4, 6)).astype(np.float32)
    got = target.runner(artifact, folder).run({"x": x})["y"]
    np.testing.assert_allclose(got, reference(model, {"x": x})["y"], rtol=1e-5)
