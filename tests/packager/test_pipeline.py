from __future__ import annotations

import json
from typing import TYPE_CHECKING

import msgspec
import numpy as np
import onnx
import pytest
from onnx import helper, numpy_helper

from manifests.manifest import Manifest
from packager.declarations import Declared, declared_in
from packager.errors import ConfigError
from packager.importers._importer import Imported
from packager.intake import FUSED_TOLERANCE, Taken
from packager.measures.parity import compare_outputs
from packager.measures.running import SourceModel
from packager.samples import generate_samples
from packager.signatures import model_signature
from packager.tables import InputPipelineTable, InputTable, OutputPipelineTable, PipelineTable

if TYPE_CHECKING:
    from pathlib import Path

    from tests.packager.conftest import Pack

MEAN = (0.485, 0.456, 0.406)
STD = (0.229, 0.224, 0.225)
PICTURE = InputPipelineTable(
    kind="image", dtype="uint8", layout="nhwc", colour="rgb", scale="1/255", mean=MEAN, std=STD
)


def classifier(dtype: int = 1, *, opset: int = 17, free: bool = True) -> onnx.ModelProto:
    """Pictures of three channels, convolved, pooled, and three scores."""
    random = np.random.default_rng(0)
    element = helper.tensor_dtype_to_np_dtype(dtype)
    weights = numpy_helper.from_array(random.standard_normal((3, 3, 3, 3)).astype(np.float32), "w")
    side: str | int = "side" if free else 8
    graph = helper.make_graph(
        [
            helper.make_node("Cast", ["x"], ["real"], to=1),
            helper.make_node("Conv", ["real", "w"], ["c"], pads=[1, 1, 1, 1]),
            helper.make_node("GlobalAveragePool", ["c"], ["p"]),
            helper.make_node("Flatten", ["p"], ["scores"]),
        ],
        "classifier",
        [helper.make_tensor_value_info("x", dtype, ["n", 3, side, side])],
        [helper.make_tensor_value_info("scores", 1, ["n", 3])],
        [weights],
    )
    assert element.name
    return helper.make_model(graph, opset_imports=[helper.make_opsetid("", opset)], ir_version=8)


def taken(model: onnx.ModelProto, step: InputPipelineTable = PICTURE, **inputs: InputTable) -> Taken:
    table = PipelineTable(fuse=True, inputs={"x": step})
    return Taken(Imported(model, task=None, predict=None), Declared(inputs=inputs, pipeline=table))


def worst_difference(fused: Taken, folder: Path) -> float:
    (folder / "fused.onnx").write_bytes(fused.model.SerializeToString())
    onnx.checker.check_model(fused.model, full_check=True)
    samples = generate_samples(model_signature(fused.model)).inputs
    got = SourceModel(folder / "fused.onnx").run(samples)
    expected = fused.expected(samples, folder)
    assert expected is not None
    return max(entry.max_relative for entry in compare_outputs(expected, got))


@pytest.mark.parametrize(
    "step",
    [
        PICTURE,
        InputPipelineTable(layout="nhwc"),
        InputPipelineTable(dtype="uint8"),
        InputPipelineTable(dtype="int16", scale=(0.5, 2.0, "1/3")),
        InputPipelineTable(mean=MEAN),
        InputPipelineTable(layout="whcn", std=STD),
    ],
    ids=["picture", "layout", "cast", "scales", "means", "turned"],
)
@pytest.mark.parametrize("dtype", [1, 10, 11], ids=["float32", "float16", "float64"])
def test_a_fused_model_computes_what_numpy_prepares_for_the_source(
    tmp_path: Path, step: InputPipelineTable, dtype: int
) -> None:
    fused = taken(classifier(dtype), step, x=InputTable(layout="nchw"))
    assert worst_difference(fused, tmp_path) < (2e-3 if dtype == 10 else FUSED_TOLERANCE)
    entry = model_signature(fused.model).inputs[0]
    assert entry.layout == (step.layout or "nchw")
    if step.dtype:
        assert entry.dtype == step.dtype


def test_whole_numbers_are_rounded_half_to_even(tmp_path: Path) -> None:
    step = InputPipelineTable(dtype="float32", scale=0.5)
    fused = taken(classifier(3), step, x=InputTable(layout="nchw", range=(-3, 3)))
    assert worst_difference(fused, tmp_path) == 0
    raw = np.array([1, 3, 5, -1], np.float32).reshape(1, 1, 2, 2).repeat(3, axis=1)
    (step, entry) = fused._fused["x"]
    from packager.pipeline import prepare_input

    assert prepare_input(step, entry, raw)[0, 0].tolist() == [[0, 2], [2, 0]]


def test_fused_steps_are_told_and_what_is_left_stays() -> None:
    fused = taken(classifier())
    [step] = fused.declaration.pipeline.inputs
    assert step.fused == ("cast", "scale", "mean", "std", "layout")
    assert (step.dtype, step.layout, step.scale, step.mean, step.std) == (None, "", (), (), ())
    assert (step.kind, step.colour) == ("image", "rgb")
    entry = model_signature(fused.model).inputs[0]
    assert (entry.dtype, entry.shape, entry.range) == ("uint8", ("n", "side", "side", 3), (0, 255))


def test_without_fuse_the_model_stays_as_it_is() -> None:
    model = classifier()
    before = [node.op_type for node in model.graph.node]
    table = PipelineTable(inputs={"x": PICTURE})
    kept = Taken(Imported(model, task=None, predict=None), Declared(pipeline=table))
    assert [node.op_type for node in kept.model.graph.node] == before
    [step] = kept.declaration.pipeline.inputs
    assert step.scale == (1 / 255,)
    assert step.mean == MEAN
    assert model_signature(kept.model).inputs[0].layout == "nchw"


