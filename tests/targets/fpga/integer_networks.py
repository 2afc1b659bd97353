"""Small networks of integers, a line for each layer; weights and inputs reach the ends of their formats."""

from __future__ import annotations

from math import prod
from typing import TYPE_CHECKING

import numpy as np

from agent.runtimes._fixed.host import Port
from agent.runtimes._fixed.layers import Add, Conv, Dense, Pool, Reorder, Tensor
from agent.runtimes._fixed.network import Network

if TYPE_CHECKING:
    from agent.runtimes._fixed.formats import Codes, Format
    from agent.runtimes._fixed.layers import AnyLayer


class Builder:
    """Adds layers one after another; each method gives the name of its output's tensor."""

    def __init__(self, shape: tuple[int, ...], form: Format, seed: int = 0) -> None:
        self.input = Tensor("input", shape, form)
        self.random = np.random.default_rng(seed)
        self._layers: list[AnyLayer] = []
        self._tensors = {"input": self.input}

    @property
    def newest(self) -> str:
        return self._layers[-1].output.name if self._layers else "input"

    def tensor(self, name: str) -> Tensor:
        return self._tensors[name]

    def dense(self, outputs: int, form: Format, *, bits: int = 8, fraction: int = 6, low: int | None = None) -> str:
        source = self._tensors[self.newest]
        weights = self._weights((source.shape[-1], outputs), bits)
        output = self._output((*source.shape[:-1], outputs), form)
        bias = self.random.integers(-(1 << bits), 1 << bits, outputs)
        return self._add(
            Dense(
                name=f"layer_{output.name}",
                sources=(source.name,),
                output=output,
                weights=weights,
                weight_fraction=fraction,
                bias=bias,
                low=low,
            )
        )

    def conv(  # noqa: PLR0913 - as many as a convolution has
        self,
        channels: int,
        kernel: tuple[int, ...],
        form: Format,
        *,
        strides: tuple[int, ...] = (),
        pads: tuple[int, ...] = (),
        dilations: tuple[int, ...] = (),
        groups: int = 1,
        bits: int = 6,
    ) -> str:
        source = self._tensors[self.newest]
        strides, dilations = strides or (1,) * len(kernel), dilations or (1,) * len(kernel)
        pads = pads or (0,) * (2 * len(kernel))
        weights = self._weights((channels, source.shape[0] // groups, *kernel), bits)
        output = self._output((channels, *_positions(source.shape[1:], kernel, strides, pads, dilations)), form)
        return self._add(
            Conv(
                name=f"layer_{output.name}",
                sources=(source.name,),
                output=output,
                weights=weights,
                weight_fraction=4,
                bias=self.random.integers(-(1 << bits), 1 << bits, channels),
                strides=strides,
                pads=pads,
                dilations=dilations,
                groups=groups,
            )
        )

    def pool(
        self, kind: str, kernel: tuple[int, ...], form: Format, *, strides: tuple[int, ...], pads: tuple[int, ...] = ()
    ) -> str:
        source = self._tensors[self.newest]
        pads = pads or (0,) * (2 * len(kernel))
        output = self._output(
            (source.shape[0], *_positions(source.shape[1:], kernel, strides, pads, (1,) * len(kernel))), form
        )
        mean = kind == "average"
        return self._add(
            Pool(
                name=f"layer_{output.name}",
                sources=(source.name,),
                output=output,
                kind="average" if mean else "max",
                kernel=kernel,
                strides=strides,
                pads=pads,
                reciprocal=round(2**10 / prod(kernel)) if mean else 1,
                reciprocal_fraction=10 if mean else 0,
            )
        )

    def reorder(self, indices: np.ndarray, shape: tuple[int, ...], form: Format | None = None) -> str:
        source = self._tensors[self.newest]
        output = self._output(shape, form or source.format)
        return self._add(
            Reorder(name=f"layer_{output.name}", sources=(source.name,), output=output, indices=indices.ravel())
        )

    def add(self, other: str, form: Format) -> str:
        source = self._tensors[self.newest]
        output = self._output(source.shape, form)
        return self._add(Add(name=f"layer_{output.name}", sources=(source.name, other), output=output))

    def network(self) -> Network:
        output = self._layers[-1].output
        return Network(
            input=self.input,
            layers=tuple(self._layers),
            output=output,
            accepts=Port(name="x", dtype="float32", shape=self.input.shape),
            returns=Port(name="y", dtype="float32", shape=output.shape),
        )

    def _weights(self, shape: tuple[int, ...], bits: int) -> np.ndarray:
        top = 1 << (bits - 1)
        weights = self.random.integers(-top, top, shape)
        weights.flat[0] = -top
        weights.flat[-1] = top - 1
        return weights

    def _output(self, shape: tuple[int, ...], form: Format) -> Tensor:
        return Tensor(f"t{len(self._layers)}", shape, form)

    def _add(self, layer: AnyLayer) -> str:
        self._layers.append(layer)
        self._tensors[layer.output.name] = layer.output
        return layer.output.name


def vectors(network: Network, samples: int, seed: int = 0) -> Codes:
    """Random codes of the input; the first samples are all at the lowest and all at the highest code."""
    form = network.input.format
    codes = np.random.default_rng(seed).integers(form.low, form.high + 1, (samples, *network.input.shape))
    codes[0], codes[1] = form.low, form.high
    return codes


def _positions(
    sizes: tuple[int, ...],
    kernel: tuple[int, ...],
    strides: tuple[int, ...],
    pads: tuple[int, ...],
    dilations: tuple[int, ...],
) -> tuple[int, ...]:
    axes = len(kernel)
    return tuple(
        (size + before + after - (width - 1) * spread - 1) // step + 1
        for size, width, step, before, after, spread in zip(
            sizes, kernel, strides, pads[:axes], pads[axes:], dilations, strict=True
        )
    )
