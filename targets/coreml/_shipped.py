"""The shipped package on this host, called by the source model's names."""

from __future__ import annotations

import json
from typing import TYPE_CHECKING

import msgspec

from targets.coreml._border import CLASS, SCORES
from targets.coreml._package import NAMES, STATES, read_specification
from targets.coreml.evaluator import load_program

if TYPE_CHECKING:
    from collections.abc import Sequence
    from pathlib import Path

    import numpy as np
    from numpy.typing import NDArray

    from manifests.manifest import SignatureSection, TensorSection
    from targets._target import Arrays, Fidelity
    from targets.coreml.evaluator import Feature, Program


class ShippedPackage:
    """A package whose program is evaluated operation by operation."""

    fidelity: Fidelity = "emulated"

    def __init__(self, package: Path, signature: SignatureSection) -> None:
        """`signature` has the source model's names; the package says how it calls each."""
        description = read_specification(package).description
        stored = description.metadata.userDefined
        self._sources: dict[str, str] = json.loads(stored[NAMES]) if NAMES in stored else {}
        self._names = {source: name for name, source in self._sources.items()}
        own = msgspec.structs.replace(
            signature,
            inputs=tuple(self._renamed(entry) for entry in signature.inputs),
            outputs=tuple(self._renamed(entry) for entry in signature.outputs),
        )
        names = [each.name for each in description.functions] or [""]
        names.sort(key=lambda name: name != description.defaultFunctionName)
        self._programs = [load_program(package, name) for name in names]
        self._outputs: dict[str, str] = json.loads(stored[STATES]) if STATES in stored else {}
        self._batches = _batches(self._programs)
        self._planes = {
            entry.name: (entry.type.imageType.height, entry.type.imageType.width)
            for entry in (*description.input, *(each for one in description.functions for each in one.input))
            if entry.type.WhichOneof("Type") == "imageType"
        }
        self._scores = next((entry.shape for entry in own.outputs if entry.name == SCORES), ())
        """Numbers all: a classifier takes one sample."""

    def _renamed(self, entry: TensorSection) -> TensorSection:
        return msgspec.structs.replace(entry, name=self._names.get(entry.name, entry.name))

    def run(self, inputs: Arrays) -> dict[str, NDArray[np.generic]]:
        """Outputs by name, for one call of the model."""
        given = {self._names.get(name, name): self._pixels(name, array) for name, array in inputs.items()}
        rows = {len(array) for array in given.values() if array.ndim}
        in_parts = self._batches and len(rows) == 1
        results = self._in_parts(given, rows.pop()) if in_parts else self._called(given)
        return {self._sources.get(name, name): self._shaped(name, array) for name, array in results.items()}

    def _called(self, given: Arrays) -> dict[str, NDArray[np.generic]]:
        """One call, which starts from the states that it is given, and gives out what they are next."""
        state = {name: given[name].astype("float16") for name in self._outputs}
        inputs = {name: given[name] for name in given if name not in state}
        results = self._fitting(inputs).predict(inputs, state=state)
        return {name: array for name, array in results.items() if name != CLASS} | {
            self._outputs[name]: array for name, array in state.items()
        }

    def _fitting(self, inputs: Arrays) -> Program:
        """The first function that takes inputs of those shapes; the default one where none does, to say why."""
        for program in self._programs:
            if all(each.takes(inputs[each.name].shape) for each in program.inputs if each.name in inputs):
                return program
        return self._programs[0]

    def _pixels(self, name: str, array: NDArray[np.generic]) -> NDArray[np.generic]:
        """Of an image input, what the program takes: its pixels as float32, channels first."""
        plane = self._planes.get(self._names.get(name, name))
        if plane is None:
            return array
        moved = array if array.shape[2:] == plane else array.transpose(0, 3, 1, 2)
        return moved.astype("float32")

    def _shaped(self, name: str, array: NDArray[np.generic]) -> NDArray[np.generic]:
        """A classifier's scores, which come as a vector, in the signature's shape."""
        return array.reshape([int(size) for size in self._scores]) if name == SCORES and self._scores else array

    def _in_parts(self, given: Arrays, rows: int) -> dict[str, NDArray[np.generic]]:
        """One call, or as many as the largest batch that the package takes asks for, the last one filled up."""
        import numpy as np

        parts: dict[str, list[NDArray[np.generic]]] = {}
        start = 0
        while start < rows:
            left = rows - start
            fitting = [size for size in self._batches if size <= left]
            size = max(fitting) if fitting else min(self._batches)
            places = np.minimum(np.arange(start, start + size), rows - 1)
            for name, array in self._called({name: array[places] for name, array in given.items()}).items():
                whole = array.ndim and len(array) == size
                parts.setdefault(name, []).append(array[:left] if whole else array)
            start += size
        return {name: np.concatenate(arrays) if len(arrays) > 1 else arrays[0] for name, arrays in parts.items()}

    def close(self) -> None:
        """Nothing is held open."""


_UNBOUND = 256
"""The largest batch that is tried where there is no bound."""


def _batches(programs: Sequence[Program]) -> tuple[int, ...]:
    """The batches that every input of some function takes, where the first dimension of each is free."""
    found: set[int] = set()
    for program in programs:
        leading = [_leading(feature, several=len(programs) > 1) for feature in program.inputs]
        if leading:
            found |= set.intersection(*leading)
    return tuple(sorted(found)) if len(found) > 1 else ()


def _leading(feature: Feature, *, several: bool) -> set[int]:
    """What the first dimension may be; a fixed one says nothing, unless another function may have another one."""
    if feature.shapes:
        return {shape[0] for shape in feature.shapes}
    if feature.ranges:
        least, most = feature.ranges[0]
        return set(range(least, (_UNBOUND if most < 0 else most) + 1)) if least != most else set()
    return {size for size in feature.shape[:1] if size is not None} if several else set()
