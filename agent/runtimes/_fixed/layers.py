"""The layers of a network of integers, and what each computes.

A layer accumulates exactly, at full precision; then its sum is brought into the format of its output (`requantize`).
A ReLU and its like are a bound on the output's codes: rounding keeps the order, so that it does not matter whether one
clips before or after it.
"""

from __future__ import annotations

from math import prod
from typing import TYPE_CHECKING, Literal, NamedTuple, TypeAlias, TypeVar

import msgspec
import numpy as np
from numpy.typing import NDArray

from agent.runtimes._fixed.formats import Format, requantize, smallest_format

if TYPE_CHECKING:
    from collections.abc import Sequence

    from agent.runtimes._fixed.formats import Codes

Integers: TypeAlias = NDArray[np.int64]
Number = TypeVar("Number", np.int64, np.float64)
_EXACT_IN_FLOAT64 = 1 << 53
_MOST_BITS = 62


class Tensor(msgspec.Struct, frozen=True):
    """A tensor between layers. Its shape is without the batch; pictures are (channels, height, width)."""

    name: str
    shape: tuple[int, ...]
    format: Format

    @property
    def size(self) -> int:
        """Elements of one sample."""
        return prod(self.shape)


class Sum(NamedTuple):
    """What a layer accumulated, before it is rounded."""

    codes: Codes
    fraction: int


class Layer(msgspec.Struct, frozen=True, kw_only=True, eq=False):
    """What every kind of layer says of itself."""

    name: str
    sources: tuple[str, ...]
    """Names of the tensors that it reads."""
    output: Tensor
    low: int | None = None
    """The smallest code of the output; None: the smallest of its format. A ReLU has 0."""
    high: int | None = None
    """The largest code of the output; None: the largest of its format."""
    source_node: str = ""
    """The node of the ONNX model that it comes from, for reports."""

    @property
    def bounds(self) -> tuple[int, int]:
        """The smallest and largest code of the output: what the rounded sum is saturated to."""
        form = self.output.format
        return (
            form.low if self.low is None else max(self.low, form.low),
            form.high if self.high is None else min(self.high, form.high),
        )


class Dense(Layer, frozen=True, kw_only=True, eq=False, tag="dense"):
    """A product with a constant matrix, along the last axis of the source."""

    weights: Integers
    """(inputs, outputs)."""
    weight_fraction: int
    bias: Integers
    """(outputs), of the accumulator's fraction: that of the source and of the weights, together."""

    def accumulate(self, sources: Sequence[Tensor], codes: Sequence[Codes]) -> Sum:
        """The products' sums and the bias, exactly."""
        exact = _exact_type(self.accumulator(sources))
        total = codes[0].astype(exact) @ self.weights.astype(exact)
        return Sum(total.astype(np.int64) + self.bias, sources[0].format.fraction + self.weight_fraction)

    def accumulator(self, sources: Sequence[Tensor]) -> Format:
        """A format that no sum leaves, whatever the source's codes; partial sums in any order don't either."""
        return _accumulator(self.weights.T, self.bias, sources[0].format, self.weight_fraction)


class Conv(Layer, frozen=True, kw_only=True, eq=False, tag="conv"):
    """A convolution over one or two axes; outside the picture there are zeros."""

    weights: Integers
    """(channels out, channels in / groups, *kernel)."""
    weight_fraction: int
    bias: Integers
    """(channels out), of the accumulator's fraction."""
    strides: tuple[int, ...]
    pads: tuple[int, ...]
    """Those at the begin of each axis, then those at the end, as ONNX has them."""
    dilations: tuple[int, ...]
    groups: int = 1

    def accumulate(self, sources: Sequence[Tensor], codes: Sequence[Codes]) -> Sum:
        """The products' sums and the bias, exactly; shape (samples, channels out, *positions)."""
        kernel = self.weights.shape[2:]
        exact = _exact_type(self.accumulator(sources))
        found = windows(codes[0], kernel, self.strides, self.pads, self.dilations, fill=0)
        samples, channels, *positions = found.shape[: -len(kernel)]
        per = channels // self.groups
        # (samples, groups, channels, positions, kernel) to (groups, samples * positions, channels * kernel)
        spread = found.reshape(samples, self.groups, per, prod(positions), prod(kernel)).transpose(1, 0, 3, 2, 4)
        rows = spread.reshape(self.groups, samples * prod(positions), per * prod(kernel)).astype(exact)
        columns = self.weights.reshape(self.groups, -1, per * prod(kernel)).transpose(0, 2, 1).astype(exact)
        total = (rows @ columns).astype(np.int64)
        out = total.reshape(self.groups, samples, prod(positions), -1).transpose(1, 0, 3, 2)
        bias = self.bias.reshape(-1, *[1] * len(kernel))
        return Sum(out.reshape(samples, -1, *positions) + bias, sources[0].format.fraction + self.weight_fraction)

    def accumulator(self, sources: Sequence[Tensor]) -> Format:
        """A format that no sum leaves, whatever the source's codes; partial sums in any order don't either."""
        rows = self.weights.reshape(len(self.weights), -1)
        return _accumulator(rows, self.bias, sources[0].format, self.weight_fraction)


