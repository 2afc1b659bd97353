"""The search for the narrowest formats: greedy, one bit at a time, by what each bit costs in hardware and in accuracy.

Half of the calibration samples steer it, a quarter takes back what only they bear, and the last quarter, which it never
looks at, is what its result is reported on. The same model, samples and options give the same network.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, NamedTuple

import msgspec
import numpy as np

from agent.runtimes._fixed.host import applied
from agent.runtimes._fixed.host import cast as cast_to
from targets._target import TargetError
from targets.fpga._quantization import Quantization, observe

if TYPE_CHECKING:
    from collections.abc import Callable

    from numpy.typing import NDArray

    from agent.runtimes._fixed.network import Network
    from targets.fpga._quantization import Widths
    from targets.fpga._reading import Reading

    Cost = Callable[[Network], float]
    Array = NDArray[np.generic]

_HELD_BACK = 4
"""One sample in so many is kept for the report, one to check the steps, if there are at least four times as many."""
_MOST_SAMPLES = 512
_WORK = 2e8
"""Multiplications that the measure of one candidate may take."""
_LEAST_SAMPLES = 32
_AIM = 0.5
"""The share of the limit of error that the search uses up. The gate compares other samples with the limit itself, and a
model is less sure of what it was not trained on: there, twice the error was seen in the shares of a Softmax."""
_PARTS = 4
"""So many parts of the samples must each stay within the limit."""
_LEAST_BITS = 2
_ROOM = 2
"""Bits more than the narrowest uniform width with which the search starts once more: one wide layer pays for others."""
_SUM_OF_SHARES = 1e-3


class Limits(NamedTuple):
    """What rounding may cost."""

    error: float
    """Root mean square of the differences over that of the output."""
    drop: float
    """Share of the samples whose class may change, where the output holds classes."""


class Score(msgspec.Struct, frozen=True, kw_only=True):
    """What rounding costs on samples, against the model in real numbers."""

    samples: int
    error: float
    """Root mean square of the differences over that of the output."""
    worst: float
    """The error of the worst quarter of the samples, taken in turn; of all, where they are few."""
    changed: int | None
    """Samples whose class changed; None: the output holds no classes."""

    def within(self, limits: Limits) -> bool:
        """Whether it stays within the limits; one sample may always change."""
        if max(self.error, self.worst) > limits.error:
            return False
        return self.changed is None or self.changed <= max(1.0, limits.drop * self.samples)


class Found(NamedTuple):
    """The network that was chosen, and what the search saw."""

    network: Network
    widths: Widths
    steering: Score
    """On the samples that steered the search."""
    test: Score
    """On samples that it never looked at; the same ones where there are too few to hold some back."""
    held_back: bool
    uniform: int
    """The narrowest width for all that stays within the limits."""
    tried: int


@dataclass(eq=False)
class _Search:
    reading: Reading
    quantization: Quantization
    samples: Array
    limits: Limits
    cost: Cost
    tried: int = 0

    def __post_init__(self) -> None:
        self.aim = Limits(self.limits.error * _AIM, self.limits.drop)
        self._wanted = real_outputs(self.reading, self.samples)
        self._classes = holds_classes(self.reading, self._wanted)

    def score(self, widths: Widths) -> tuple[Score, float]:
        """What the widths cost in accuracy, and in hardware."""
        self.tried += 1
        network = self.quantization.network(widths)
        got = network.predict(self.samples)
        return compare(self._wanted, got, classes=self._classes), self.cost(network)

    def price(self, widths: Widths) -> float:
        """What the widths cost in hardware."""
        return self.cost(self.quantization.network(widths))

    def uniform(self, most: int) -> int:
        """The narrowest width for everything; a TargetError where the widest is too narrow."""
        narrowest = 0
        score = None
        for bits in range(most, _LEAST_BITS - 1, -1):
            score, _ = self.score(self.quantization.uniform(bits))
            if not score.within(self.aim):
                break
            narrowest = bits
        if not narrowest and score is not None:
            changed = "" if score.changed is None else f", and {score.changed} of {score.samples} classes changed"
            raise TargetError(
                "fpga.precision",
                f"{most} bits are too few: expected an error of at most {self.aim.error:.3g} ({_AIM:.0%} of "
                f"max_error) in every quarter of the samples, and at most {self.limits.drop:.2%} of the classes "
                f"changed, got {score.error:.3g}, in the worst quarter {score.worst:.3g}{changed}",
                hint="raise targets.fpga.bits, max_error or max_drop, or train the model with quantization",
            )
        return narrowest

    def narrowed(self, widths: Widths, second: Array) -> Widths:
        """The widths after every bit is gone that can go, the best bargain first.

        The last steps are taken back where `second`, samples that did not steer them, would not bear them.
        """
        score, cost = self.score(widths)
        path = [widths]
        moves = [("weights", name) for name in widths.weights] + [("values", name) for name in widths.values]
        worth = {move: self._worth(widths, move, score, cost) for move in moves}
        while worth:
            move = max(worth, key=lambda each: (worth[each], each))
            del worth[move]
            kind, name = move
            if getattr(widths, kind)[name] <= _LEAST_BITS:
                continue
            candidate = widths.less(kind, name)
            tried, price = self.score(candidate)
            if not tried.within(self.aim) or price > cost:
                continue
            worth[move] = (cost - price) / max(tried.error - score.error, 1e-6)
            widths, score, cost = candidate, tried, price
            path.append(widths)
        return self._borne(path, second)

    def _borne(self, path: list[Widths], samples: Array) -> Widths:
        """The last widths of a path that keep to the limits on other samples; the first where none do."""
        wanted = real_outputs(self.reading, samples)
        for widths in reversed(path):
            got = self.quantization.network(widths).predict(samples)
            if compare(wanted, got, classes=self._classes).within(self.aim):
                return widths
        return path[0]

    def _worth(self, widths: Widths, move: tuple[str, str], score: Score, cost: float) -> float:
        """What one bit less saves, for each bit of error that it brings."""
        kind, name = move
        if getattr(widths, kind)[name] <= _LEAST_BITS:
            return 0.0
        tried, price = self.score(widths.less(kind, name))
        return (cost - price) / max(tried.error - score.error, 1e-6)


def search(reading: Reading, samples: Array, limits: Limits, most_bits: int, cost: Cost) -> Found:
    """The cheapest network within the limits, on calibration samples of shape (samples, *shape).

    Raises:
        TargetError: even `most_bits` everywhere are too few (``fpga.precision``).
    """
    held_back = len(samples) >= _HELD_BACK**2
    turn = np.arange(len(samples)) % _HELD_BACK
    steering, second, test = (
        (samples[turn > 1], samples[turn == 1], samples[turn == 0]) if held_back else (samples, samples, samples)
    )
    work = sum(layer.macs for layer in reading.layers.values())
    count = int(min(max(_WORK / max(work, 1), _LEAST_SAMPLES), _MOST_SAMPLES))
    quantization = Quantization(reading, observe(reading, steering[:_MOST_SAMPLES]))
    found = _Search(reading, quantization, steering[:count], limits, cost)
    uniform = found.uniform(most_bits)
    starts = {uniform, min(uniform + _ROOM, most_bits)}
    widths = min(
        (found.narrowed(quantization.uniform(bits), second[:count]) for bits in sorted(starts)), key=found.price
    )
    network = quantization.network(widths)
    wanted = real_outputs(reading, test)
    return Found(
        network=network,
        widths=widths,
        steering=found.score(widths)[0],
        test=compare(wanted, network.predict(test), classes=holds_classes(reading, wanted)),
        held_back=held_back,
        uniform=uniform,
        tried=found.tried,
    )


def real_outputs(reading: Reading, samples: Array) -> Array:
    """The model's output in real numbers, for samples of shape (samples, *shape)."""
    tensors = reading.run(samples.astype(np.float64))
    return cast_to(applied(tuple(reading.after), tensors[reading.output]), reading.returns)


