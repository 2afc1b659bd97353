"""What the tensors of a TFLite file hold while it runs on samples: values, ranges, means."""

from __future__ import annotations

import warnings
from typing import TYPE_CHECKING, Any, NamedTuple

import numpy as np

from targets.edge_arm._file import SIGNATURE

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator

    from numpy.typing import NDArray

    Floats = NDArray[np.floating[Any]]

Sample = dict[str, "NDArray[np.generic]"]
"""One call's inputs, as the source model takes them."""

_BINS = 2048
LARGEST = 3e38
"""What is further from zero stands for infinity, as in a mask, and says nothing of the range."""


class _Place(NamedTuple):
    """Where a tensor lies, and how its numbers are stored."""

    tensor: int
    dtype: np.dtype[Any]
    scale: float
    zero_point: int


class Observed:
    """A file in LiteRT whose tensors can be looked at; floats go in and come out, however they are stored."""

    def __init__(self, data: bytes, *, intermediate: bool = False) -> None:
        """Raises ValueError or RuntimeError where LiteRT can't load the file or allocate its tensors.

        With `intermediate` every tensor keeps its value, else inputs and outputs alone do.
        """
        from ai_edge_litert.interpreter import Interpreter

        with warnings.catch_warnings(action="ignore"):  # that keeping tensors takes memory
            self._interpreter = Interpreter(
                model_content=data, num_threads=1, experimental_preserve_all_tensors=intermediate
            )
        self._interpreter.allocate_tensors()
        listed = self._interpreter._get_full_signature_list()  # noqa: SLF001 - the public list leaves out the tensors' indices
        signature = listed[SIGNATURE]
        details = {entry["index"]: entry for entry in self._interpreter.get_tensor_details()}
        self._inputs = {name: _place(details[index]) for name, index in signature["inputs"].items()}
        self._outputs = {name: _place(details[index]) for name, index in signature["outputs"].items()}
        # A delegate adds tensors at the end; the first of a name is the file's own.
        self._all: dict[str, _Place] = {}
        for entry in details.values():
            if entry["name"] and np.all(entry["shape"]):
                self._all.setdefault(entry["name"], _place(entry))

    def run(self, sample: Sample) -> dict[str, NDArray[Any]]:
        """The outputs of one call, as real numbers.

        Raises RuntimeError where an operation fails.
        """
        for name, place in self._inputs.items():
            self._interpreter.set_tensor(place.tensor, _stored(sample[name], place))
        self._interpreter.invoke()
        return {name: self._real(place) for name, place in self._outputs.items()}

    def values(self, names: Iterable[str]) -> Iterator[tuple[str, NDArray[Any]]]:
        """What the tensors of these names hold after a call, as real numbers.

        Left out are those that the file has not, and those that LiteRT keeps no value of, such as a loop's results.
        """
        for name in names:
            if name in self._all:
                try:
                    array = self._real(self._all[name])
                except ValueError:
                    continue
                yield name, array

    def _real(self, place: _Place) -> NDArray[Any]:
        array: NDArray[Any] = self._interpreter.get_tensor(place.tensor)
        if place.scale:
            array = np.multiply(array.astype(np.float32) - np.float32(place.zero_point), np.float32(place.scale))
        return array


def _place(entry: dict[str, Any]) -> _Place:
    scales, zeros = entry["quantization_parameters"]["scales"], entry["quantization_parameters"]["zero_points"]
    scale, zero = (float(scales[0]), int(zeros[0])) if len(scales) == 1 else (0.0, 0)
    return _Place(entry["index"], np.dtype(entry["dtype"]), scale, zero)


def _stored(array: NDArray[Any], place: _Place) -> NDArray[Any]:
    if place.scale and array.dtype.kind == "f":
        limits = np.iinfo(place.dtype)
        steps = np.rint(array.astype(np.float64) / place.scale) + place.zero_point
        array = np.clip(steps, limits.min, limits.max).astype(place.dtype)
    return array


class Activations(NamedTuple):
    """What one tensor reached over all samples."""

    low: float
    high: float
    mean: Floats
    """By the last axis."""
    largest: Floats
    """Largest absolute value, by the last axis."""
    rank: int
    infinite: bool = False
    """Whether it held what stands for infinity, which low and high leave out."""