class Pool(Layer, frozen=True, kw_only=True, eq=False, tag="pool"):
    """The largest value, or the mean, of each window over one or two axes.

    For a maximum, what is outside the picture is never the largest; for a mean, it is zero and counts.
    """

    kind: Literal["max", "average"]
    kernel: tuple[int, ...]
    strides: tuple[int, ...]
    pads: tuple[int, ...]
    reciprocal: int = 1
    """For a mean: what the sum is multiplied by, as a code of `reciprocal_fraction`."""
    reciprocal_fraction: int = 0

    def accumulate(self, sources: Sequence[Tensor], codes: Sequence[Codes]) -> Sum:
        """The largest code, or the sum times the reciprocal; shape (samples, channels, *positions)."""
        form = sources[0].format
        ones = (1,) * len(self.kernel)
        axes = tuple(range(-len(self.kernel), 0))
        if self.kind == "max":
            found = windows(codes[0], self.kernel, self.strides, self.pads, ones, fill=form.low)
            return Sum(found.max(axis=axes), form.fraction)
        found = windows(codes[0], self.kernel, self.strides, self.pads, ones, fill=0)
        return Sum(found.sum(axis=axes) * self.reciprocal, form.fraction + self.reciprocal_fraction)

    def accumulator(self, sources: Sequence[Tensor]) -> Format:
        """A format that no sum leaves, whatever the source's codes."""
        form = sources[0].format
        if self.kind == "max":
            return form
        factor = prod(self.kernel) * self.reciprocal
        return smallest_format(form.low * factor, form.high * factor, form.fraction + self.reciprocal_fraction)


class Add(Layer, frozen=True, kw_only=True, eq=False, tag="add"):
    """The sum of two tensors of one shape; the one with fewer bits right of the point is shifted left first."""

    def accumulate(self, sources: Sequence[Tensor], codes: Sequence[Codes]) -> Sum:
        """The sum at the finer fraction of the two."""
        fraction = max(tensor.format.fraction for tensor in sources)
        first, second = (
            code << (fraction - tensor.format.fraction) for tensor, code in zip(sources, codes, strict=True)
        )
        return Sum(first + second, fraction)

    def accumulator(self, sources: Sequence[Tensor]) -> Format:
        """A format that no sum leaves, whatever the sources' codes."""
        fraction = max(tensor.format.fraction for tensor in sources)
        lows = (tensor.format.low << (fraction - tensor.format.fraction) for tensor in sources)
        highs = (tensor.format.high << (fraction - tensor.format.fraction) for tensor in sources)
        return smallest_format(sum(lows), sum(highs), fraction)


class Reorder(Layer, frozen=True, kw_only=True, eq=False, tag="reorder"):
    """Elements of the source in another order, or some of them: reshaped, transposed, sliced, or as they are."""

    indices: Integers
    """(elements of the output): where each one stands in the source, both in row-major order."""

    def accumulate(self, sources: Sequence[Tensor], codes: Sequence[Codes]) -> Sum:
        """The elements as they are."""
        flat = codes[0].reshape(len(codes[0]), -1)
        return Sum(flat[:, self.indices].reshape(-1, *self.output.shape), sources[0].format.fraction)

    def accumulator(self, sources: Sequence[Tensor]) -> Format:
        """That of the source."""
        return sources[0].format


