"""How edge-arm's file meets its application: layouts of inputs and outputs, and state that it keeps."""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np
import pytest
from onnx import helper

from agent.runtimes.litert import open_model
from packager.measures.running import FromRest, Shipped, SourceModel, run_all
from packager.signatures import model_signature
from targets._target import TargetError
from targets.edge_arm import target

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

PAIRS = {"h": "next"}


@pytest.fixture
def maps(build: Build) -> onnx.ModelProto:
    """A picture in, a map out, and a vector that stands beside the picture."""
    weights = np.random.default_rng(5).standard_normal((4, 3, 3, 3)).astype(np.float32)
    nodes = [
        helper.make_node("Mul", ["x", "scale"], ["s"]),
        helper.make_node("Conv", ["s", "w"], ["c"], pads=[1, 1, 1, 1]),
        helper.make_node("Add", ["c", "b"], ["y"]),
        helper.make_node("Tanh", ["b"], ["z"]),
    ]
    constants = {"w": weights, "scale": np.array(0.5, np.float32)}
    return build(nodes, {"x": [1, 3, 5, 6], "b": [1, 4, 1, 1]}, {"y": [1, 4, 5, 6], "z": [1, 4, 1, 1]}, constants)


@pytest.fixture
def recurrent(build: Build) -> onnx.ModelProto:
    """next = tanh(x + h), y = 2 * next."""
    nodes = [
        helper.make_node("Add", ["x", "h"], ["s"]),
        helper.make_node("Tanh", ["s"], ["next"]),
        helper.make_node("Mul", ["next", "two"], ["y"]),
    ]
    shapes = {"x": [1, 3], "h": [1, 3]}
    return build(nodes, shapes, {"y": [1, 3], "next": [1, 3]}, {"two": np.array(2, np.float32)})


def _given(model: onnx.ModelProto, count: int) -> Tensors:
    random = np.random.default_rng(1)
    shapes = {entry.name: [size.dim_value for size in entry.type.tensor_type.shape.dim] for entry in model.graph.input}
    return {name: random.standard_normal((count, *shape[1:])).astype(np.float32) for name, shape in shapes.items()}


@pytest.mark.parametrize("scheme", ["none", "int8"])
def test_pictures_and_maps_lie_channels_last_where_that_is_asked_for(
    maps: onnx.ModelProto, convert: Convert, scheme: str
) -> None:
    artifact, _ = convert(target, maps, _given(maps, 20), quantize=scheme, io_layout="nhwc")
    shown = [(entry.name, entry.shape, entry.layout) for entry in artifact.signature.inputs]
    assert shown == [("x", (1, 5, 6, 3), "nhwc"), ("b", (1, 4, 1, 1), "")]
    assert (artifact.signature.outputs[0].shape, artifact.signature.outputs[0].layout) == ((1, 5, 6, 4), "nhwc")
    assert "TRANSPOSE" not in artifact.runtime.operators


def test_a_file_whose_pictures_lie_channels_last_is_compared_with_its_source_all_the_same(
    maps: onnx.ModelProto, convert: Convert, reference: Reference
) -> None:
    artifact, folder = convert(target, maps, io_layout="nhwc")
    shipped = Shipped(target.runner(artifact, folder), artifact.signature, model_signature(maps))
    given = _given(maps, 1)
    got = shipped.real_outputs(shipped.run(shipped.stored_inputs(given)))
    for name, expected in reference(maps, given).items():
        np.testing.assert_allclose(got[name], expected, rtol=1e-4, atol=1e-5)


def test_without_a_picture_nothing_moves_and_a_note_says_so(mlp: onnx.ModelProto, convert: Convert) -> None:
    artifact, _ = convert(target, mlp, io_layout="nhwc")
    assert artifact.signature.inputs[0].layout == ""
    assert any("no input is a picture" in note for note in artifact.notes)


def test_kept_state_goes_on_from_call_to_call_until_it_is_reset(
    recurrent: onnx.ModelProto, convert: Convert, reference: Reference
) -> None:
    artifact, folder = convert(target, recurrent, state="variables", state_pairs=PAIRS)
    assert [entry.name for entry in artifact.signature.inputs] == ["x"]
    assert [entry.name for entry in artifact.signature.outputs] == ["y"]
    runtime = open_model(folder / artifact.runtime.entry, threads=1)
    x = np.array([[0.1, -0.2, 0.3]], np.float32)
    for _ in range(2):
        runtime.reset()
        state = np.zeros((1, 3), np.float32)
        for _ in range(3):
            expected = reference(recurrent, {"x": x, "h": state})
            state = expected["next"]
            np.testing.assert_allclose(runtime.run({"x": x})["y"], expected["y"], rtol=1e-5)


