"""`quantize = "auto"`: the smallest or the fastest file that stays within a limit of error on calibration samples.

Every candidate is made and run; the reference is the network in float, on calibration samples of which a quarter gave
no ranges. The same network, samples and options give the same file.
"""

from __future__ import annotations

from functools import cached_property
from math import prod
from typing import TYPE_CHECKING, Any, Literal, NamedTuple

import numpy as np

from targets._target import TargetError
from targets.edge_arm._equalization import bias_shifts, equalize
from targets.edge_arm._latency import estimate
from targets.edge_arm._observation import Observed, histograms, least_error_range, percentile_range
from targets.edge_arm._quantization import Network, Plan, quantized
from targets.edge_arm._recipe import MOVES, PRODUCTS
from targets.edge_arm._sensitivity import layers

if TYPE_CHECKING:
    from numpy.typing import NDArray

    from targets.edge_arm._graph import Graph, Operation
    from targets.edge_arm._observation import Sample
    from targets.edge_arm._quantization import Quantized, Ranges
    from targets.edge_arm._recipe import Scheme

_HELD_BACK = 4
"""One sample in so many gives no ranges, if there are at least four times as many."""
_MEASURED = (12, 64)
"""Fewest and most samples that a candidate is measured on."""
_WORK = 4e9
"""Multiplications that the measure of one candidate may take, if that allows the fewest samples."""
_MARGIN = (0.5, 0.75)
"""The share of the limit that the search uses up, with fewer than 32 samples and with more: others may fare worse."""
_FEW = 32
_RETURNS = 8
"""Most layers that are tried in integers again after enough were left in float."""
_PARTS = 4
"""So many parts of the samples must each stay within the limit, if there are at least four times as many."""
_EXACT = 1e-6
"""What is no change of the float network: a factor that is a power of two changes no digit."""
_STEPS = 256


class Limits(NamedTuple):
    """What a file may cost."""

    error: float
    """Root mean square of the differences over that of an output, worst output."""
    drop: float
    """Share of the samples whose class may change, where an output holds the probabilities of classes."""
    optimize: Literal["size", "latency"]
    integers: bool = False
    """Whether a layer is in integers or in float, and nothing between: TensorFlow Lite Micro has no other kernels."""


class Score(NamedTuple):
    """What a file costs on the samples."""

    error: float
    changed: int
    """Rows whose class changed."""
    rows: int
    samples: int

    def within(self, limits: Limits) -> bool:
        """Whether it stays within the limits, the error with a margin; one row may always change."""
        return self.error <= _MARGIN[self.samples >= _FEW] * limits.error and self.changed <= max(
            1.0, limits.drop * self.rows
        )


class Candidate(NamedTuple):
    """One file that was made and measured."""

    label: str
    made: Quantized
    score: Score
    accepted: bool
    network: Network
    """What it was made of: channels are evened out on the way."""

    @property
    def size(self) -> int:
        """Bytes."""
        return len(self.made.data)


class Found(NamedTuple):
    """The file that was chosen, and all that were tried."""

    chosen: Candidate
    tried: list[Candidate]
    why: str


def search(graph: Graph, samples: list[Sample], limits: Limits) -> Found:
    """The smallest or fastest file of a graph within the limits; the one in float if there is no other.

    Raises:
        TargetError: no file of the graph runs, not even the one in float.
    """
    return _Search(graph, samples, limits).run()


