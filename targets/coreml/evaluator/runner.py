"""Runs a package's program as the packager asks a target to: emulated, on this machine."""

from __future__ import annotations

from typing import TYPE_CHECKING

from targets.coreml.evaluator._loading import load_program

if TYPE_CHECKING:
    from pathlib import Path

    import numpy as np
    from numpy.typing import NDArray

    from manifests.manifest import SignatureSection
    from targets._target import Arrays, Fidelity


class EvaluatorRunner:
    """A loaded package, called with the names and the element types of a signature."""

    fidelity: Fidelity = "emulated"

    def __init__(self, folder: Path, signature: SignatureSection) -> None:
        """`folder` is the package; the signature is that of the shipped file."""
        self._program = load_program(folder)
        self._dtypes = {each.name: each.dtype for each in signature.outputs}

    def run(self, inputs: Arrays) -> dict[str, NDArray[np.generic]]:
        """Outputs by name, in the signature's element types.

        Raises:
            TargetError: an input does not fit, or an operation fails.
        """
        values = self._program.predict(inputs)
        results: dict[str, NDArray[np.generic]] = {}
        for name, dtype in self._dtypes.items():
            value = values[name]
            results[name] = value if value.dtype.kind == "U" else value.astype(dtype, copy=False)
        return results

    def close(self) -> None:
        """Nothing is held open."""
