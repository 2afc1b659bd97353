"""The WinML target: exactly the versions of each Windows, float16 that holds, pictures declared as such."""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np
import onnx
import onnxruntime
import pytest
from onnx import TensorProto, helper

from packager.errors import ConversionError
from packager.hub.form import Form
from packager.hub.pipeline import prepare
from targets._target import Target, TargetError
from targets.winml import Image, target

if TYPE_CHECKING:
    from collections.abc import Callable
    from pathlib import Path

    from numpy.typing import NDArray

    from targets._target import Artifact

    Build = Callable[..., onnx.ModelProto]
    Pack = Callable[..., tuple[Artifact, Path]]
    Reference = Callable[[onnx.ModelProto, dict[str, NDArray]], dict[str, NDArray]]

RELEASES = {"1809": (7, 3), "1903": (8, 3), "2004": (9, 4), "11": (12, 7), "windows-ml": (23, 11)}


@pytest.fixture
def pack(tmp_path: Path) -> Pack:
    """Prepare as the packager does, and convert."""

    def packed(model: onnx.ModelProto, **written: object) -> tuple[Artifact, Path]:
        options = target.Options(**written)
        copy = onnx.ModelProto.FromString(model.SerializeToString())
        form = Form(needs=target.needs(options), free_dimensions=target.free_dimensions(options))
        prepared, _ = prepare(copy, form)
        assert target.unsupported(prepared, options) == []
        onnx.save(prepared, tmp_path / "prepared.onnx")
        out = tmp_path / f"out{len(list(tmp_path.iterdir()))}"
        out.mkdir()
        return target.convert(tmp_path / "prepared.onnx", options, None, out), out

    return packed


def test_the_target_satisfies_the_protocol() -> None:
    assert isinstance(target, Target)


@pytest.mark.parametrize("windows", RELEASES)
def test_the_file_has_no_newer_version_than_that_windows_takes_and_computes_the_same(
    cnn: onnx.ModelProto, pack: Pack, reference: Reference, windows: str
) -> None:
    artifact, folder = pack(cnn, windows=windows)
    shipped = onnx.load(folder / "model.onnx")
    opset, ir_version = RELEASES[windows]
    assert shipped.opset_import[0].version <= opset
    assert shipped.ir_version <= ir_version
    onnx.checker.check_model(shipped, full_check=True)
    x = np.random.default_rng(1).standard_normal((1, 3, 16, 16)).astype(np.float32)
    runner = target.runner(artifact, folder)
    np.testing.assert_allclose(runner.run({"x": x})["y"], reference(cnn, {"x": x})["y"], rtol=1e-4, atol=1e-6)
    runner.close()


def test_only_the_very_engine_is_called_a_runtime(cnn: onnx.ModelProto, pack: Pack) -> None:
    inbox, folder = pack(cnn, windows="2004")
    assert inbox.runtime.kind == "winml"
    assert inbox.runtime.minimum == "10.0.19041"
    assert target.runner(inbox, folder).fidelity == "emulated"
    own, folder = pack(cnn, windows="windows-ml", onnxruntime=onnxruntime.__version__)
    assert own.runtime.kind == "onnxruntime"
    assert target.runner(own, folder).fidelity == "runtime"


def test_free_dimensions_have_names_by_which_windows_overrides_them(build: Build, pack: Pack) -> None:
    model = build([helper.make_node("Relu", ["x"], ["y"])], {"x": [2, 2]}, {"y": [2, 2]}, {})
    for entry in (*model.graph.input, *model.graph.output):
        for size in entry.type.tensor_type.shape.dim:
            size.Clear()
    _, folder = pack(model)
    sizes = onnx.load(folder / "model.onnx").graph.input[0].type.tensor_type.shape.dim
    assert [size.dim_param for size in sizes] == ["batch", "x_1"]


