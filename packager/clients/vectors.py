"""What a golden test compares: the bundle's golden samples, call by call, and what stands before and after the model.

All arrays lie one after another in one file of bytes, little-endian, texts with their length before them. Where each
lies is written into the test itself, so that no language has to parse anything.
"""

from __future__ import annotations

import io
from dataclasses import dataclass
from typing import TYPE_CHECKING, TypeAlias

from packager.clients.reference import interpreted, prepared
from packager.measures.running import call_size
from packager.serving.tensors import to_raw

if TYPE_CHECKING:
    from collections.abc import Iterable

    import numpy as np
    from numpy.typing import NDArray

    from manifests.manifest import Manifest, SignatureSection
    from packager.clients.description import Client, Input, Output

    Array: TypeAlias = NDArray[np.generic]
    Arrays: TypeAlias = dict[str, Array]

_ALIGNMENT = 8
_SPAN = 3.0
"""Raw real numbers are drawn between minus and plus this."""


@dataclass(frozen=True)
class Stored:
    """Where one array lies in the file."""

    offset: int
    size: int
    """In bytes."""
    dtype: str
    shape: tuple[int, ...]


@dataclass(frozen=True)
class Pair:
    """One array that is given, and the one that is due."""

    given: Stored
    due: Stored


@dataclass(frozen=True)
class Interpretation:
    """One output of the model, and what the application gets of it."""

    given: Stored
    due: Stored
    positions: Stored
    indices: Stored
    scores: Stored


@dataclass(frozen=True)
class Result:
    """One output that a call of the model must give, within the bundle's tolerance."""

    due: Stored
    compared: Stored | None
    """One byte an element: 0 where two scores are too close for the label to be certain; None: all are compared."""


@dataclass(frozen=True)
class Call:
    """One call of the model; in the order of the inputs and the outputs."""

    inputs: tuple[Stored, ...]
    outputs: tuple[Result, ...]


@dataclass(frozen=True)
class Vectors:
    """All that the test of one client compares."""

    preparations: tuple[Pair, ...]
    """One an input."""
    reversals: tuple[Stored | None, ...]
    """For each input of colours what is given, its channels the other way round."""
    interpretations: tuple[tuple[Interpretation, ...], ...]
    """For each call, one an output."""
    calls: tuple[Call, ...]


def read_golden(data: bytes) -> tuple[Arrays, Arrays]:
    """The inputs and the expected outputs of the bundle's golden file, by name."""
    import numpy as np

    inputs: Arrays = {}
    expected: Arrays = {}
    with np.load(io.BytesIO(data), allow_pickle=False) as archive:
        for key in archive.files:
            kind, _, name = key.partition(".")
            (inputs if kind == "input" else expected)[name] = archive[key]
    return inputs, expected


def make_vectors(client: Client, manifest: Manifest, golden: bytes) -> tuple[Vectors, bytes]:
    """The vectors, and the file that they lie in."""
    import numpy as np

    inputs, expected = read_golden(golden)
    calls = list(_calls(inputs, expected, manifest.signature))
    writer = _Writer()
    first_inputs, _ = calls[0]
    preparations = []
    reversals: list[Stored | None] = []
    for index, entry in enumerate(client.inputs):
        raw = _raw(entry, first_inputs[entry.name], index)
        preparations.append(Pair(writer.put(raw), writer.put(prepared(entry, raw))))
        reversals.append(writer.put(np.flip(raw, entry.axis)) if entry.colours else None)
    interpretations = [
        tuple(_interpretation(writer, entry, outputs[entry.name]) for entry in client.outputs) for _, outputs in calls
    ]
    stored = [
        Call(
            inputs=tuple(writer.put(given[entry.name]) for entry in client.inputs),
            outputs=tuple(
                Result(interpretation.given, _compared(writer, outputs, entry.name, manifest))
                for entry, interpretation in zip(client.outputs, shown, strict=True)
            ),
        )
        for (given, outputs), shown in zip(calls, interpretations, strict=True)
    ]
    vectors = Vectors(tuple(preparations), tuple(reversals), tuple(interpretations), tuple(stored))
    return vectors, writer.data()


def _calls(inputs: Arrays, expected: Arrays, signature: SignatureSection) -> Iterable[tuple[Arrays, Arrays]]:
    """The calls that the samples make, as the device's self-test makes them."""
    import numpy as np

    size = call_size(signature)
    if not isinstance(size, int):
        yield inputs, expected
        return
    rows = len(next(iter(inputs.values())))

    def part(arrays: Arrays, start: int) -> Arrays:
        return {name: array[np.minimum(np.arange(start, start + size), rows - 1)] for name, array in arrays.items()}

    for start in range(0, rows, size):
        yield part(inputs, start), part(expected, start)


def _raw(entry: Input, golden: Array, seed: int) -> Array:
    """What an application might give, in the shape of a golden sample; that sample itself where nothing is computed."""
    import numpy as np

    shape = golden.shape
    if entry.permutation:
        shape = tuple(golden.shape[entry.permutation.index(axis)] for axis in range(golden.ndim))
    if not entry.computes:
        return golden.transpose(np.argsort(entry.permutation)) if entry.permutation else golden
    random = np.random.default_rng(seed)
    if entry.raw == "bool":
        return random.integers(0, 2, shape).astype(np.bool_)
    if entry.raw.startswith("float"):
        return random.uniform(-_SPAN, _SPAN, shape).astype(entry.raw)
    limits = np.iinfo(entry.raw)
    least, most = max(limits.min, -(2**15)), min(limits.max, 2**15)
    return random.integers(least, most, shape, endpoint=True).astype(entry.raw)


def _interpretation(writer: _Writer, entry: Output, stored: Array) -> Interpretation:
    import numpy as np

    tensor, found = interpreted(entry, stored)
    return Interpretation(
        given=writer.put(stored),
        due=writer.put(tensor),
        positions=writer.put(np.asarray([each.position for each in found], dtype=np.int32)),
        indices=writer.put(np.asarray([each.index for each in found], dtype=np.int32)),
        scores=writer.put(np.asarray([each.score for each in found], dtype=np.float64)),
    )


def _compared(writer: _Writer, outputs: Arrays, name: str, manifest: Manifest) -> Stored | None:
    """Where an output of labels is certain: its highest score is further from the second than both may move."""
    import numpy as np

    task, golden = manifest.model.task, manifest.golden
    scores, labels = outputs.get(task.output), outputs[name]
    if task.kind != "classification" or scores is None or scores.ndim < 2 or scores.shape[-1] < 2:  # noqa: PLR2004 - rows and classes
        return None
    if labels.ndim != 1 or labels.dtype.kind not in "iuUS" or labels.shape != scores.shape[:-1]:
        return None
    ordered = np.sort(scores.astype(np.float64), axis=-1)
    highest, second = ordered[..., -1], ordered[..., -2]
    return writer.put((highest - second > 2 * (golden.atol + golden.rtol * np.abs(highest))).astype(np.uint8))


class _Writer:
    """Arrays one after another."""

    def __init__(self) -> None:
        self._stream = io.BytesIO()

    def put(self, array: Array) -> Stored:
        """Where it lies now."""
        offset = self._stream.tell()
        data = to_raw(array.astype(object) if array.dtype.kind == "U" else array)
        self._stream.write(data)
        self._stream.write(b"\0" * (-len(data) % _ALIGNMENT))
        dtype = "string" if array.dtype.kind in "OU" else array.dtype.name
        return Stored(offset, len(data), dtype, array.shape)

    def data(self) -> bytes:
        """The file."""
        return self._stream.getvalue()
