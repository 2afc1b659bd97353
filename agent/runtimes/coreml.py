"""Core ML packages, run by Core ML itself, on macOS."""

from __future__ import annotations

import importlib
import json
from typing import TYPE_CHECKING, Any, Literal

import numpy as np

from agent.runtimes._arguments import Declared, checked_inputs

if TYPE_CHECKING:
    from collections.abc import Mapping
    from pathlib import Path

    from numpy.typing import NDArray

    from agent.runtimes._runtime import Runtime

Units = Literal["ALL", "CPU_ONLY", "CPU_AND_GPU", "CPU_AND_NE"]
"""Where Core ML may compute, by coremltools' names."""

DISTRIBUTION = "coremltools"
NAMES = "packtrain.names"
"""The entry of the package's metadata that says how its inputs and outputs are called in the source model."""
_WITH_BATCH = 4
_CHANNELS = (1, 3)
STATES = "packtrain.states"
"""The entry that says, for each state, which output of the source model it is next."""
_ELEMENTS = {65552: "float16", 65568: "float32", 65600: "float64", 131104: "int32", 131080: "int8"}
"""``ArrayFeatureType.ArrayDataType`` of Core ML's specification."""


class _Package:
    """What one package computes; Core ML takes concurrent calls, unless the package keeps state."""

    def __init__(self, model: Any) -> None:  # noqa: ANN401 - coremltools has no types
        """`model` is an ``MLModel`` of coremltools, or what predicts like one."""
        specification = model.get_spec().description
        stored = specification.metadata.userDefined
        # Of several functions Core ML calls the default one.
        description = next(
            (each for each in specification.functions if each.name == specification.defaultFunctionName), specification
        )
        sources: dict[str, str] = json.loads(stored[NAMES]) if NAMES in stored else {}
        kept: dict[str, str] = json.loads(stored[STATES]) if STATES in stored else {}
        self._model = model
        self._inputs = {sources.get(each.name, each.name): each for each in description.input}
        self._outputs = {sources.get(each.name, each.name): each.name for each in description.output}
        self._declared = [
            _declared(name, each.type)
            for name, each in self._inputs.items()
            if each.type.WhichOneof("Type") == "multiArrayType"
        ]
        self._states = {sources.get(name, name): (name, sources.get(output, output)) for name, output in kept.items()}
        self._state: Any = model.make_state() if len(description.state) else None

    def run(self, inputs: Mapping[str, NDArray[np.generic]]) -> dict[str, NDArray[np.generic]]:
        """Outputs by name, for one call.

        Where the package keeps states, an input of a state's name sets it first, and the output that it is next comes
        back beside the others; else the sequence goes on where the last call left it.
        """
        pictures = {name for name, each in self._inputs.items() if each.type.WhichOneof("Type") == "imageType"}
        plain = {name: array for name, array in inputs.items() if name not in pictures and name not in self._states}
        given: dict[str, Any] = {
            self._inputs[name].name: array for name, array in checked_inputs(self._declared, plain).items()
        }
        for name in sorted(pictures):
            if name not in inputs:
                raise ValueError(f"input '{name}' is missing: got {', '.join(inputs) or 'none'}")
            given[self._inputs[name].name] = _picture(inputs[name])
        for name in self._states.keys() & inputs.keys():
            self._state.write_state(self._states[name][0], inputs[name].astype(np.float16))
        results = self._model.predict(given) if self._state is None else self._model.predict(given, self._state)
        outputs = {name: _array(results[own]) for name, own in self._outputs.items()}
        return outputs | {output: self._state.read_state(own) for own, output in self._states.values()}

    def reset(self) -> None:
        """Start a new sequence, where the package keeps state from call to call."""
        if self._state is not None:
            self._state = self._model.make_state()

    def close(self) -> None:
        del self._model


def open_model(path: Path, *, threads: int) -> Runtime:
    """The package whose ``Manifest.json`` is `path`, compiled and ready to run wherever Core ML sees fit.

    Core ML chooses its threads itself.

    Raises:
        ValueError: Core ML can't compile or load it; the message has its reason.
    """
    del threads
    return open_package(path.parent, units="ALL")


def open_package(folder: Path, *, units: Units) -> Runtime:
    """The package in `folder`, run by those compute units.

    Raises:
        ValueError: Core ML can't compile or load it; the message has its reason.
    """
    coremltools: Any = importlib.import_module("coremltools")
    try:
        model = coremltools.models.MLModel(str(folder), compute_units=coremltools.ComputeUnit[units])
    except RuntimeError as error:
        raise ValueError(f"Core ML can't load '{folder.name}': {error}") from error
    return _Package(model)


def _declared(name: str, described: Any) -> Declared:  # noqa: ANN401 - a message of coremltools
    array = described.multiArrayType
    fixed = [int(size) for size in array.shape]
    ranges = list(array.shapeRange.sizeRanges)
    shape = tuple(
        f"?{axis}" if ranges and ranges[axis].lowerBound != ranges[axis].upperBound else size
        for axis, size in enumerate(fixed)
    )
    return Declared(name, _ELEMENTS.get(array.dataType, "float32"), shape)


def _picture(array: NDArray[np.generic]) -> Any:  # noqa: ANN401 - Pillow is not installed everywhere
    """One picture of pixels from 0 to 255, channels first or last, as Core ML takes it."""
    pillow: Any = importlib.import_module("PIL.Image")
    plane = array[0] if array.ndim == _WITH_BATCH else array
    if plane.shape[-1] not in _CHANNELS:
        plane = plane.transpose(1, 2, 0)
    return pillow.fromarray(plane.astype(np.uint8).squeeze())


def _array(value: Any) -> NDArray[np.generic]:  # noqa: ANN401 - an array, a label, or probabilities by label
    return np.array([list(value.values())]) if isinstance(value, dict) else np.asarray(value)
