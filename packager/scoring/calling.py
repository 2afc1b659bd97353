"""Running the model on a chunk, in whatever process; a row that makes it fail costs that row alone."""

from __future__ import annotations

import tempfile
from pathlib import Path
from typing import TYPE_CHECKING, NamedTuple, TypeAlias

import numpy as np

from packager.measures.running import call_size, run_all

if TYPE_CHECKING:
    from numpy.typing import NDArray

    from manifests.manifest import Manifest
    from packager.opening import Packed
    from targets._target import Runner

    Array: TypeAlias = NDArray[np.generic]

_SMALLEST = 1


class Scored(NamedTuple):
    """The outputs of a chunk, a row for each of its rows; those that failed hold zeros."""

    outputs: dict[str, Array]
    failed: dict[int, str]
    """Why, by the row's number in the chunk."""


class Scorer:
    """One opened bundle."""

    def __init__(self, manifest: Manifest, runner: Runner) -> None:
        self._runner = runner
        self._size = call_size(manifest.signature)
        self._outputs = manifest.signature.outputs

    def score(self, inputs: dict[str, Array]) -> Scored:
        """The outputs on all rows; a call that fails is halved until the row that makes it fail is found."""
        rows = len(next(iter(inputs.values())))
        try:
            return Scored(run_all(self._runner, inputs, self._size), {})
        except Exception as error:  # noqa: BLE001 - whatever a runtime raises is said of the rows that it was given
            if rows <= _SMALLEST:
                return Scored({}, {0: str(error).strip().splitlines()[0]})
        half = rows // 2
        first, second = (
            self.score({name: array[part] for name, array in inputs.items()})
            for part in (slice(0, half), slice(half, rows))
        )
        failed = first.failed | {row + half: reason for row, reason in second.failed.items()}
        return Scored(_together(first, half, second, rows - half), failed)

    def close(self) -> None:
        """Give back what the runtime holds."""
        self._runner.close()


def _together(first: Scored, first_rows: int, second: Scored, second_rows: int) -> dict[str, Array]:
    """Both halves' outputs; one that has none, since all its rows failed, gets zeros of the other's kind."""
    known = first.outputs or second.outputs
    return {
        name: np.concatenate(
            [
                part.outputs.get(name, np.zeros((rows, *array.shape[1:]), array.dtype))
                for part, rows in ((first, first_rows), (second, second_rows))
            ]
        )
        for name, array in known.items()
    }


_OPENED: dict[str, tuple[Scorer, tempfile.TemporaryDirectory[str]]] = {}
"""What this process has opened, by the bundle's digest: a worker opens a bundle once."""


def score_packed(packed: Packed, inputs: dict[str, Array]) -> Scored:
    """As `Scorer.score`, in a worker: the bundle is opened at the first call."""
    if packed.digest not in _OPENED:
        from manifests.manifest import decode_manifest
        from packager.opening import artifact_of
        from packager.registry import find_target

        manifest = decode_manifest(packed.manifest)
        files = tempfile.TemporaryDirectory(prefix="pack-score-")
        for path, data in packed.files.items():
            place = Path(files.name, path)
            place.parent.mkdir(parents=True, exist_ok=True)
            place.write_bytes(data)
        _, target = find_target(manifest.bundle.target)
        _OPENED[packed.digest] = Scorer(manifest, target.runner(artifact_of(manifest), Path(files.name))), files
    return _OPENED[packed.digest][0].score(inputs)
