"""Image inputs and class labels, by what the model's pipeline declares."""

from __future__ import annotations

import json
from typing import TYPE_CHECKING

import msgspec
import numpy as np
import onnx
import pytest
from onnx import TensorProto, helper

from manifests.pipeline import (
    DECLARATION_KEY,
    Declaration,
    DeclaredInput,
    InputPipeline,
    OutputPipeline,
    PipelineSection,
)
from targets._target import TargetError
from targets.coreml import target
from targets.coreml._package import PACKAGE, read_specification
from targets.coreml.evaluator import load_program

if TYPE_CHECKING:
    from collections.abc import Callable
    from pathlib import Path

    from numpy.typing import NDArray

    from targets._target import Artifact

    Convert = Callable[..., tuple[Artifact, Path]]
    Tensors = dict[str, NDArray]
    Reference = Callable[[onnx.ModelProto, Tensors], Tensors]

COLOURS = {"gray": 10, "rgb": 20, "bgr": 30}


def _declared(model: onnx.ModelProto, declaration: Declaration) -> onnx.ModelProto:
    entry = model.metadata_props.add()
    entry.key, entry.value = DECLARATION_KEY, msgspec.json.encode(declaration).decode()
    return model


def _camera(colour: str = "rgb", **steps: object) -> Declaration:
    return Declaration(
        inputs={"x": DeclaredInput(layout="nchw")},
        pipeline=PipelineSection(inputs=(InputPipeline(input="x", kind="image", colour=colour, **steps),)),
    )


@pytest.fixture
def fused() -> onnx.ModelProto:
    """Raw pixels [1, 8, 12, 3] as bytes: scaled, channels put first, and a mean a channel."""
    nodes = [
        helper.make_node("Cast", ["x"], ["real"], to=TensorProto.FLOAT),
        helper.make_node("Mul", ["real", "scale"], ["scaled"]),
        helper.make_node("Transpose", ["scaled"], ["planes"], perm=[0, 3, 1, 2]),
        helper.make_node("GlobalAveragePool", ["planes"], ["y"]),
    ]
    graph = helper.make_graph(
        nodes,
        "camera",
        [helper.make_tensor_value_info("x", TensorProto.UINT8, [1, 8, 12, 3])],
        [helper.make_tensor_value_info("y", TensorProto.FLOAT, [1, 3, 1, 1])],
        [helper.make_tensor("scale", TensorProto.FLOAT, [3], [1 / 255, 2 / 255, 3 / 255])],
    )
    model = helper.make_model(graph, opset_imports=[helper.make_opsetid("", 17)], ir_version=8)
    layout = Declaration(
        inputs={"x": DeclaredInput(layout="nhwc")},
        pipeline=PipelineSection(inputs=(InputPipeline(input="x", kind="image", colour="rgb", fused=("scale",)),)),
    )
    return _declared(model, layout)


@pytest.mark.parametrize("colour", ["rgb", "bgr"])
def test_a_declared_picture_becomes_an_image_input_of_its_colour(
    cnn: onnx.ModelProto, convert: Convert, reference: Reference, colour: str
) -> None:
    artifact, folder = convert(target, _declared(cnn, _camera(colour)), images=True, precision="float32")
    image = read_specification(folder / PACKAGE).description.input[0].type.imageType
    assert (image.height, image.width, image.colorSpace) == (16, 16, COLOURS[colour])
    (entry,) = artifact.signature.inputs
    assert (entry.dtype, entry.shape) == ("float32", (1, 3, 16, 16))
    picture = np.random.default_rng(0).integers(0, 256, (1, 3, 16, 16)).astype(np.float32)
    got = target.runner(artifact, folder).run({"x": picture})["y"]
    np.testing.assert_allclose(got, reference(cnn, {"x": picture})["y"], rtol=1e-4, atol=1e-5)


def test_bytes_with_channels_last_stay_what_the_signature_says_and_are_pixels_in_the_package(
    fused: onnx.ModelProto, convert: Convert, reference: Reference
) -> None:
    artifact, folder = convert(target, fused, images=True, precision="float32")
    (entry,) = artifact.signature.inputs
    assert (entry.dtype, entry.shape) == ("uint8", (1, 8, 12, 3))
    image = read_specification(folder / PACKAGE).description.input[0].type.imageType
    assert (image.height, image.width) == (8, 12)
    assert load_program(folder / PACKAGE).inputs[0].shape == (1, 3, 8, 12)
    picture = np.random.default_rng(0).integers(0, 256, (1, 8, 12, 3)).astype(np.uint8)
    got = target.runner(artifact, folder).run({"x": picture})["y"]
    np.testing.assert_allclose(got, reference(fused, {"x": picture})["y"], rtol=1e-5)
    assert "transpose" not in artifact.runtime.operators


