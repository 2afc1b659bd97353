"""The cloud target: optimised ahead of time, the same bytes twice, nothing of the build machine in them."""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np
import onnx
import onnxruntime
import pytest
from onnx import helper

from targets._target import Target, TargetError
from targets.cloud import target

if TYPE_CHECKING:
    from collections.abc import Callable
    from pathlib import Path

    from numpy.typing import NDArray

    from targets._target import Artifact

    Build = Callable[..., onnx.ModelProto]
    Convert = Callable[..., tuple[Artifact, Path]]
    Tensors = dict[str, NDArray]
    Reference = Callable[[onnx.ModelProto, Tensors], Tensors]

LEVELS = ("none", "basic", "extended")


@pytest.fixture(params=["free_mlp", "cnn"])
def network(request: pytest.FixtureRequest) -> onnx.ModelProto:
    return request.getfixturevalue(request.param)


def test_the_target_satisfies_the_protocol() -> None:
    assert isinstance(target, Target)
    assert target.free_dimensions(target.Options()) == {}


@pytest.mark.parametrize("level", LEVELS)
def test_the_same_model_gives_the_same_bytes_in_another_folder(
    network: onnx.ModelProto, convert: Convert, level: str
) -> None:
    first, folder = convert(target, network, optimization=level)
    second, _ = convert(target, network, optimization=level)
    assert first == second
    assert str(folder).encode() not in (folder / first.runtime.entry).read_bytes()


@pytest.mark.parametrize("level", LEVELS)
def test_every_level_computes_what_the_source_computes(
    cnn: onnx.ModelProto, convert: Convert, reference: Reference, level: str
) -> None:
    artifact, folder = convert(target, cnn, optimization=level)
    x = np.random.default_rng(4).standard_normal((1, 3, 16, 16)).astype(np.float32)
    runner = target.runner(artifact, folder)
    np.testing.assert_allclose(runner.run({"x": x})["y"], reference(cnn, {"x": x})["y"], rtol=1e-4, atol=1e-6)
    runner.close()


def test_the_batch_stays_free(free_mlp: onnx.ModelProto, convert: Convert) -> None:
    artifact, folder = convert(target, free_mlp)
    assert artifact.signature.inputs[0].shape == ("batch", 64)
    runner = target.runner(artifact, folder)
    for batch in (1, 7):
        assert runner.run({"x": np.zeros((batch, 64), np.float32)})["y"].shape == (batch, 10)


def test_fused_operators_and_their_domain_are_recorded_and_bind_the_runtime_version(
    cnn: onnx.ModelProto, convert: Convert
) -> None:
    plain, _ = convert(target, cnn, optimization="none")
    fused, _ = convert(target, cnn, optimization="extended")
    assert "com.microsoft" not in plain.runtime.opsets
    assert plain.runtime.minimum == "1.14.0"
    assert "com.microsoft.FusedConv" in fused.runtime.operators
    assert fused.runtime.opsets["com.microsoft"] == 1
    assert fused.runtime.minimum == onnxruntime.__version__
    assert fused.runtime.ir_version == 8


def test_no_layout_of_one_machine_is_baked_in(cnn: onnx.ModelProto, convert: Convert) -> None:
    artifact, folder = convert(target, cnn)
    model = onnx.load(folder / artifact.runtime.entry)
    assert {entry.domain for entry in model.opset_import} <= {"", "ai.onnx.ml", "com.microsoft"}


def test_every_node_that_cannot_be_taken_is_listed_at_once_by_name(build: Build) -> None:
    nodes = [
        helper.make_node("Relu", ["x"], ["a"], name="fine"),
        helper.make_node("Relu7", ["a"], ["b"], name="typo"),
        helper.make_node("Thing", ["b"], ["c"], domain="com.example"),
        helper.make_node("Gelu", ["c"], ["y"], name="too-new"),
    ]
    found = target.unsupported(build(nodes, {"x": [2]}, {"y": [2]}, {}), target.Options())
    assert [(finding.node, finding.operator) for finding in found] == [
        ("typo", "Relu7"),
        ("c", "com.example.Thing"),
        ("too-new", "Gelu"),
    ]


def test_what_onnxruntime_cannot_load_is_refused_with_its_reason(build: Build, convert: Convert) -> None:
    model = build([helper.make_node("Relu7", ["x"], ["y"])], {"x": [2]}, {"y": [2]}, {})
    with pytest.raises(TargetError, match="Relu7") as caught:
        convert(target, model)
    assert caught.value.code == "onnx.load"


