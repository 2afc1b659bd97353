"""The coreml target on whole networks: right in float32, close in float16, the same bytes twice, clear in refusal."""

from __future__ import annotations

import hashlib
import json
import subprocess
import sys
from typing import TYPE_CHECKING

import numpy as np
import pytest
from onnx import TensorProto, helper

from manifests.manifest import ParitySection
from packager.gates.parity import gate_parity
from packager.measures.parity import compare_outputs
from targets._target import Target, TargetError
from targets.coreml import target
from targets.coreml._package import PACKAGE, RELEASES, read_specification

if TYPE_CHECKING:
    from collections.abc import Callable
    from pathlib import Path

    import onnx
    from numpy.typing import NDArray

    from manifests.manifest import OutputParity
    from targets._target import Artifact

    Build = Callable[..., onnx.ModelProto]
    Convert = Callable[..., tuple[Artifact, Path]]
    Tensors = dict[str, NDArray]
    Reference = Callable[[onnx.ModelProto, Tensors], Tensors]

PRECISIONS = ("float16", "float32")


@pytest.fixture(params=["mlp", "cnn"])
def network(request: pytest.FixtureRequest) -> onnx.ModelProto:
    return request.getfixturevalue(request.param)


def _pictures(model: onnx.ModelProto, count: int) -> NDArray[np.float32]:
    shape = [size.dim_value for size in model.graph.input[0].type.tensor_type.shape.dim]
    return np.random.default_rng(3).standard_normal((count, *shape[1:])).astype(np.float32)


def _parity(artifact: Artifact, folder: Path, model: onnx.ModelProto, reference: Reference) -> OutputParity:
    runner = target.runner(artifact, folder)
    got, expected = [], []
    for picture in _pictures(model, 10):
        got.append(runner.run({"x": picture[None]})["y"])
        expected.append(reference(model, {"x": picture[None]})["y"])
    runner.close()
    (parity,) = compare_outputs({"y": np.array(expected)}, {"y": np.array(got)})
    return parity


def _types(folder: Path) -> set[str]:
    """The element types of what the operations give, other than constants."""
    program = read_specification(folder / PACKAGE).mlProgram
    (block,) = program.functions["main"].block_specializations.values()
    kinds = type(program).DESCRIPTOR.file.enum_types_by_name["DataType"].values_by_number
    return {
        kinds[output.type.tensorType.dataType].name
        for operation in block.operations
        if operation.type not in {"const", "cast"}
        for output in operation.outputs
    }


def test_the_target_satisfies_the_protocol() -> None:
    assert isinstance(target, Target)
    assert target.free_dimensions(target.Options(batch=4)) == {"*": 4}


@pytest.mark.parametrize("precision", PRECISIONS)
def test_every_precision_keeps_to_the_parity_limit_that_it_declares(
    network: onnx.ModelProto, convert: Convert, reference: Reference, precision: str
) -> None:
    artifact, folder = convert(target, network, precision=precision)
    parity = _parity(artifact, folder, network, reference)
    section = ParitySection(samples=10, inputs="generated", fidelity="emulated", outputs=(parity,))
    measure, limit = artifact.parity_measure, artifact.parity_limit
    assert gate_parity(None, section, measure=measure, default=limit).verdict == "passed"


def test_the_runner_says_that_it_emulates(mlp: onnx.ModelProto, convert: Convert) -> None:
    assert target.runner(*convert(target, mlp)).fidelity == "emulated"


@pytest.mark.parametrize("precision", PRECISIONS)
def test_inputs_and_outputs_keep_name_dtype_shape_and_layout(
    cnn: onnx.ModelProto, convert: Convert, precision: str
) -> None:
    artifact, folder = convert(target, cnn, precision=precision)
    (given,), (made,) = artifact.signature.inputs, artifact.signature.outputs
    assert (given.name, given.dtype, given.shape) == ("x", "float32", (1, 3, 16, 16))
    assert (made.name, made.dtype, made.shape) == ("y", "float32", (1, 10))
    result = target.runner(artifact, folder).run({"x": _pictures(cnn, 1)})["y"]
    assert (result.dtype, result.shape) == (np.float32, (1, 10))