def test_without_the_option_a_declared_picture_stays_a_tensor(fused: onnx.ModelProto, convert: Convert) -> None:
    artifact, folder = convert(target, fused)
    assert read_specification(folder / PACKAGE).description.input[0].type.WhichOneof("Type") == "multiArrayType"
    assert artifact.signature.inputs[0].dtype == "int32"


def test_a_step_that_an_image_input_would_skip_is_refused(cnn: onnx.ModelProto, convert: Convert) -> None:
    with pytest.raises(TargetError, match="scaled before the model") as caught:
        convert(target, _declared(cnn, _camera(scale=(1 / 255,))), images=True)
    assert caught.value.code == "coreml.image"
    assert "fuse" in caught.value.hint


def test_an_input_whose_shape_is_no_picture_s_is_refused(mlp: onnx.ModelProto, convert: Convert) -> None:
    with pytest.raises(TargetError, match="is no picture"):
        convert(target, _declared(mlp, _camera()), images=True)


def _labelled(*names: str) -> Declaration:
    return Declaration(pipeline=PipelineSection(outputs=(OutputPipeline(output="y", select="argmax", labels=names),)))


def test_a_classifier_says_its_label_and_keeps_the_scores_under_the_output_s_name(
    mlp: onnx.ModelProto, convert: Convert, reference: Reference
) -> None:
    names = tuple(f"digit {number}" for number in range(10))
    artifact, folder = convert(target, _declared(mlp, _labelled(*names)), classifier=True, precision="float32")
    model = read_specification(folder / PACKAGE).description
    assert (model.predictedFeatureName, model.predictedProbabilitiesName) == ("classLabel", "classLabel_probs")
    assert [entry.name for entry in artifact.signature.outputs] == ["y"]
    x = np.random.default_rng(0).standard_normal((1, 64)).astype(np.float32)
    expected = reference(mlp, {"x": x})["y"]
    np.testing.assert_allclose(target.runner(artifact, folder).run({"x": x})["y"], expected, rtol=1e-5)
    assert str(load_program(folder / PACKAGE).predict({"x": x})["classLabel"]) == names[int(expected.argmax())]


def test_labels_that_do_not_fit_the_scores_are_refused(mlp: onnx.ModelProto, convert: Convert) -> None:
    with pytest.raises(TargetError, match="each of 2 labels"):
        convert(target, _declared(mlp, _labelled("yes", "no")), classifier=True)


@pytest.mark.parametrize(
    ("name", "joined"), [("labels.txt", "\n".join), ("labels.json", lambda names: json.dumps(list(names)))]
)
def test_labels_may_stand_in_a_file_of_the_pipeline(
    mlp: onnx.ModelProto, tmp_path: Path, name: str, joined: Callable[[tuple[str, ...]], str]
) -> None:
    names = tuple(f"digit {number}" for number in range(10))
    (tmp_path / name).write_text(joined(names))
    step = OutputPipeline(output="y", select="argmax", labels_file=name)
    onnx.save(_declared(mlp, Declaration(pipeline=PipelineSection(outputs=(step,)))), tmp_path / "model.onnx")
    (tmp_path / "out").mkdir()
    target.convert(tmp_path / "model.onnx", target.Options(classifier=True), None, tmp_path / "out")
    x = np.random.default_rng(0).standard_normal((1, 64)).astype(np.float32)
    assert str(load_program(tmp_path / "out" / PACKAGE).predict({"x": x})["classLabel"]) in names


def test_a_file_that_holds_no_labels_is_refused(mlp: onnx.ModelProto, tmp_path: Path) -> None:
    (tmp_path / "labels.json").write_text("{}")
    step = OutputPipeline(output="y", select="argmax", labels_file="labels.json")
    onnx.save(_declared(mlp, Declaration(pipeline=PipelineSection(outputs=(step,)))), tmp_path / "model.onnx")
    with pytest.raises(TargetError) as caught:
        target.convert(tmp_path / "model.onnx", target.Options(classifier=True), None, tmp_path / "out")
    assert caught.value.code == "coreml.labels"