@pytest.mark.parametrize("scheme", ["float16", "dynamic-int8", "int8"])
def test_every_precision_is_within_its_own_limit(
    cnn: onnx.ModelProto, convert: Convert, reference: Reference, scheme: str
) -> None:
    x = np.random.default_rng(4).standard_normal((32, 3, 16, 16)).astype(np.float32)
    artifact, folder = convert(target, cnn, {"x": x}, quantize=scheme)
    runner = target.runner(artifact, folder)
    got, wanted = runner.run({"x": x[:1]})["y"], reference(cnn, {"x": x[:1]})["y"]
    assert np.sqrt(np.mean((got - wanted) ** 2)) <= artifact.parity_limit * np.sqrt(np.mean(wanted**2))
    assert artifact.parity_measure == "rms"
    assert artifact.quantization.scheme == scheme
    runner.close()


def test_auto_says_what_it_measured_and_ships_what_it_chose(cnn: onnx.ModelProto, convert: Convert) -> None:
    artifact, folder = convert(target, cnn, quantize="auto")
    assert [path.name for path in folder.iterdir()] == ["model.onnx"]
    assert f"auto: {artifact.quantization.scheme} is the fastest on this machine" in artifact.notes[-1]


def test_int8_without_calibration_data_is_refused(cnn: onnx.ModelProto, convert: Convert) -> None:
    with pytest.raises(TargetError, match="needs calibration data") as caught:
        convert(target, cnn, quantize="int8")
    assert caught.value.code == "cloud.calibration"


def test_a_ceiling_of_the_runtime_holds_and_what_breaks_it_is_refused(cnn: onnx.ModelProto, convert: Convert) -> None:
    artifact, _ = convert(target, cnn, onnxruntime="1.17.0")
    assert artifact.runtime.minimum <= "1.17.0"
    assert target.needs(target.Options(onnxruntime="1.17.0")).opset == (7, 20)
    with pytest.raises(TargetError, match=r"expected at most 1\.17\.0"):
        convert(target, cnn, onnxruntime="1.17.0", optimization="extended")
    with pytest.raises(TargetError, match="not a release of onnxruntime"):
        target.needs(target.Options(onnxruntime="new"))


def test_onnxruntime_itself_runs_the_package_and_chooses_its_variant(
    cnn: onnx.ModelProto, convert: Convert, reference: Reference
) -> None:
    artifact, folder = convert(target, cnn, package=True, variants={"CUDAExecutionProvider": "float16"})
    package = onnxruntime.ModelPackageContext(str(folder / "model.ortpackage"))
    assert package.get_component_names() == ["model"]
    assert package.get_variant_names("model") == ["cpu", "cuda"]
    assert package.get_variant_ep_name("model", "cuda") == "CUDAExecutionProvider"
    chosen = package.select_component("model", onnxruntime.ModelPackageOptions(onnxruntime.SessionOptions()))
    assert chosen.get_selected_variant_name() == "cpu"
    x = np.random.default_rng(4).standard_normal((1, 3, 16, 16)).astype(np.float32)
    (y,) = chosen.create_session().run(None, {"x": x})
    np.testing.assert_allclose(y, reference(cnn, {"x": x})["y"], rtol=1e-4, atol=1e-6)
    runner = target.runner(artifact, folder)
    np.testing.assert_array_equal(runner.run({"x": x})["y"], y)
    runner.close()


def test_a_package_lists_all_its_files_and_is_the_same_twice(cnn: onnx.ModelProto, convert: Convert) -> None:
    options = {"package": True, "variants": {"DmlExecutionProvider": "float16"}}
    first, folder = convert(target, cnn, **options)
    second, _ = convert(target, cnn, **options)
    assert first == second
    written = {path.relative_to(folder).as_posix() for path in folder.rglob("*") if path.is_file()}
    assert written == {entry.path for entry in first.files}
    info = onnxruntime.ModelPackage.open(str(folder / "model.ortpackage")).get_info()
    assert (info["schema_version_major"], info["schema_version_minor"], info["layout"]) == (1, 0, "portable")
    assert [variant["device"] for variant in info["components"][0]["variants"]] == ["cpu", "gpu"]


def test_a_variant_that_computes_something_else_is_refused(build: Build, convert: Convert) -> None:
    # The first value, by which the others are rounded, has no weight.
    weights = np.random.default_rng(1).standard_normal((4, 4)).astype(np.float32)
    weights[0] = 0
    x = np.random.default_rng(0).standard_normal((16, 4)).astype(np.float32)
    x[:, 0] *= 1e6
    model = build(
        [helper.make_node("MatMul", ["x", "w"], ["y"])], {"x": ["batch", 4]}, {"y": ["batch", 4]}, {"w": weights}
    )
    with pytest.raises(TargetError, match="computes something else") as caught:
        convert(target, model, {"x": x}, package=True, variants={"CUDAExecutionProvider": "dynamic-int8"})
    assert caught.value.code == "cloud.variants"


def test_variants_without_a_package_are_refused() -> None:
    with pytest.raises(TargetError, match="'variants' are those of a package"):
        target.needs(target.Options(variants={"CUDAExecutionProvider": "none"}))
