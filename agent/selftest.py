"""``python -m agent.selftest SLOT``: runs the bundle's golden samples on this device, and ends.

A process of its own: a runtime that crashes on the bundle crashes here, where it is a failed self-test and nothing
else. The verdict is one JSON line (`agent.jobs.Tested` or `Failed`).
"""

from __future__ import annotations

import sys
import zipfile
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np

from agent.batches import batch_size, run_batches
from agent.errors import AgentError, SelfTestError
from agent.jobs import Failed, Tested, end_with_input, write_line
from agent.runtimes._runtime import open_runtime
from agent.slots import open_slot
from manifests.digests import check_bytes, check_file
from manifests.errors import ManifestError
from manifests.manifest import decode_manifest
from wire.messages import Fault

if TYPE_CHECKING:
    from collections.abc import Mapping

    from numpy.typing import NDArray

    from agent.jobs import AnyLine
    from agent.runtimes._runtime import Runtime
    from manifests.manifest import GoldenSection, Manifest

    Arrays = Mapping[str, NDArray[np.generic]]

GOLDEN_LIMIT = 64 << 20
"""Largest golden file that is read, in bytes."""


def read_golden(path: Path) -> tuple[dict[str, NDArray[np.generic]], dict[str, NDArray[np.generic]]]:
    """The inputs and the expected outputs, by tensor name.

    Raises:
        SelfTestError: not an npz of stored (uncompressed) numeric arrays of bounded size.
    """
    inputs: dict[str, NDArray[np.generic]] = {}
    expected: dict[str, NDArray[np.generic]] = {}
    try:
        with zipfile.ZipFile(path) as archive:
            entries = archive.infolist()
            if any(entry.compress_type != zipfile.ZIP_STORED for entry in entries):
                raise SelfTestError("self-test.golden", f"'{path.name}' is compressed: expected stored entries")
            total = sum(entry.file_size for entry in entries)
            if total > GOLDEN_LIMIT:
                raise SelfTestError(
                    "self-test.golden",
                    f"'{path.name}' is too large: expected at most {GOLDEN_LIMIT} bytes, got {total}",
                )
            for entry in entries:
                kind, _, name = entry.filename.removesuffix(".npy").partition(".")
                with archive.open(entry) as stream:
                    array = np.lib.format.read_array(stream, allow_pickle=False)
                (inputs if kind == "input" else expected)[name] = array
    except (zipfile.BadZipFile, ValueError, EOFError, OSError) as error:
        raise SelfTestError("self-test.golden", f"'{path.name}' can't be read: {error}") from error
    return inputs, expected


def run_selftest(folder: Path) -> int:
    """How many samples of the bundle in a slot were computed as expected: all of them.

    Raises:
        SelfTestError: an output is not as expected.
        IncompatibleError: its runtime is not here.
        ManifestError: the slot is damaged.
    """
    opened = open_slot(folder)
    check_bytes(opened.manifest, opened.content.manifest, what="manifest.json")
    manifest = decode_manifest(opened.manifest)
    for entry in manifest.files:
        check_file(opened.files / entry.path, entry.digest)
    inputs, expected = read_golden(opened.files / manifest.golden_file().path)
    try:
        runtime = open_runtime(manifest, opened.files)
        outputs = run_batches(_Anew(runtime), inputs, batch_size(manifest.signature))
        runtime.close()
    except ValueError as error:
        raise SelfTestError("self-test.run", str(error)) from error
    compare(outputs, expected, manifest)
    return manifest.golden.samples


class _Anew:
    """A runtime whose every call starts a sequence: golden samples don't depend on each other."""

    def __init__(self, runtime: Runtime) -> None:
        self._runtime = runtime

    def run(self, inputs: Arrays) -> dict[str, NDArray[np.generic]]:
        self._runtime.reset()
        return self._runtime.run(inputs)


def compare(outputs: Arrays, expected: Arrays, manifest: Manifest) -> None:
    """See that outputs are what was computed when the bundle was built.

    Numbers must be within the golden tolerance. A classifier's label outputs must be equal, and its highest scores in
    the same place, but for samples whose two highest scores are closer than the tolerance.

    Raises:
        SelfTestError: they are not.
    """
    golden, task = manifest.golden, manifest.model.task
    scores = expected.get(task.output) if task.kind == "classification" else None
    clear = None if scores is None or scores.ndim < 2 else _is_clear(scores, golden)  # noqa: PLR2004 - rows, classes
    for name, want in expected.items():
        got = outputs.get(name)
        if got is None or got.shape != want.shape:
            shape = "none" if got is None else list(got.shape)
            raise SelfTestError(
                "self-test.shape", f"output '{name}' is not as expected: expected shape {list(want.shape)}, got {shape}"
            )
        labels = clear is not None and want.ndim == 1 and want.dtype.kind in "iuUS" and want.shape == clear.shape
        if labels and clear is not None:
            _same_labels(name, got[clear], want[clear])
        elif want.dtype.kind in "fiub":
            _close_enough(name, got, want, golden)
        elif not np.array_equal(got, want):
            raise SelfTestError("self-test.value", f"output '{name}' is not as expected")
        if clear is not None and name == task.output:
            _same_labels(name, got.argmax(axis=-1)[clear], want.argmax(axis=-1)[clear])


def _is_clear(scores: NDArray[np.generic], golden: GoldenSection) -> NDArray[np.bool_]:
    """The samples whose highest score is further from the second than both may move."""
    ordered = np.sort(scores.astype(np.float64), axis=-1)
    if ordered.shape[-1] == 1:
        return np.ones(ordered.shape[:-1], dtype=np.bool_)
    highest, second = ordered[..., -1], ordered[..., -2]
    clear: NDArray[np.bool_] = highest - second > 2 * (golden.atol + golden.rtol * np.abs(highest))
    return clear


def _same_labels(name: str, got: NDArray[np.generic], want: NDArray[np.generic]) -> None:
    wrong = int((got != want).sum())
    if wrong:
        raise SelfTestError("self-test.labels", f"output '{name}': {wrong} of {want.size} samples get another label")


def _close_enough(name: str, got: NDArray[np.generic], want: NDArray[np.generic], golden: GoldenSection) -> None:
    measured, due = got.astype(np.float64), want.astype(np.float64)
    if np.allclose(measured, due, rtol=golden.rtol, atol=golden.atol, equal_nan=True):
        return
    with np.errstate(invalid="ignore"):
        worst = np.max(np.abs(measured - due))
    raise SelfTestError(
        "self-test.tolerance",
        f"output '{name}' is not as expected: largest difference {worst:.3g}, "
        f"expected within rtol {golden.rtol:g} and atol {golden.atol:g}",
        hint="this device's runtime computes something else than the one the bundle was tested with",
    )


def main() -> None:
    """Test the slot that the command line names."""
    end_with_input()
    line: AnyLine
    try:
        line = Tested(samples=run_selftest(Path(sys.argv[1])))
    except (AgentError, ManifestError) as error:
        line = Failed(outcome="refused", fault=Fault(code=error.code, message=str(error), hint=error.hint))
    write_line(line)


if __name__ == "__main__":
    main()