@pytest.mark.parametrize("precision", PRECISIONS)
def test_the_same_model_gives_the_same_bytes_in_another_folder(
    network: onnx.ModelProto, convert: Convert, precision: str
) -> None:
    first, _ = convert(target, network, precision=precision)
    second, _ = convert(target, network, precision=precision)
    assert first == second


_ELSEWHERE = """
import sys
from pathlib import Path
from targets.coreml import target
out = Path(sys.argv[2])
out.mkdir()
artifact = target.convert(Path(sys.argv[1]), target.Options(), None, out)
print(" ".join(entry.digest for entry in artifact.files))
"""


def test_another_process_with_another_hash_seed_gives_the_same_bytes(
    cnn: onnx.ModelProto, convert: Convert, tmp_path: Path
) -> None:
    here, _ = convert(target, cnn)
    source = tmp_path / "source.onnx"
    source.write_bytes(cnn.SerializeToString())
    done = subprocess.run(
        [sys.executable, "-c", _ELSEWHERE, source, tmp_path / "out"],
        capture_output=True,
        check=True,
        env={"PYTHONHASHSEED": "7", "PYTHONPATH": ":".join(sys.path)},
        text=True,
    )
    assert done.stdout.split() == [entry.digest for entry in here.files]


def test_coremltools_is_imported_without_other_frameworks_and_leaves_them_importable() -> None:
    program = (
        "import sys; from targets.coreml._coremltools import coremltools; coremltools();"
        "print(*(name for name in ('sklearn', 'torch', 'tensorflow', 'xgboost') if name in sys.modules), '.');"
        "import sklearn"
    )
    done = subprocess.run(
        [sys.executable, "-c", program],
        capture_output=True,
        check=True,
        env={"PYTHONPATH": ":".join(sys.path)},
        text=True,
    )
    assert done.stdout.split() == ["."]


def test_every_file_of_the_package_is_listed_with_its_digest(cnn: onnx.ModelProto, convert: Convert) -> None:
    artifact, folder = convert(target, cnn)
    found = {
        path.relative_to(folder).as_posix(): f"sha256:{hashlib.sha256(path.read_bytes()).hexdigest()}"
        for path in folder.rglob("*")
        if path.is_file()
    }
    assert {entry.path: entry.digest for entry in artifact.files} == found
    manifest = json.loads((folder / artifact.runtime.entry).read_text())
    inside = folder / PACKAGE / "Data"
    assert all((inside / item["path"]).exists() for item in manifest["itemInfoEntries"].values())
    assert manifest["rootModelIdentifier"] in manifest["itemInfoEntries"]


def test_nothing_that_varies_stands_in_the_metadata(cnn: onnx.ModelProto, convert: Convert) -> None:
    _, folder = convert(target, cnn)
    metadata = read_specification(folder / PACKAGE).description.metadata
    assert (metadata.author, metadata.versionString, dict(metadata.userDefined)) == ("", "", {})


@pytest.mark.parametrize("minimum", RELEASES)
def test_each_release_gets_its_own_specification_and_operator_set(
    cnn: onnx.ModelProto, convert: Convert, reference: Reference, minimum: str
) -> None:
    artifact, folder = convert(target, cnn, minimum=minimum, precision="float32")
    model = read_specification(folder / PACKAGE)
    assert model.specificationVersion == RELEASES[minimum]
    assert model.mlProgram.functions["main"].opset == f"CoreML{RELEASES[minimum] - 1}"
    assert _parity(artifact, folder, cnn, reference).max_relative < 1e-5


def test_float16_computes_in_float16_and_named_exceptions_in_float32(cnn: onnx.ModelProto, convert: Convert) -> None:
    _, half = convert(target, cnn)
    assert _types(half) == {"FLOAT16"}
    _, mixed = convert(target, cnn, float32_ops=("softmax",))
    assert _types(mixed) == {"FLOAT16", "FLOAT32"}
    _, plain = convert(target, cnn, precision="float32")
    assert _types(plain) == {"FLOAT32"}


def test_float16_halves_the_weights(cnn: onnx.ModelProto, convert: Convert) -> None:
    sizes = {
        precision: sum(
            entry.size for entry in convert(target, cnn, precision=precision)[0].files if entry.role == "weights"
        )
        for precision in PRECISIONS
    }
    assert sizes["float16"] < 0.6 * sizes["float32"]