def activations(file: Observed, names: Iterable[str], samples: list[Sample]) -> dict[str, Activations]:
    """What the float tensors of these names reached."""
    names = list(names)
    low: dict[str, float] = {}
    high: dict[str, float] = {}
    total: dict[str, Floats] = {}
    largest: dict[str, Floats] = {}
    ranks: dict[str, int] = {}
    infinite: set[str] = set()
    for sample in samples:
        file.run(sample)
        for name, array in file.values(names):
            if array.dtype != np.float32:
                continue
            is_usable = np.abs(array) < LARGEST
            if not is_usable.all():
                infinite.add(name)
            usable = np.where(is_usable, array, np.float32(0))
            rows = usable.reshape(-1, array.shape[-1] if array.ndim else 1)
            least, most = rows.min(axis=0), rows.max(axis=0)
            extent = np.maximum(np.abs(least), np.abs(most))
            low[name] = min(low.get(name, np.inf), float(least.min()))
            high[name] = max(high.get(name, -np.inf), float(most.max()))
            total[name] = total.get(name, np.zeros(1)) + rows.mean(axis=0, dtype=np.float64)
            largest[name] = np.maximum(largest.get(name, extent), extent)
            ranks[name] = array.ndim
    return {
        name: Activations(
            low[name], high[name], total[name] / len(samples), largest[name], ranks[name], name in infinite
        )
        for name in total
    }


class Histogram(NamedTuple):
    """How the values of one tensor lie between its extremes: counts of bins of equal width."""

    low: float
    high: float
    counts: NDArray[np.int64]


def histograms(file: Observed, reached: dict[str, Activations], samples: list[Sample]) -> dict[str, Histogram]:
    """How the values of the tensors lie between what they reached."""
    counts = {name: np.zeros(_BINS, np.int64) for name in reached}
    for sample in samples:
        file.run(sample)
        for name, array in file.values(reached):
            limits = (reached[name].low, reached[name].high)
            if limits[0] < limits[1]:
                counts[name] += np.histogram(array, _BINS, limits)[0]
    return {name: Histogram(reached[name].low, reached[name].high, counts[name]) for name in reached}


def percentile_range(histogram: Histogram, share: float) -> tuple[float, float]:
    """The narrowest ends between which all but `share` of the values lie, half of the rest at each end."""
    low, high, counts = histogram
    total = counts.sum()
    if not total:
        return low, high
    reached = np.cumsum(counts) / total
    edges = np.linspace(low, high, _BINS + 1)
    first = int(np.searchsorted(reached, share / 2))
    last = int(np.searchsorted(reached, 1 - share / 2))
    return float(edges[first]), float(edges[min(last + 1, _BINS)])


def least_error_range(histogram: Histogram, steps: int) -> tuple[float, float]:
    """The ends whose quantization to `steps` steps has the least mean square error over the histogram.

    Rounding costs a twelfth of a step squared; what lies beyond an end costs its distance squared. The ends are drawn
    in one after the other by a tenth of the range, then by a fortieth.
    """
    low, high, counts = histogram
    if not counts.sum():
        return low, high
    edges = np.linspace(low, high, _BINS + 1)
    middles = (edges[1:] + edges[:-1]) / 2

    def error(ends: tuple[float, float]) -> float:
        step = (ends[1] - ends[0]) / (steps - 1)
        cut = np.maximum(np.maximum(ends[0] - middles, middles - ends[1]), 0)
        return float((counts * np.where(cut > 0, cut**2, step**2 / 12)).sum())

    best = (low, high)
    for share in (0.1, 0.025):
        move = (high - low) * share
        better = True
        while better:
            tries = [(best[0] + move, best[1]), (best[0], best[1] - move), (best[0] + move, best[1] - move)]
            tries = [ends for ends in tries if ends[1] - ends[0] > move and ends[0] <= 0 <= ends[1]]
            found = min(tries, key=error, default=best)
            better = error(found) < error(best)
            best = found if better else best
    return best
