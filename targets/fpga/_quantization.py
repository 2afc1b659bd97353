"""From layers of real numbers to a network of integers: formats for what was observed and the widths asked."""

from __future__ import annotations

from dataclasses import dataclass, field
from functools import singledispatchmethod
from math import ceil, log2, prod
from typing import TYPE_CHECKING, NamedTuple

import numpy as np

from agent.runtimes._fixed.formats import Format, dequantize, quantize, smallest_format
from agent.runtimes._fixed.layers import Add, AnyLayer, Conv, Dense, Pool, Reorder, Tensor
from agent.runtimes._fixed.network import Network
from targets.fpga._layers import RealAdd, RealConv, RealDense, RealPool, RealReorder

if TYPE_CHECKING:
    from numpy.typing import NDArray

    from agent.runtimes._fixed.layers import Integers
    from targets.fpga._layers import RealLayer, Reals
    from targets.fpga._reading import Reading

_MOST_VALUES = 4096
"""Of a tensor, by which its formats are chosen."""
_CUTS = 3
"""Most bits on the left that a format may lack, if saturating few values serves all others."""
_RECIPROCAL_BITS = 10
_MOST_BIAS = 1 << 45


class Widths(NamedTuple):
    """Bits of the weights by layer, and of the values by tensor; tensors that only pass others' values on have none."""

    weights: dict[str, int]
    values: dict[str, int]

    def less(self, kind: str, name: str) -> Widths:
        """The same with one bit less in one place; `kind` is ``weights`` or ``values``."""
        changed = {**getattr(self, kind), name: getattr(self, kind)[name] - 1}
        return self._replace(**{kind: changed})


@dataclass(eq=False)
class Quantization:
    """Makes networks of one model; what it has found of a format is kept."""

    reading: Reading
    observed: dict[str, Reals]
    """By tensor: values that it had, few enough to look at often."""
    _formats: dict[tuple[str, int], Format] = field(default_factory=dict)
    _weights: dict[tuple[str, int], tuple[Integers, int]] = field(default_factory=dict)

    def uniform(self, bits: int) -> Widths:
        """The same width everywhere."""
        layers = self.reading.layers
        weighted = [name for name, layer in layers.items() if isinstance(layer, RealDense | RealConv)]
        valued = [name for name, layer in layers.items() if not _passes_on(layer)]
        start = self.reading.source.inputs[0]
        return Widths(dict.fromkeys(weighted, bits), dict.fromkeys([start, *valued], bits))

    def network(self, widths: Widths) -> Network:
        """The network of integers with those widths."""
        reading = self.reading
        name = reading.source.inputs[0]
        assert reading.input is not None  # noqa: S101 - a reading without findings has one
        start = Tensor(name, reading.input.shape, self.format(name, widths.values[name], signed=None))
        known = {name: start}
        layers: list[AnyLayer] = []
        for layer in reading.layers.values():
            sources = [known[source] for source in layer.sources]
            form = self._form(layer, sources, widths)
            output = Tensor(layer.output, layer.shape, form)
            layers.append(self._layer(layer, sources, output, widths))
            known[layer.output] = output
        return Network(
            input=start,
            layers=tuple(layers),
            output=known[reading.output],
            accepts=reading.accepts,
            returns=reading.returns,
            before=reading.before,
            after=tuple(reading.after),
        )

    def format(self, name: str, bits: int, *, signed: bool | None) -> Format:
        """The format of so many bits at most whose codes are nearest to what was observed of a tensor.

        `signed`: None, as the values ask.
        """
        key = (name, bits)
        if key not in self._formats:
            self._formats[key] = nearest_format(self.observed[name], bits, signed=signed)
        return self._formats[key]

    def _form(self, layer: RealLayer, sources: list[Tensor], widths: Widths) -> Format:
        unsigned = layer.low is not None and layer.low >= 0
        if not _passes_on(layer):
            return self.format(layer.output, widths.values[layer.output], signed=False if unsigned else None)
        form = sources[0].format
        return Format(signed=False, integer=form.integer, fraction=form.fraction) if unsigned and form.signed else form

    @singledispatchmethod
    def _layer(self, layer: RealLayer, sources: list[Tensor], output: Tensor, widths: Widths) -> AnyLayer:
        raise TypeError(f"no layer of integers is known for {type(layer).__name__}: {sources}, {output}, {widths}")

    @_layer.register
    def _(self, layer: RealDense, sources: list[Tensor], output: Tensor, widths: Widths) -> AnyLayer:
        weights, fraction, bias = self._weighted(layer, sources[0], widths)
        low, high = _bounds(layer, output.format)
        return Dense(
            name=layer.output,
            sources=layer.sources,
            output=output,
            low=low,
            high=high,
            source_node=layer.node,
            weights=weights,
            weight_fraction=fraction,
            bias=bias,
        )

    @_layer.register
    def _(self, layer: RealConv, sources: list[Tensor], output: Tensor, widths: Widths) -> AnyLayer:
        weights, fraction, bias = self._weighted(layer, sources[0], widths)
        low, high = _bounds(layer, output.format)
        return Conv(
            name=layer.output,
            sources=layer.sources,
            output=output,
            low=low,
            high=high,
            source_node=layer.node,
            weights=weights,
            weight_fraction=fraction,
            bias=bias,
            strides=layer.strides,
            pads=layer.pads,
            dilations=layer.dilations,
            groups=layer.groups,
        )

    @_layer.register
    def _(self, layer: RealPool, sources: list[Tensor], output: Tensor, widths: Widths) -> AnyLayer:
        del sources, widths
        reciprocal, fraction = _reciprocal(prod(layer.kernel)) if layer.kind == "average" else (1, 0)
        low, high = _bounds(layer, output.format)
        return Pool(
            name=layer.output,
            sources=layer.sources,
            output=output,
            low=low,
            high=high,
            source_node=layer.node,
            kind=layer.kind,
            kernel=layer.kernel,
            strides=layer.strides,
            pads=layer.pads,
            reciprocal=reciprocal,
            reciprocal_fraction=fraction,
        )

    @_layer.register
    def _(self, layer: RealAdd, sources: list[Tensor], output: Tensor, widths: Widths) -> AnyLayer:
        del sources, widths
        low, high = _bounds(layer, output.format)
        return Add(name=layer.output, sources=layer.sources, output=output, low=low, high=high, source_node=layer.node)

    @_layer.register
    def _(self, layer: RealReorder, sources: list[Tensor], output: Tensor, widths: Widths) -> AnyLayer:
        del sources, widths
        low, high = _bounds(layer, output.format)
        return Reorder(
            name=layer.output,
            sources=layer.sources,
            output=output,
            low=low,
            high=high,
            source_node=layer.node,
            indices=layer.indices,
        )

    def _weighted(self, layer: RealDense | RealConv, source: Tensor, widths: Widths) -> tuple[Integers, int, Integers]:
        """Codes of the weights, their fraction, and the bias as codes of the accumulator."""
        bits = widths.weights[layer.output]
        key = (layer.output, bits)
        if key not in self._weights:
            form = nearest_format(layer.weights.reshape(-1), bits, signed=True, shrink=False)
            self._weights[key] = quantize(layer.weights, form), form.fraction
        codes, fraction = self._weights[key]
        scaled = np.floor(layer.bias * 2.0 ** (source.format.fraction + fraction) + 0.5)
        return codes, fraction, np.clip(scaled, -_MOST_BIAS, _MOST_BIAS).astype(np.int64)