def holds_classes(reading: Reading, outputs: Array) -> bool:
    """Whether the last axis of an output holds shares of classes, or the output is a class itself."""
    if outputs.dtype.kind in "iu":
        return True
    if not reading.returns.shape or reading.returns.shape[-1] == 1:
        return False
    values = outputs.astype(np.float64)
    shares = np.exp(values) if values.max(initial=0.0) <= 0 else values
    return bool(shares.min(initial=0.0) >= 0 and np.abs(shares.sum(axis=-1) - 1).max(initial=0.0) < _SUM_OF_SHARES)


def compare(wanted: Array, got: Array, *, classes: bool) -> Score:
    """What outputs cost against those that were wanted."""
    if wanted.dtype.kind in "iu":
        changed = int((wanted != got).reshape(len(wanted), -1).any(axis=1).sum())
        return Score(samples=len(wanted), error=0.0, worst=0.0, changed=changed)
    first, second = wanted.astype(np.float64), got.astype(np.float64)
    error = _relative(first, second)
    parts = _PARTS if len(first) >= _LEAST_SAMPLES else 1
    worst = max(_relative(first[part::parts], second[part::parts]) for part in range(parts))
    moved = None
    if classes:
        differ = first.argmax(axis=-1) != second.argmax(axis=-1)
        moved = int(differ.reshape(len(first), -1).any(axis=1).sum())
    return Score(samples=len(first), error=error, worst=worst, changed=moved)


def _relative(wanted: NDArray[np.float64], got: NDArray[np.float64]) -> float:
    size = float(np.sqrt(np.square(wanted).mean()))
    return float(np.sqrt(np.square(wanted - got).mean())) / size if size else float(np.abs(got).max(initial=0.0))