class _Search:
    def __init__(self, graph: Graph, samples: list[Sample], limits: Limits) -> None:
        rest = [sample for place, sample in enumerate(samples) if place % _HELD_BACK]
        if len(samples) < _HELD_BACK**2:
            rest = samples
        self._limits = limits
        self._network = Network(graph, rest)
        work = sum(_multiplications(operation) for operation in self._network.layers.values())
        self._count = int(min(max(_WORK / max(work, 1), _MEASURED[0]), _MEASURED[1]))
        self._measured = samples[: self._count]
        self._tried: list[Candidate] = []
        self._shifts: dict[str, dict[str, NDArray[np.floating[Any]]]] = {}

    def run(self) -> Found:
        self._try("float", Plan("none"))
        mixed = not self._limits.integers
        if mixed:
            self._try("float16 weights", Plan("float16"))
        if any(operation.code in PRODUCTS for operation in self._network.graph.operations):
            self._coarse()
            self._equalize()
            if mixed:
                self._weights("int8 weights", "dynamic-int8")
            self._static()
            if mixed and self._limits.optimize == "size":
                self._weights("int8 weights computed in float", "int8-weights")
                self._weights("int4 weights computed in float", "int4-weights")
        chosen = self._choose()
        return Found(chosen, self._tried, self._why(chosen))

    def _choose(self) -> Candidate:
        accepted = [candidate for candidate in self._tried if candidate.accepted] or self._tried[:1]
        if self._limits.optimize == "size":
            return min(accepted, key=lambda candidate: candidate.size)
        return min(accepted, key=lambda candidate: (estimate(candidate.made.data), candidate.size))

    def _why(self, chosen: Candidate) -> str:
        word = "smallest" if self._limits.optimize == "size" else "fastest"
        accepted = sum(candidate.accepted for candidate in self._tried)
        plain = next((each for each in self._tried if each.label.startswith("int8, ranges")), None)
        beside = f"; plain int8 has {plain.score.error:.1%}" if plain and plain is not chosen else ""
        return (
            f"auto: {chosen.label}, the {word} of {accepted} files within {self._limits.error:.1%} "
            f"({len(self._tried)} tried): error {chosen.score.error:.1%} on {len(self._measured)} samples{beside}"
        )

    @cached_property
    def _expected(self) -> list[dict[str, NDArray[np.generic]]]:
        file = Observed(self._network.data)
        return [file.run(sample) for sample in self._measured]

    def _try(self, label: str, plan: Plan) -> Candidate | None:
        """The candidate of a plan, kept in the list; None if no file of it runs."""
        try:
            made = quantized(self._network, plan)
        except TargetError:
            return None
        return self._measure(label, made)

    @property
    def _smallest(self) -> float:
        """Bytes of the smallest file so far that stays within the limits."""
        return min((candidate.size for candidate in self._tried if candidate.accepted), default=np.inf)

    def _measure(self, label: str, made: Quantized) -> Candidate | None:
        """The candidate of a file, kept in the list; None if it does not run on some sample."""
        try:
            score = self._score(made.data)
        except TargetError:
            return None
        candidate = Candidate(label, made, score, score.within(self._limits), self._network)
        self._tried.append(candidate)
        return candidate

    def _score(self, data: bytes) -> Score:
        try:
            file = Observed(data)
            got = [file.run(sample) for sample in self._measured]
        except (RuntimeError, ValueError) as error:
            raise TargetError("edge-arm.load", f"LiteRT does not run what was made: {error}") from error
        return measured(self._expected, got)

    def _coarse(self) -> None:
        """Integers with one scale for each dense layer: before channels are evened out, which takes many scales."""
        if any(operation.code == "FULLY_CONNECTED" for operation in self._network.graph.operations):
            found = self._try("int8, one scale for each dense layer", Plan("int8", coarse=True))
            if found:
                self._corrected(found)

    def _equalize(self) -> None:
        """Even the channels out in the graph itself; its file in float must compute what it did."""
        expected = self._expected
        network = self._network
        if not equalize(network.graph, network.reached):
            return
        changed = Network(network.graph, network.samples)
        file = Observed(changed.data)
        if measured(expected, [file.run(sample) for sample in self._measured]).error > _EXACT:
            raise TargetError("edge-arm.quantize", "evening out the channels changed what the network computes")
        self._network = changed

    def _static(self) -> None:
        """Integers everywhere: the best ranges, the biases corrected, and then as many layers lighter as it takes."""
        network = self._network
        try:
            found = histograms(
                Observed(network.data, intermediate=True), network.reached, network.samples[: self._count]
            )
        except (RuntimeError, ValueError):
            return
        ways: list[tuple[str, Ranges | None]] = [
            ("extremes", None),
            ("least error", {name: least_error_range(each, _STEPS) for name, each in found.items()}),
            ("99.99%", {name: percentile_range(each, 1e-4) for name, each in found.items()}),
        ]
        made = [self._try(f"int8, ranges by {name}", Plan("int8", ranges)) for name, ranges in ways]
        runs = [candidate for candidate in made if candidate]
        if not runs:
            return
        best = min(runs, key=lambda candidate: candidate.score.error)
        best = self._corrected(best)
        if not best.accepted and self._limits.integers:
            self._spare(best, "kept", "in float")
        elif not best.accepted:
            self._spare(best, "lighter", "with int8 weights alone")
            self._spare(best, "halved", "with float16 weights alone")

    def _corrected(self, candidate: Candidate) -> Candidate:
        """The candidate with its biases corrected, if that is nearer to float."""
        shifts = bias_shifts(self._network, candidate.made.data)
        self._shifts[candidate.made.plan.scheme] = shifts
        found = self._try(f"{candidate.label}, biases corrected", candidate.made.plan._replace(shifts=shifts))
        return found if found and found.score.error < candidate.score.error else candidate

    def _weights(self, label: str, scheme: Scheme) -> None:
        """Weights in integers, and as many layers spared as it takes."""
        found = self._try(label, Plan(scheme))
        if found and not found.accepted:
            found = self._corrected(found)
        if found and not found.accepted:
            if scheme == "int4-weights":
                self._spare(found, "lighter", "in int8")
            else:
                self._spare(found, "halved", "in float16")

    def _spare(self, candidate: Candidate, way: Literal["halved", "kept", "lighter"], how: str) -> None:
        """The candidate with its worst layers spared in a way: the fewest that bring it within the limits.

        Layers go by the error that they add. The smallest number is found by halving, then the largest of the spared
        layers are tried in integers again. Files larger than one that will do are of no use, and not measured.
        """
        plan = candidate.made.plan
        found = layers(self._network, candidate.made.data, self._measured)
        everything = plan.scheme == "int8"
        order = [
            layer.name
            for layer in sorted(found, key=lambda layer: (-layer.added, layer.name))
            if everything or layer.operator in PRODUCTS
        ]

        def attempt(names: list[str]) -> Literal["good", "bad", "large"]:
            before: frozenset[str] = getattr(plan.spared, way)
            spared = plan.spared._replace(**{way: before.union(_with_moves(self._network, names))})
            shifts = plan.shifts
            if shifts and plan.scheme == "int4-weights":
                eight = self._shifts.get("int8-weights", {})
                shifts = {name: shift for name, shift in shifts.items() if name not in spared.lighter}
                shifts |= {name: eight[name] for name in spared.lighter if name in eight}
            try:
                made = quantized(self._network, plan._replace(spared=spared, shifts=shifts))
            except TargetError:
                return "bad"
            if self._limits.optimize == "size" and len(made.data) >= self._smallest:
                return "large"
            tried = self._measure(f"{candidate.label}, {len(names)} of {len(found)} layers {how}", made)
            return "good" if tried and tried.accepted else "bad"

        low, high = 1, len(order) + 1
        enough: list[str] = []
        while low < high:
            middle = (low + high) // 2
            verdict = attempt(order[:middle])
            if verdict == "bad":
                low = middle + 1
            else:
                high = middle
                enough = order[:middle] if verdict == "good" else []
        for name in sorted(enough, key=lambda name: (-_weights(self._network.layers[name]), name))[:_RETURNS]:
            fewer = [other for other in enough if other != name]
            if fewer and attempt(fewer) == "good":
                enough = fewer


