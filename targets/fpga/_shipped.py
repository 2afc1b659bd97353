"""The files of an artifact, run on this host: the network of integers, of which the hardware is proven to be equal."""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np

from agent.runtimes._fixed.network import read_network

if TYPE_CHECKING:
    from pathlib import Path

    from numpy.typing import NDArray

    from targets._target import Arrays, Artifact, Fidelity

KIND = "fpga"
"""The runtime's name: a module of `agent.runtimes`, which speaks to the board."""


class ShippedNetwork:
    """``network.json`` and ``weights.npz``, evaluated exactly."""

    fidelity: Fidelity = "emulated"

    def __init__(self, artifact: Artifact, folder: Path) -> None:
        self._network = read_network((folder / artifact.runtime.entry).parent)

    def run(self, inputs: Arrays) -> dict[str, NDArray[np.generic]]:
        """Outputs by name, for one call; any number of samples."""
        network = self._network
        return {network.returns.name: network.predict(np.asarray(inputs[network.accepts.name]))}

    def close(self) -> None:
        """Nothing is held."""