def test_batch_normalization_and_bias_leave_no_operation_of_their_own(cnn: onnx.ModelProto, convert: Convert) -> None:
    artifact, _ = convert(target, cnn, precision="float32")
    assert "batch_norm" not in artifact.runtime.operators


def test_names_that_core_ml_can_not_have_are_kept_in_the_metadata(build: Build, convert: Convert) -> None:
    model = build([helper.make_node("Relu", ["in/0:x"], ["1.out"])], {"in/0:x": [1, 3]}, {"1.out": [1, 3]}, {})
    artifact, folder = convert(target, model)
    assert artifact.signature.inputs[0].name == "in/0:x"
    assert [entry.name for entry in read_specification(folder / PACKAGE).description.input] == ["in_0_x"]
    result = target.runner(artifact, folder).run({"in/0:x": np.array([[-1, 0, 2]], np.float32)})
    assert result["1.out"].tolist() == [[0, 0, 2]]
    assert any("in_0_x" in note for note in artifact.notes)


def test_integers_are_narrowed_and_the_notes_say_so(convert: Convert) -> None:
    graph = helper.make_graph(
        [helper.make_node("Add", ["x", "x"], ["y"])],
        "integers",
        [helper.make_tensor_value_info("x", TensorProto.INT64, [3])],
        [helper.make_tensor_value_info("y", TensorProto.INT64, [3])],
    )
    model = helper.make_model(graph, opset_imports=[helper.make_opsetid("", 17)], ir_version=8)
    artifact, folder = convert(target, model)
    assert [entry.dtype for entry in (*artifact.signature.inputs, *artifact.signature.outputs)] == ["int32", "int32"]
    assert "'x' is int32 instead of int64" in artifact.notes
    assert target.runner(artifact, folder).run({"x": np.array([1, 2, 3], np.int32)})["y"].tolist() == [2, 4, 6]


def test_an_integer_constant_beyond_int32_is_refused_by_name(convert: Convert) -> None:
    graph = helper.make_graph(
        [helper.make_node("Add", ["x", "large"], ["y"], "sum")],
        "integers",
        [helper.make_tensor_value_info("x", TensorProto.INT64, [3])],
        [helper.make_tensor_value_info("y", TensorProto.INT64, [3])],
        [helper.make_tensor("large", TensorProto.INT64, [1], [1 << 40])],
    )
    model = helper.make_model(graph, opset_imports=[helper.make_opsetid("", 17)], ir_version=8)
    with pytest.raises(TargetError, match=r"node 'sum' \(Add\).*int32") as caught:
        convert(target, model)
    assert caught.value.code == "coreml.operators"


def test_every_node_that_can_not_be_expressed_is_listed_at_once(build: Build) -> None:
    nodes = [
        helper.make_node("NonZero", ["x"], ["places"], "first"),
        helper.make_node("Relu", ["x"], ["r"]),
        helper.make_node("Mystery", ["r"], ["y"], "second", domain="com.example"),
    ]
    model = build(nodes, {"x": [1, 3]}, {"y": [1, 3]}, {})
    found = target.unsupported(model, target.Options())
    assert [(each.node, each.operator) for each in found] == [("first", "NonZero"), ("second", "com.example.Mystery")]
    assert all(each.reason for each in found)


def test_a_rank_beyond_five_is_refused(build: Build, convert: Convert) -> None:
    shape = [1, 1, 1, 1, 1, 3]
    model = build([helper.make_node("Relu", ["x"], ["y"])], {"x": shape}, {"y": shape}, {})
    with pytest.raises(TargetError, match="rank 6") as caught:
        convert(target, model)
    assert caught.value.code == "coreml.border"


@pytest.mark.parametrize(("macos", "ios"), [("macos12", "ios15"), ("macos15", "ios18")])
def test_a_release_of_macos_is_the_release_of_ios_with_the_same_core_ml(
    mlp: onnx.ModelProto, convert: Convert, macos: str, ios: str
) -> None:
    one, _ = convert(target, mlp, minimum=macos)
    other, _ = convert(target, mlp, minimum=ios)
    assert one == other
    assert one.runtime.minimum == ios