def _weights(operation: Operation) -> int:
    """Numbers in the operation's weights."""
    if operation.code not in PRODUCTS or len(operation.inputs) < 2:  # noqa: PLR2004 - a product's second operand
        return 0
    tensor = operation.inputs[1]
    return prod(tensor.shape) if tensor is not None else 0


def _multiplications(operation: Operation) -> float:
    """Of a product; 0 for anything else."""
    shape = operation.outputs[0].shape
    return prod(shape) * _weights(operation) / max(shape[-1] if shape else 1, 1)


def _with_moves(network: Network, names: list[str]) -> list[str]:
    """The names, and those of the moves that only pass a spared layer's result on: they would round it after all."""
    spared = set(names)
    for operation in network.graph.operations:
        given = operation.inputs[0] if operation.inputs else None
        if operation.code in MOVES and given is not None and given.name in spared:
            spared.update(tensor.name for tensor in operation.outputs)
    return sorted(spared)


def measured(expected: list[dict[str, NDArray[np.generic]]], got: list[dict[str, NDArray[np.generic]]]) -> Score:
    """The worst output's error over the worst quarter of the calls, and the rows whose class changed."""
    error, changed, rows = 0.0, 0, 0
    for name in expected[0]:
        theirs = np.stack([call[name] for call in expected]).astype(np.float64)
        ours = np.stack([call[name] for call in got]).astype(np.float64)
        # The worst part: what holds for all samples but not for every fourth of them holds by luck.
        parts = _PARTS if len(theirs) >= _PARTS**2 else 1
        for part in (slice(first, None, parts) for first in range(parts)):
            size = float(np.sqrt((theirs[part] ** 2).mean()))
            apart = float(np.sqrt(((theirs[part] - ours[part]) ** 2).mean()))
            error = max(error, apart / size if size else apart)
        if _is_distribution(theirs):
            other = theirs.argmax(axis=-1) != ours.argmax(axis=-1)
            changed, rows = changed + int(other.sum()), rows + other.size
    return Score(error if np.isfinite(error) else np.inf, changed, rows, len(expected))


def _is_distribution(values: NDArray[np.float64]) -> bool:
    """Whether the last axis holds the probabilities of classes."""
    if values.ndim < 2 or values.shape[-1] < 2 or values.min() < 0:  # noqa: PLR2004 - calls by classes; two classes
        return False
    return bool(np.allclose(values.sum(axis=-1), 1, atol=1e-3))