def test_float16_keeps_what_overflows_in_float32(build: Build, pack: Pack) -> None:
    constants = {"large": np.float32(3e5), "small": np.float32(1e-5)}
    nodes = [
        helper.make_node("Relu", ["x"], ["a"], name="fits"),
        helper.make_node("Mul", ["a", "large"], ["b"], name="overflows"),
        helper.make_node("Mul", ["b", "small"], ["y"], name="returns"),
    ]
    model = build(nodes, {"x": [1, 8]}, {"y": [1, 8]}, constants)
    artifact, folder = pack(model, float16=True)
    x = np.linspace(-1, 4, 8, dtype=np.float32)[None]
    runner = target.runner(artifact, folder)
    np.testing.assert_allclose(runner.run({"x": x})["y"], np.maximum(x, 0) * 3, rtol=5e-3)
    assert artifact.quantization.scheme == "float16"
    assert "overflows, returns" in artifact.notes[0]


def test_float16_inside_and_around_a_branch_agree(build: Build, pack: Pack) -> None:
    branches = {
        name: helper.make_graph(
            [helper.make_node(operator, ["h"], [f"{name}.y"])],
            name,
            [],
            [helper.make_tensor_value_info(f"{name}.y", TensorProto.FLOAT, [1, 4])],
        )
        for name, operator in {"then_branch": "Tanh", "else_branch": "Relu"}.items()
    }
    nodes = [
        helper.make_node("Mul", ["x", "x"], ["h"]),
        helper.make_node("ReduceMax", ["x"], ["top"], keepdims=0),
        helper.make_node("Greater", ["top", "one"], ["far"]),
        helper.make_node("If", ["far"], ["i"], **branches),
        helper.make_node("Add", ["i", "x"], ["y"]),
    ]
    model = build(nodes, {"x": [1, 4]}, {"y": [1, 4]}, {"one": np.float32(1)})
    artifact, folder = pack(model, float16=True)
    runner = target.runner(artifact, folder)
    for top, function in ((0.5, lambda h: np.maximum(h, 0)), (2.0, np.tanh)):
        x = np.array([[0.1, 0.2, 0.3, top]], np.float32)
        np.testing.assert_allclose(runner.run({"x": x})["y"], function(x * x) + x, rtol=5e-3)


def test_a_picture_is_declared_with_its_colours_and_range(build: Build, pack: Pack) -> None:
    model = build([helper.make_node("Relu", ["x"], ["y"])], {"x": [1, 3, 4, 4]}, {"y": [1, 3, 4, 4]}, {})
    _, folder = pack(model, image={"x": Image(pixel_format="Rgb8", range="Normalized_0_1")})
    shipped = onnx.load(folder / "model.onnx")
    assert {entry.key: entry.value for entry in shipped.metadata_props} == {
        "Image.BitmapPixelFormat": "Rgb8",
        "Image.ColorSpaceGamma": "SRGB",
        "Image.NominalPixelRange": "Normalized_0_1",
    }
    assert shipped.graph.input[0].type.denotation == "IMAGE"


def test_an_input_that_is_no_picture_is_refused_as_one(build: Build, pack: Pack) -> None:
    model = build([helper.make_node("Relu", ["x"], ["y"])], {"x": [1, 8]}, {"y": [1, 8]}, {})
    with pytest.raises(TargetError, match=r"expected an input of shape \(batch, 3, height, width\), got \(1, 8\)"):
        pack(model, image={"x": Image()})
    with pytest.raises(TargetError, match="no such input"):
        pack(model, image={"z": Image()})


def test_nodes_that_are_too_new_for_a_windows_are_named(build: Build) -> None:
    model = build(
        [helper.make_node("FusedConv", ["x"], ["y"], domain="com.microsoft", name="fused")], {"x": [2]}, {"y": [2]}, {}
    )
    model.opset_import.append(helper.make_opsetid("com.microsoft", 1))
    (found,) = target.unsupported(model, target.Options(windows="11"))
    assert (found.node, found.hint) == ("fused", 'set windows = "windows-ml"')
    assert target.unsupported(model, target.Options(windows="windows-ml")) == []


def test_an_operator_without_a_word_in_an_old_set_is_refused_by_name(build: Build, pack: Pack) -> None:
    nodes = [helper.make_node("GatherND", ["x", "i"], ["y"], name="places")]
    model = build(nodes, {"x": [2, 2]}, {"y": [1]}, {"i": np.array([[0, 1]], np.int64)})
    with pytest.raises(ConversionError, match=r"node 'places' \(GatherND\)"):
        pack(model, windows="1809")