def observe(reading: Reading, samples: NDArray[np.generic]) -> dict[str, Reals]:
    """Values of every tensor in real numbers, evenly picked; the smallest and the largest are always among them."""
    return {name: _picked(values.reshape(-1)) for name, values in reading.run(samples.astype(np.float64)).items()}


def nearest_format(values: Reals, bits: int, *, signed: bool | None, shrink: bool = True) -> Format:
    """The format of `bits` whose codes are nearest to the values, in the mean of squares.

    Where fewer bits right of the point serve as well, it has fewer; with `shrink`, bits on the left that no value uses
    are left out too.
    """
    low, high = float(values.min(initial=0.0)), float(values.max(initial=0.0))
    signed = low < 0 if signed is None else signed
    most = max(high, -low)
    if most == 0:
        return Format(signed, 1 - signed, 0)
    # The smallest number of bits on the left that holds every value; a power of two itself needs one more.
    whole = ceil(log2(most)) + (high > 0 and 2.0 ** ceil(log2(most)) == high)
    candidates = [Format(signed, whole - cut, bits - signed - whole + cut) for cut in range(_CUTS + 1)]
    errors = [_error(values, form) for form in candidates]
    best = candidates[int(np.argmin(errors))]
    least = min(errors)
    while best.width > 1 + signed:
        coarser = Format(signed, best.integer, best.fraction - 1)
        if not shrink or _error(values, coarser) > least:
            break
        best = coarser
    if not shrink:
        return best
    codes = quantize(values, best)
    needed = smallest_format(min(int(codes.min()), -signed), max(int(codes.max()), 0), best.fraction)
    return Format(signed, min(needed.integer + (needed.signed - signed), best.integer), best.fraction)


def _error(values: Reals, form: Format) -> float:
    return float(np.square(dequantize(quantize(values, form), form) - values).mean())


def _picked(values: Reals) -> Reals:
    if values.size <= _MOST_VALUES:
        return values
    ordered = np.sort(values)
    return ordered[np.linspace(0, values.size - 1, _MOST_VALUES).astype(np.int64)]


def _passes_on(layer: RealLayer) -> bool:
    """Whether it gives values of its source as they are, in the source's format."""
    return isinstance(layer, RealReorder) or (isinstance(layer, RealPool) and layer.kind == "max")


def _bounds(layer: RealLayer, form: Format) -> tuple[int | None, int | None]:
    """A layer's bounds as codes; none where the format has them anyway."""
    low, high = (None if bound is None else int(quantize(np.array(bound), form)) for bound in (layer.low, layer.high))
    return (None if low == form.low else low, None if high == form.high else high)


def _reciprocal(count: int) -> tuple[int, int]:
    """One over a count as a code and its fraction; exact for a power of two."""
    if count & (count - 1) == 0:
        return 1, count.bit_length() - 1
    fraction = count.bit_length() + _RECIPROCAL_BITS - 1
    return round((1 << fraction) / count), fraction
