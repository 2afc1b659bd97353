from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np
import onnx
import pytest
from onnx import helper, numpy_helper

from packager.declarations import Declared
from packager.errors import ConfigError
from packager.importers._importer import Imported
from packager.intake import Taken
from packager.samples import generate_samples
from packager.signatures import model_signature
from packager.tables import InputTable, read_inputs

if TYPE_CHECKING:
    from pathlib import Path

    from tests.packager.conftest import Pack


def resampler(ir_version: int = 8) -> onnx.ModelProto:
    """A picture and the rate that it is multiplied with."""
    graph = helper.make_graph(
        [
            helper.make_node("Cast", ["sr"], ["rate"], to=1),
            helper.make_node("Mul", ["x", "rate"], ["scaled"]),
            helper.make_node("Relu", ["scaled"], ["y"]),
        ],
        "resampler",
        [
            helper.make_tensor_value_info("x", 1, ["batch", 3, None, "width"]),
            helper.make_tensor_value_info("sr", 7, []),
        ],
        [helper.make_tensor_value_info("y", 1, ["batch", 3, None, "width"])],
    )
    return helper.make_model(graph, opset_imports=[helper.make_opsetid("", 17)], ir_version=ir_version)


def taken(model: onnx.ModelProto, **tables: InputTable) -> Taken:
    return Taken(Imported(model, task=None, predict=None), Declared(inputs=tables))


@pytest.mark.parametrize("ir_version", [3, 8])
def test_an_input_with_a_value_leaves_the_signature_and_keeps_its_meaning(ir_version: int) -> None:
    import onnxruntime

    model = taken(resampler(ir_version), sr=InputTable(value=16000)).model
    assert [entry.name for entry in model_signature(model).inputs] == ["x"]
    onnx.checker.check_model(model)
    x = np.ones((2, 3, 4, 5), np.float32)
    [y] = onnxruntime.InferenceSession(model.SerializeToString()).run(None, {"x": x})
    assert (y == 16000).all()


def test_a_number_fills_a_tensor_and_a_list_must_fit_it() -> None:
    def constant(value: object) -> np.ndarray:
        model = taken(resampler(), sr=InputTable(value=1), x=InputTable(shape=(1, 3, 1, 2), value=value)).model
        return numpy_helper.to_array(next(entry for entry in model.graph.initializer if entry.name == "x"))

    assert constant(2).tolist() == [[[[2, 2]]] * 3]
    assert constant((((((1, 2)),), ((3, 4),), ((5, 6),)),)).shape == (1, 3, 1, 2)
    with pytest.raises(ConfigError, match=r"'model\.inputs\.x\.value': expected shape \[1, 3, 1, 2\], got \[2\]"):
        constant((1, 2))
    with pytest.raises(ConfigError, match=r"'model\.inputs\.x\.value': is no float32"):
        constant("loud")


def test_a_shape_binds_a_dimension_wherever_its_name_stands() -> None:
    model = taken(resampler(), x=InputTable(shape=("n", 3, 20, 30))).model
    signature = model_signature(model)
    assert signature.inputs[0].shape == ("n", 3, 20, 30)
    assert signature.outputs[0].shape == ("n", 3, 20, 30)


@pytest.mark.parametrize("name", ["?", "unknown"])
def test_a_name_that_stands_for_what_is_unknown_is_no_name(name: str) -> None:
    model = resampler()
    for entry in (model.graph.input[0], model.graph.output[0]):
        for axis in (2, 3):
            entry.type.tensor_type.shape.dim[axis].dim_param = name
    signature = model_signature(taken(model, x=InputTable(shape=("n", 3, 48, 192))).model)
    assert signature.inputs[0].shape == ("n", 3, 48, 192)
    assert signature.outputs[0].shape == ("n", 3, 48, 192)


@pytest.mark.parametrize(
    ("table", "message"),
    [
        (InputTable(shape=(1, 4, 2, 2)), "x.shape': the model fixes dimension 1 at 3, got 4"),
        (InputTable(shape=(1, "channels", 2, 2)), "x.shape': the model fixes dimension 1 at 3, got channels"),
        (InputTable(shape=(1, 3)), "x.shape': expected 4 dimensions, got 2"),
        (InputTable(dtype="uint8"), "x.dtype': the model takes another: expected float32, got uint8"),
        (InputTable(layout="nchh"), "x.layout': expected one letter for each of 4 axes"),
        (InputTable(range=(1, 0)), "x.range': expected the lower end first"),
        (InputTable(maximum={"height": 3}), "x.maximum': 'height' is no free dimension: expected one of batch, x.2"),
    ],
)
def test_what_does_not_fit_the_model_is_named_by_its_path(table: InputTable, message: str) -> None:
    with pytest.raises(ConfigError) as caught:
        taken(resampler(), x=table)
    assert message in str(caught.value)


