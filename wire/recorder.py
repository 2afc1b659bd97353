"""Counts what a model sees and does into the bins of its baseline, window by window.

A call only keeps a copy of the features; they are sorted into bins when many rows have come together, since an
array operation costs most in its start.
"""

from __future__ import annotations

import threading
from typing import TYPE_CHECKING

import numpy as np

from wire.messages import FeatureCounts, Window
from wire.sketches import LatencySketch, latency_bin

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping

    from numpy.typing import NDArray

    from manifests.manifest import BaselineSection, FeatureBaseline, TaskSection
    from wire.messages import Running

VALUES_KEPT = 1 << 16
"""Values of features that wait to be sorted into bins."""


class _Features:
    """The features of one input, and their counts."""

    def __init__(self, features: list[FeatureBaseline]) -> None:
        self._features = features
        self._columns = np.array([feature.index for feature in features], dtype=np.intp)
        self._last = int(self._columns.max())
        most = max(len(feature.edges) for feature in features)
        self._edges = np.full((most, len(features), 1), np.inf)
        for column, feature in enumerate(features):
            self._edges[: len(feature.edges), column, 0] = feature.edges
        self._bins = 1 + most
        self._offsets = np.arange(len(features))[:, None] * self._bins
        self.clear()

    def clear(self) -> None:
        self._counts = np.zeros(len(self._features) * self._bins, dtype=np.int64)
        self._missing = np.zeros(len(self._features), dtype=np.int64)
        self._kept: list[NDArray[np.generic]] = []
        self._values = 0

    def add(self, array: NDArray[np.generic], rows: int) -> None:
        if array.dtype.kind not in "fiub" or array.size == 0:
            return
        flat = array.reshape(rows, -1)
        if self._last >= flat.shape[1]:
            return
        kept = flat.take(self._columns, axis=1)
        self._kept.append(kept)
        self._values += kept.size
        if self._values >= VALUES_KEPT:
            self._sort()

    def counts(self) -> tuple[FeatureCounts, ...]:
        self._sort()
        table = self._counts.reshape(len(self._features), self._bins)
        return tuple(
            FeatureCounts(
                name=feature.name,
                counts=tuple(table[row, : len(feature.edges) + 1].tolist()),
                missing=int(self._missing[row]),
            )
            for row, feature in enumerate(self._features)
        )

    def _sort(self) -> None:
        if not self._kept:
            return
        values = np.ascontiguousarray(np.concatenate(self._kept).T, dtype=np.float64)
        self._kept, self._values = [], 0
        below = np.zeros(values.shape, dtype=np.int16)
        for edges in self._edges:
            # Bin i is (edges[i-1], edges[i]]: its number is that of the edges that are less than the value. One pass an
            # edge is several times faster than np.searchsorted, whose branches the values of a sensor mislead.
            below += values > edges
        bins = below + self._offsets
        missing = np.isnan(values)
        if missing.any():
            self._missing += missing.sum(axis=1)
            bins = bins[~missing]
        self._counts += np.bincount(bins.ravel(), minlength=self._counts.size)


class Recorder:
    """The windows of one bundle in one application. Safe for concurrent calls. `clock` gives Unix time.

    Attributes:
        calls: of all windows.
        errors: calls that raised, of all windows.
    """

    def __init__(
        self,
        model: str,
        running: Running,
        baseline: BaselineSection | None,
        task: TaskSection,
        *,
        boot: str,
        clock: Callable[[], float],
    ) -> None:
        self._model = model
        self._running = running
        self._boot = boot
        self._clock = clock
        self._lock = threading.Lock()
        by_input: dict[str, list[FeatureBaseline]] = {}
        for feature in baseline.features if baseline else ():
            by_input.setdefault(feature.input, []).append(feature)
        self._features = {name: _Features(features) for name, features in by_input.items()}
        self._order = [feature.name for feature in baseline.features] if baseline else []
        predictions = baseline.predictions if baseline else None
        self._output = predictions.output if predictions else task.output if task.kind == "classification" else ""
        self._labels = len(predictions.counts) if predictions else len(task.labels)
        self.calls = 0
        self.errors = 0
        self._clear()

    def _clear(self) -> None:
        self._start = self._clock()
        self._rows = 0
        self._before = self.calls
        self._errors: dict[str, int] = {}
        self._latency: dict[int, int] = {}
        self._predictions = np.zeros(self._labels, dtype=np.int64)
        for features in self._features.values():
            features.clear()

    def add(
        self,
        inputs: Mapping[str, NDArray[np.generic]],
        outputs: Mapping[str, NDArray[np.generic]],
        *,
        rows: int,
        seconds: float,
    ) -> None:
        """Count a call that returned."""
        place = latency_bin(seconds)
        with self._lock:
            self.calls += 1
            self._rows += rows
            self._latency[place] = self._latency.get(place, 0) + 1
            for name, features in self._features.items():
                features.add(inputs[name], rows)
            scores = outputs.get(self._output)
            if scores is not None and scores.ndim > 1 and scores.shape[-1] == self._labels:
                winners = scores.reshape(-1, self._labels).argmax(axis=1)
                self._predictions += np.bincount(winners, minlength=self._labels)

    def add_error(self, error: BaseException, *, seconds: float) -> None:
        """Count a call that raised."""
        place, name = latency_bin(seconds), type(error).__name__
        with self._lock:
            self.calls += 1
            self.errors += 1
            self._latency[place] = self._latency.get(place, 0) + 1
            self._errors[name] = self._errors.get(name, 0) + 1

    def close_window(self, sequence: int) -> Window | None:
        """What was counted since the last window; None: nothing was. A new window begins."""
        with self._lock:
            if self.calls == self._before:
                self._start = self._clock()
                return None
            window = self._window(sequence)
            self._clear()
        return window

    def peek(self, sequence: int) -> Window:
        """What was counted since the last window; the window goes on."""
        with self._lock:
            return self._window(sequence)

    def _window(self, sequence: int) -> Window:
        counted = {entry.name: entry for features in self._features.values() for entry in features.counts()}
        return Window(
            model=self._model,
            version=self._running.version,
            bundle=self._running.bundle,
            boot=self._boot,
            sequence=sequence,
            start=self._start,
            end=self._clock(),
            rows=self._rows,
            calls=self.calls - self._before,
            errors=dict(self._errors),
            latency=LatencySketch(bins=dict(self._latency)),
            features=tuple(counted[name] for name in self._order),
            predictions=tuple(self._predictions.tolist()),
        )
