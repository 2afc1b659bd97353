"""Inputs that a package remembers from call to call."""

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
    Tensors = dict[str, NDArray]
    Reference = Callable[[onnx.ModelProto, Tensors], Tensors]

STATES = {"h": "next"}


@pytest.fixture
def cell(build: Build) -> onnx.ModelProto:
    """One step of a recurrent layer: tanh(x w + h r), given out through a matrix, and handed on."""
    random = np.random.default_rng(4)
    nodes = [
        helper.make_node("MatMul", ["x", "w"], ["a"]),
        helper.make_node("MatMul", ["h", "r"], ["b"]),
        helper.make_node("Add", ["a", "b"], ["sum"]),
        helper.make_node("Tanh", ["sum"], ["next"]),
        helper.make_node("MatMul", ["next", "o"], ["y"]),
    ]
    shapes = {"w": (3, 6), "r": (6, 6), "o": (6, 2)}
    constants = {name: random.standard_normal(shape).astype(np.float32) / 2 for name, shape in shapes.items()}
    return build(nodes, {"x": [1, 3], "h": [1, 6]}, {"next": [1, 6], "y": [1, 2]}, constants)


def test_what_the_source_hands_on_the_package_remembers(
    cell: onnx.ModelProto, convert: Convert, reference: Reference
) -> None:
    _, folder = convert(target, cell, minimum="ios18", states=STATES)
    description = read_specification(folder / PACKAGE).description
    assert [entry.name for entry in description.input] == ["x"]
    assert [entry.name for entry in description.state] == ["h"]
    assert [entry.name for entry in description.output] == ["y"]
    program = load_program(folder / PACKAGE)
    state = program.new_state()
    hidden = np.zeros((1, 6), np.float32)
    for x in np.random.default_rng(0).standard_normal((5, 1, 3)).astype(np.float32):
        expected = reference(cell, {"x": x, "h": hidden})
        hidden = expected["next"]
        np.testing.assert_allclose(program.predict({"x": x}, state=state)["y"], expected["y"], atol=1e-2)
    np.testing.assert_allclose(state["h"], hidden, atol=1e-2)


def test_the_runner_takes_and_gives_states_as_the_source_does(
    cell: onnx.ModelProto, convert: Convert, reference: Reference
) -> None:
    artifact, folder = convert(target, cell, minimum="ios18", states=STATES)
    assert [entry.name for entry in artifact.signature.inputs] == ["x", "h"]
    assert [(entry.name, entry.dtype) for entry in artifact.signature.outputs] == [
        ("next", "float16"),
        ("y", "float32"),
    ]
    given = {name: np.full((1, size), 0.5, np.float32) for name, size in (("x", 3), ("h", 6))}
    got, expected = target.runner(artifact, folder).run(given), reference(cell, given)
    for name in ("next", "y"):
        np.testing.assert_allclose(got[name], expected[name], atol=1e-2)


def test_a_release_without_states_refuses_them_with_what_to_do(cell: onnx.ModelProto, convert: Convert) -> None:
    with pytest.raises(TargetError, match="ios17 has no states") as caught:
        convert(target, cell, states=STATES)
    assert "ios18" in caught.value.hint


def test_a_state_that_the_model_has_not_is_refused(cell: onnx.ModelProto, convert: Convert) -> None:
    with pytest.raises(TargetError, match="no input 'c'") as caught:
        convert(target, cell, minimum="ios18", states={"c": "next"})
    assert caught.value.code == "coreml.states"


def test_a_state_that_changes_its_shape_is_refused(cell: onnx.ModelProto, convert: Convert) -> None:
    with pytest.raises(TargetError, match="has not the shape"):
        convert(target, cell, minimum="ios18", states={"h": "y"})
