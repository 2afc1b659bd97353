"""The shipped package on this host, called by the source model's names."""

from __future__ import annotations

import json
from typing import TYPE_CHECKING

import msgspec

from targets.coreml._package import NAMES, read_specification
from targets.coreml.evaluator.runner import EvaluatorRunner

if TYPE_CHECKING:
    from pathlib import Path

    import numpy as np
    from numpy.typing import NDArray

    from manifests.manifest import SignatureSection, TensorSection
    from targets._target import Arrays, Fidelity


class ShippedPackage:
    """A package whose program is evaluated operation by operation."""

    fidelity: Fidelity = "emulated"

    def __init__(self, package: Path, signature: SignatureSection) -> None:
        """`signature` has the source model's names; the package says how it calls each."""
        stored = read_specification(package).description.metadata.userDefined
        self._sources: dict[str, str] = json.loads(stored[NAMES]) if NAMES in stored else {}
        self._names = {source: name for name, source in self._sources.items()}
        own = msgspec.structs.replace(
            signature,
            inputs=tuple(self._renamed(entry) for entry in signature.inputs),
            outputs=tuple(self._renamed(entry) for entry in signature.outputs),
        )
        self._runner = EvaluatorRunner(package, own)

    def _renamed(self, entry: TensorSection) -> TensorSection:
        return msgspec.structs.replace(entry, name=self._names.get(entry.name, entry.name))

    def run(self, inputs: Arrays) -> dict[str, NDArray[np.generic]]:
        """Outputs by name, for one call of the model."""
        results = self._runner.run({self._names.get(name, name): array for name, array in inputs.items()})
        return {self._sources.get(name, name): array for name, array in results.items()}

    def close(self) -> None:
        """Give back what the evaluator holds."""
        self._runner.close()