def test_state_between_channels_last_operations_is_kept_in_the_sources_order(
    build: Build, convert: Convert, reference: Reference
) -> None:
    weights = np.random.default_rng(5).standard_normal((2, 2, 1, 1)).astype(np.float32)
    nodes = [helper.make_node("Add", ["x", "h"], ["s"]), helper.make_node("Conv", ["s", "w"], ["next"])]
    nodes.append(helper.make_node("Relu", ["next"], ["y"]))
    shape = [1, 2, 3, 4]
    model = build(nodes, {"x": shape, "h": shape}, {"y": shape, "next": shape}, {"w": weights})
    artifact, folder = convert(target, model, state="variables", state_pairs=PAIRS)
    runtime = open_model(folder / artifact.runtime.entry, threads=1)
    x = np.random.default_rng(2).standard_normal(shape).astype(np.float32)
    state = np.zeros(shape, np.float32)
    for _ in range(3):
        expected = reference(model, {"x": x, "h": state})
        state = expected["next"]
        np.testing.assert_allclose(runtime.run({"x": x})["y"], expected["y"], rtol=1e-4, atol=1e-5)


def test_a_file_that_keeps_its_state_is_compared_from_rest(
    recurrent: onnx.ModelProto, convert: Convert, tmp_path: Path
) -> None:
    artifact, folder = convert(target, recurrent, state="variables", state_pairs=PAIRS)
    path = tmp_path / "source.onnx"
    path.write_bytes(recurrent.SerializeToString())
    signature = model_signature(recurrent)
    x = _given(recurrent, 4)["x"]
    expected = run_all(FromRest(SourceModel(path), signature, artifact.signature), {"x": x}, 1)
    got = run_all(Shipped(target.runner(artifact, folder), artifact.signature, signature), {"x": x}, 1)
    assert list(expected) == ["y"]
    np.testing.assert_allclose(got["y"], expected["y"], rtol=1e-5)


@pytest.mark.parametrize(
    ("options", "words"),
    [
        ({"state": "variables"}, "no state is named"),
        ({"state_pairs": PAIRS}, "the state goes in and out"),
        ({"state": "variables", "state_pairs": {"k": "next"}}, "the model has no input 'k'"),
        ({"state": "variables", "state_pairs": {"h": "k"}}, "the model has no output 'k'"),
        ({"state": "variables", "state_pairs": PAIRS, "quantize": "int8"}, "can't be kept"),
    ],
)
def test_state_that_does_not_fit_the_model_is_refused(
    recurrent: onnx.ModelProto, convert: Convert, options: dict[str, object], words: str
) -> None:
    with pytest.raises(TargetError, match=words) as caught:
        convert(target, recurrent, _given(recurrent, 4), **options)
    assert caught.value.code == "edge-arm.state"
    assert caught.value.hint


@pytest.mark.parametrize("scheme", ["float16", "dynamic-int8"])
def test_smaller_weights_leave_kept_state_as_it_is(build: Build, convert: Convert, scheme: str) -> None:
    weights = np.random.default_rng(5).standard_normal((8, 8)).astype(np.float32) / 4
    nodes = [
        helper.make_node("Add", ["x", "h"], ["s"]),
        helper.make_node("MatMul", ["s", "w"], ["next"]),
        helper.make_node("Tanh", ["next"], ["y"]),
    ]
    model = build(nodes, {"x": [1, 8], "h": [1, 8]}, {"y": [1, 8], "next": [1, 8]}, {"w": weights})
    artifact, folder = convert(target, model, state="variables", state_pairs=PAIRS, quantize=scheme)
    runtime = open_model(folder / artifact.runtime.entry, threads=1)
    x = np.ones((1, 8), np.float32)
    first, second = runtime.run({"x": x})["y"], runtime.run({"x": x})["y"]
    runtime.reset()
    np.testing.assert_array_equal(runtime.run({"x": x})["y"], first)
    assert not np.allclose(first, second)