def test_a_dimension_that_is_minus_one_is_free() -> None:
    model = resampler()
    model.graph.input[0].type.tensor_type.shape.dim[0].dim_value = -1
    signature = model_signature(taken(model, x=InputTable(maximum={"x.0": 4})).model)
    assert signature.inputs[0].shape == ("x.0", 3, "x.2", "width")
    assert signature.maximum == {"x.0": 4}


def test_an_input_that_is_not_there_is_answered_with_those_that_are() -> None:
    with pytest.raises(ConfigError, match=r"'model\.inputs\.rate': the model has no such input: .* x, sr"):
        taken(resampler(), rate=InputTable(value=1))


def test_what_is_declared_travels_in_the_model_and_shapes_generated_samples() -> None:
    table = InputTable(range=(10, 11), layout="nchw", maximum={"width": 5})
    model = taken(resampler(), x=table, sr=InputTable(value=1)).model
    signature = model_signature(onnx.ModelProto.FromString(model.SerializeToString()))
    assert signature.inputs[0].layout == "nchw"
    assert signature.maximum == {"width": 5}
    samples = generate_samples(signature).inputs["x"]
    assert samples.shape[1:] == (3, 8, 5)
    assert samples.min() >= 10
    assert samples.max() <= 11
    assert len(np.unique(samples)) > 100


def test_what_a_foreign_model_says_of_itself_is_not_believed() -> None:
    model = resampler()
    entry = model.metadata_props.add()
    entry.key, entry.value = "packtrain.declaration", '{"inputs":{"x":{"layout":"nhwc"}}}'
    assert model_signature(taken(model).model).inputs[0].layout == ""


def test_the_command_line_writes_inputs_as_toml_does() -> None:
    assert read_inputs(["sr.value=16000", "x.shape=['n', 3, 4]", "x.layout = 'nct'", "in.0.range=[0, 1]"]) == {
        "sr": InputTable(value=16000),
        "x": InputTable(shape=("n", 3, 4), layout="nct"),
        "in.0": InputTable(range=(0, 1)),
    }


@pytest.mark.parametrize(
    ("written", "message"),
    [
        ("sr=16000", "expected NAME.FIELD=VALUE"),
        ("sr.value", "expected NAME.FIELD=VALUE"),
        ("sr.value=one", "is no value of TOML"),
        ("sr.valu=1", "unknown field 'model.inputs.sr.valu'"),
        ("sr.maximum={n=0}", "'model.inputs.sr.maximum[...]' is not valid"),
    ],
)
def test_an_input_that_is_written_wrong_is_refused(written: str, message: str) -> None:
    with pytest.raises(ConfigError) as caught:
        read_inputs([written])
    assert message in str(caught.value)


def test_a_first_look_takes_inputs_and_a_project_does_not(pack: Pack, tmp_path: Path) -> None:
    onnx.save(resampler(), tmp_path / "m.onnx")
    inputs = ("--input", "sr.value=2", "--input", "x.shape=[1, 3, 4, 4]")
    ran = pack("--model", "m.onnx", "-t", "cloud", *inputs, "-o", "json")
    assert ran.code == 0, ran.err
    shown = pack("inspect", "m:0@cloud", "-o", "json").document
    assert [entry["shape"] for entry in shown["signature"]["inputs"]] == [[1, 3, 4, 4]]
    (tmp_path / "pack.toml").write_text("[model]\nname='m'\nsource='m.onnx'\n[targets.cloud]\n")
    assert "[model.inputs.NAME]" in pack("plan", *inputs).err


def test_inputs_are_part_of_the_caches_key(pack: Pack, tmp_path: Path) -> None:
    onnx.save(resampler(), tmp_path / "m.onnx")
    text = "[model]\nname='m'\nsource='m.onnx'\n[model.inputs.sr]\nvalue = {}\n[targets.cloud]\n"
    (tmp_path / "pack.toml").write_text(text.format(1))
    assert pack("--unsigned").code == 0
    assert "nothing" in pack("plan").out
    (tmp_path / "pack.toml").write_text(text.format(2))
    assert pack("plan", "-o", "json").document["targets"][0]["steps"][1] == {"step": "import", "cached": False}