class Trees(Layer, frozen=True, kw_only=True, eq=False, tag="trees"):
    """What the leaves that a sample reaches say, added up over all trees.

    A node asks whether a feature's code is from `least` to `most`. Of a child, numbers from 0 on are nodes, and -1 is
    the first leaf, -2 the second.
    """

    roots: Integers
    """(trees): the first child of each."""
    feature: Integers
    """(nodes): the element of the source, as it stands in row-major order."""
    least: Integers
    most: Integers
    missing: Integers
    """(nodes): 1: what the source has for a missing value, the highest code of its format, is answered by yes, too."""
    yes: Integers
    no: Integers
    leaves: Integers
    """(leaves, outputs), of `leaf_fraction`."""
    leaf_fraction: int
    bias: Integers
    """(outputs), of `leaf_fraction`."""

    def accumulate(self, sources: Sequence[Tensor], codes: Sequence[Codes]) -> Sum:
        """The sum of the leaves and the bias, exactly; shape (samples, outputs)."""
        rows = codes[0].reshape(len(codes[0]), -1)
        absent = sources[0].format.high
        at = np.broadcast_to(self.roots, (len(rows), len(self.roots))).copy()
        while (inner := at >= 0).any():
            samples, trees = np.nonzero(inner)
            node = at[samples, trees]
            code = rows[samples, self.feature[node]]
            taken = (self.least[node] <= code) & (code <= self.most[node])
            taken |= (self.missing[node] == 1) & (code == absent)
            at[samples, trees] = np.where(taken, self.yes[node], self.no[node])
        total: Codes = self.leaves[-1 - at].sum(axis=1) + self.bias
        return Sum(total, self.leaf_fraction)

    def accumulator(self, sources: Sequence[Tensor]) -> Format:
        """A format that no sum leaves, whichever leaf of each tree is reached; partial sums don't either."""
        del sources
        spans = [self.leaves[self.leaves_of(root)] for root in self.roots.tolist()]
        lowest = sum(np.minimum(span.min(axis=0), 0) for span in spans) + np.minimum(self.bias, 0)
        highest = sum(np.maximum(span.max(axis=0), 0) for span in spans) + np.maximum(self.bias, 0)
        return smallest_format(int(lowest.min()), int(highest.max()), self.leaf_fraction)

    def leaves_of(self, child: int) -> list[int]:
        """The leaves below a child, each once, in the order in which they are first met, yes before no."""
        found: dict[int, None] = {}
        seen: set[int] = set()
        waiting = [child]
        while waiting:
            at = waiting.pop()
            if at < 0:
                found[-1 - at] = None
            elif at not in seen:
                seen.add(at)
                waiting += [int(self.no[at]), int(self.yes[at])]
        return list(found)


def run_layer(layer: AnyLayer, sources: Sequence[Tensor], codes: Sequence[Codes]) -> Codes:
    """The codes of the layer's output, shape (samples, *shape)."""
    total = layer.accumulate(sources, codes)
    return requantize(total.codes, total.fraction, layer.output.format, layer.bounds)


def windows(
    values: NDArray[Number],
    kernel: tuple[int, ...],
    strides: tuple[int, ...],
    pads: tuple[int, ...],
    dilations: tuple[int, ...],
    fill: float,
) -> NDArray[Number]:
    """What each window sees; shape (samples, channels, *positions, *kernel)."""
    axes: int = len(kernel)
    around = [(0, 0), (0, 0), *zip(pads[:axes], pads[axes:], strict=True)]
    padded = np.pad(values, around, constant_values=fill)
    reach = tuple((size - 1) * step + 1 for size, step in zip(kernel, dilations, strict=True))
    found = np.lib.stride_tricks.sliding_window_view(padded, reach, axis=tuple(range(2, 2 + axes)))
    picks = (slice(None), slice(None), *(slice(None, None, step) for step in (*strides, *dilations)))
    seen: NDArray[Number] = found[picks]
    return seen


def _accumulator(rows: Integers, bias: Integers, source: Format, weight_fraction: int) -> Format:
    """A format for the sums of weights, one row an output; holds the bias and each part of the sum, too."""
    positive, negative = (np.abs(np.clip(rows, *clip)).sum(axis=1) for clip in ((0, None), (None, 0)))
    # In Python's integers, which have no last one: an overflow of int64 is what is looked for.
    sums = list(zip(positive.tolist(), negative.tolist(), bias.tolist(), strict=True))
    low = min((up * source.low - down * source.high + min(add, 0) for up, down, add in sums), default=0)
    high = max((up * source.high - down * source.low + max(add, 0) for up, down, add in sums), default=0)
    form = smallest_format(low, high, source.fraction + weight_fraction)
    if form.width > _MOST_BITS:
        raise OverflowError(f"an accumulator of {form.width} bits is too wide: expected at most {_MOST_BITS}")
    return form


def _exact_type(accumulator: Format) -> type[np.float64 | np.int64]:
    """float64 where every partial sum is an integer that it holds, for its products are the fast ones."""
    return np.float64 if 1 << accumulator.width <= _EXACT_IN_FLOAT64 else np.int64


AnyLayer: TypeAlias = Dense | Conv | Pool | Add | Reorder | Trees
