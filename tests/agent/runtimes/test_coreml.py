# ruff: noqa: ANN401 - coremltools has no types
"""Core ML's runtime, as far as it goes where there is no Core ML: names, refusals, state."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import numpy as np
import pytest

from agent.inventory import _numbers
from agent.runtimes import _runtime
from agent.runtimes.coreml import _array, _Package
from targets.coreml.evaluator import load_program
from targets.coreml.evaluator._package import specification
from tests.targets.coreml.evaluator.programs import builder, saved, target, types

if TYPE_CHECKING:
    from pathlib import Path

X = np.array([1, 2, 3], np.float32)


class Memory(dict[str, Any]):
    """What `MLState` is there."""

    def read_state(self, name: str) -> Any:
        return self[name]

    def write_state(self, name: str, value: Any) -> None:
        self[name] = value


class EvaluatedModel:
    """What `MLModel` is on a Mac, evaluated."""

    def __init__(self, package: Path) -> None:
        self._specification, _ = specification(package)
        self._program = load_program(package)

    def get_spec(self) -> Any:
        return self._specification

    def make_state(self) -> Any:
        return Memory(self._program.new_state())

    def predict(self, inputs: Any, state: Any = None) -> Any:
        return self._program.predict(inputs, state=state)


@pytest.fixture
def counter(tmp_path: Path) -> Path:
    mb = builder()
    state = mb.StateTensorSpec(shape=(3,), dtype=types().fp16)
    spec = mb.TensorSpec(shape=(3,), dtype=types().fp32)

    @mb.program(input_specs=[spec, state], opset_version=target("iOS18"))
    def program(x: Any, memory: Any) -> Any:
        total = mb.add(x=mb.read_state(input=memory), y=mb.cast(x=x, dtype="fp16"))
        return mb.cast(x=mb.coreml_update_state(state=memory, value=total), dtype="fp32", name="y")

    return saved(tmp_path, program, system="iOS18")


def test_a_sequence_goes_on_until_it_is_reset(counter: Path) -> None:
    runtime = _Package(EvaluatedModel(counter))
    assert runtime.run({"x": X})["y"].tolist() == [1, 2, 3]
    assert runtime.run({"x": X})["y"].tolist() == [2, 4, 6]
    runtime.reset()
    assert runtime.run({"x": X})["y"].tolist() == [1, 2, 3]


def test_the_packages_metadata_gives_the_sources_names(counter: Path) -> None:
    model = EvaluatedModel(counter)
    model.get_spec().description.metadata.userDefined["packtrain.names"] = '{"x": "input:0", "y": "sum/1"}'
    result = _Package(model).run({"input:0": X})
    assert result["sum/1"].tolist() == [1, 2, 3]


def test_an_input_that_does_not_fit_is_refused_by_name(counter: Path) -> None:
    runtime = _Package(EvaluatedModel(counter))
    with pytest.raises(ValueError, match=r"shape of input 'x' does not match: expected \[3\], got \[2\]"):
        runtime.run({"x": X[:2]})
    with pytest.raises(ValueError, match="dtype of input 'x' does not match: expected float32, got float64"):
        runtime.run({"x": X.astype(np.float64)})


def test_elsewhere_than_on_apples_systems_it_is_not_available(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("platform.system", lambda: "Linux")
    assert not _runtime.is_available("coreml")
    assert _runtime.installed_version("coreml") == ""


def test_a_release_of_ios_is_compared_by_its_number() -> None:
    assert _numbers("17") < _numbers("ios18")
    assert _numbers("18") >= _numbers("ios18")


@pytest.mark.parametrize(("macos", "release"), [("12.7", "15"), ("14.5", "17"), ("15.0.1", "18"), ("26.1", "26")])
def test_the_version_on_a_mac_is_the_ios_release_with_the_same_operators(
    monkeypatch: pytest.MonkeyPatch, macos: str, release: str
) -> None:
    monkeypatch.setattr("platform.system", lambda: "Darwin")
    monkeypatch.setattr("platform.mac_ver", lambda: (macos, ("", "", ""), "arm64"))
    assert _runtime.installed_version("coreml") == release


def test_a_state_can_be_given_and_comes_back_as_the_output_that_it_is_next(counter: Path) -> None:
    model = EvaluatedModel(counter)
    model.get_spec().description.metadata.userDefined["packtrain.states"] = '{"memory": "next"}'
    result = _Package(model).run({"x": X, "memory": np.array([10, 10, 10], np.float32)})
    assert result["y"].tolist() == [11, 12, 13]
    assert result["next"].tolist() == [11, 12, 13]


def test_scores_by_label_come_as_one_row() -> None:
    assert _array({"cat": 0.25, "dog": 0.75}).tolist() == [[0.25, 0.75]]


def test_of_several_functions_the_default_one_says_what_goes_in_and_out(counter: Path) -> None:
    model = EvaluatedModel(counter)
    description = model.get_spec().description
    description.functions.add(name="big").input.add(name="other")
    small = description.functions.add(name="small")
    for field in ("input", "output", "state"):
        getattr(small, field).extend(getattr(description, field))
        description.ClearField(field)
    description.defaultFunctionName = "small"
    assert _Package(model).run({"x": X})["y"].tolist() == [1, 2, 3]