def outputs(**fields: object) -> PipelineTable:
    return PipelineTable(outputs={"scores": OutputPipelineTable(**fields)})


@pytest.mark.parametrize(
    ("table", "message"),
    [
        (PipelineTable(inputs={"y": PICTURE}), "pipeline.inputs.y': the model has no such input: expected one of x"),
        (PipelineTable(outputs={"y": OutputPipelineTable()}), "pipeline.outputs.y': the model has no such output"),
        (PipelineTable(inputs={"x": InputPipelineTable(layout="nhwc")}), "x.layout': the model's own layout is not"),
        (PipelineTable(inputs={"x": InputPipelineTable(kind="image", layout="nhwt")}), "expected the axes of 'nchw'"),
        (PipelineTable(inputs={"x": InputPipelineTable(kind="image", mean=(1, 2))}), "expected one number or 3"),
        (PipelineTable(inputs={"x": InputPipelineTable(scale="1/0")}), "x.scale': expected numbers or fractions"),
        (PipelineTable(inputs={"x": InputPipelineTable(std=0)}), "x.std': expected more than 0"),
        (outputs(select="top"), "scores.top' is missing"),
        (outputs(select="argmax", threshold=0.5), "scores.threshold': select is 'argmax'"),
        (outputs(axis=2), "scores.axis': expected one of 2 axes, got 2"),
        (outputs(labels=("a", "b")), "scores.labels': expected 3 labels, got 2"),
    ],
)
def test_a_pipeline_that_does_not_fit_the_model_is_named_by_its_path(table: PipelineTable, message: str) -> None:
    with pytest.raises(ConfigError) as caught:
        Taken(Imported(classifier(), task=None, predict=None), Declared(pipeline=table))
    assert message in str(caught.value)


PROJECT = """
[model]
name = "pictures"
source = "m.onnx"
[model.task]
kind = "classification"
[model.pipeline]
fuse = FUSE
[model.pipeline.inputs.x]
kind = "image"
dtype = "uint8"
layout = "nhwc"
colour = "rgb"
resize = { size = [8, 8], fit = "cover", crop = 0.875 }
scale = "1/255"
mean = [0.485, 0.456, 0.406]
std = [0.229, 0.224, 0.225]
[model.pipeline.outputs.scores]
activation = "softmax"
select = "argmax"
labels = "lists/my labels.txt"
[targets.cloud]
"""


@pytest.mark.parametrize("fuse", ["true", "false"])
def test_a_bundle_carries_the_pipeline_and_its_files(pack: Pack, tmp_path: Path, fuse: str) -> None:
    from manifests.layout import Layout

    onnx.save(classifier(free=False), tmp_path / "m.onnx")
    (tmp_path / "lists").mkdir()
    (tmp_path / "lists" / "my labels.txt").write_text("cat\ndog\nbird\n")
    (tmp_path / "pack.toml").write_text(PROJECT.replace("FUSE", fuse))
    ran = pack("--unsigned")
    assert ran.code == 0, ran.err
    manifest = msgspec.json.decode(pack("inspect", "pictures:0@cloud", "-o", "json").out, type=Manifest)
    [step], [result] = manifest.pipeline.inputs, manifest.pipeline.outputs
    assert step.resize is not None
    assert step.resize.crop == 0.875
    assert manifest.model.task.labels == ("cat", "dog", "bird")
    labels = manifest.file("pipeline/my_labels.txt")
    assert (labels.role, result.labels_file, result.select) == ("labels", labels.path, "argmax")
    blob = Layout.open(tmp_path / ".pack" / "store").blob_path(labels.digest)
    assert blob.read_text() == "cat\ndog\nbird\n"
    entry = manifest.signature.inputs[0]
    assert (entry.dtype, entry.layout) == (("uint8", "nhwc") if fuse == "true" else ("float32", "nchw"))
    assert manifest.resources.disk_bytes == sum(file.size for file in manifest.files if file.role != "golden")
    shown = pack("inspect", "pictures:0@cloud").out
    assert "rgb image" in shown
    assert "softmax, argmax" in shown


def test_a_file_that_is_missing_or_no_list_is_refused(pack: Pack, tmp_path: Path) -> None:
    onnx.save(classifier(free=False), tmp_path / "m.onnx")
    text = PROJECT.replace("FUSE", "false").replace("my labels.txt", "labels.json")
    (tmp_path / "pack.toml").write_text(text)
    ran = pack("--unsigned")
    assert (ran.code, "'model.pipeline.outputs.scores.labels': no file at" in ran.err) == (2, True)
    (tmp_path / "lists").mkdir()
    (tmp_path / "lists" / "labels.json").write_text(json.dumps({"a": 1}))
    ran = pack("--unsigned")
    assert (ran.code, "is no list of labels" in ran.err) == (2, True)


def test_the_content_of_a_file_counts_in_the_key_and_its_place_does_not(tmp_path: Path) -> None:
    from packager.config import load_project

    keys = []
    for folder, text in (("a", "x\ny\nz\n"), ("b", "x\ny\nz\n"), ("c", "x\ny\nw\n")):
        place = tmp_path / folder
        (place / "lists").mkdir(parents=True)
        (place / "lists" / "my labels.txt").write_text(text)
        (place / "pack.toml").write_text(PROJECT.replace("FUSE", "false"))
        keys.append(declared_in(load_project(place)).key())
    assert keys[0] == keys[1]
    assert keys[0] != keys[2]
