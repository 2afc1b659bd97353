"""The layers of a model in real numbers, as they were read: what the network of integers is made from."""

from __future__ import annotations

from abc import ABC, abstractmethod
from dataclasses import dataclass
from math import prod
from typing import TYPE_CHECKING, Literal, TypeAlias

import numpy as np

from agent.runtimes._fixed.layers import windows

if TYPE_CHECKING:
    from numpy.typing import NDArray

    Reals: TypeAlias = NDArray[np.float64]


@dataclass(frozen=True, eq=False, kw_only=True)
class RealLayer(ABC):
    """What every layer says of itself; `low` and `high` bound its output, as a ReLU does."""

    sources: tuple[str, ...]
    output: str
    """The tensor's name, and the layer's."""
    shape: tuple[int, ...]
    """Of the output, without the batch."""
    node: str
    """The ONNX node that it comes from."""
    low: float | None = None
    high: float | None = None

    def compute(self, sources: list[Reals]) -> Reals:
        """The output for its sources, both of shape (samples, *shape)."""
        values = self._unbounded(sources)
        return values if self.low is None and self.high is None else np.clip(values, self.low, self.high)

    @abstractmethod
    def _unbounded(self, sources: list[Reals]) -> Reals:
        """The output before it is bounded."""

    @property
    def macs(self) -> int:
        """Multiplications of one sample."""
        return 0


@dataclass(frozen=True, eq=False, kw_only=True)
class RealDense(RealLayer):
    """A product with a matrix [inputs, outputs] along the last axis."""

    weights: Reals
    bias: Reals

    def _unbounded(self, sources: list[Reals]) -> Reals:
        values: Reals = sources[0] @ self.weights + self.bias
        return values

    @property
    def macs(self) -> int:
        return self.weights.size * prod(self.shape[:-1])

    def scaled(self, factor: Reals) -> Reals:
        """The weights, each output's times its factor."""
        return self.weights * factor


@dataclass(frozen=True, eq=False, kw_only=True)
class RealConv(RealLayer):
    """A convolution; weights [channels out, channels in / groups, *kernel], `pads` as ONNX has them."""

    weights: Reals
    bias: Reals
    strides: tuple[int, ...]
    pads: tuple[int, ...]
    dilations: tuple[int, ...]
    groups: int

    def _unbounded(self, sources: list[Reals]) -> Reals:
        kernel = self.weights.shape[2:]
        found = windows(sources[0], kernel, self.strides, self.pads, self.dilations, fill=0)
        samples, channels, *positions = found.shape[: -len(kernel)]
        per = channels // self.groups
        spread = found.reshape(samples, self.groups, per, prod(positions), prod(kernel)).transpose(1, 0, 3, 2, 4)
        rows = spread.reshape(self.groups, samples * prod(positions), per * prod(kernel))
        columns = self.weights.reshape(self.groups, -1, per * prod(kernel)).transpose(0, 2, 1)
        out = (rows @ columns).reshape(self.groups, samples, prod(positions), -1).transpose(1, 0, 3, 2)
        values: Reals = out.reshape(samples, -1, *positions) + self.bias.reshape(-1, *[1] * len(kernel))
        return values

    @property
    def macs(self) -> int:
        return self.weights.size * prod(self.shape[1:])

    def scaled(self, factor: Reals) -> Reals:
        """The weights, each output channel's times its factor."""
        scaled: Reals = self.weights * factor.reshape(-1, *[1] * (self.weights.ndim - 1))
        return scaled


@dataclass(frozen=True, eq=False, kw_only=True)
class RealPool(RealLayer):
    """The largest value or the mean of each window; beyond the border there is nothing, or zeros that count."""

    kind: Literal["max", "average"]
    kernel: tuple[int, ...]
    strides: tuple[int, ...]
    pads: tuple[int, ...]

    def _unbounded(self, sources: list[Reals]) -> Reals:
        axes = tuple(range(-len(self.kernel), 0))
        ones = (1,) * len(self.kernel)
        if self.kind == "max":
            least: Reals = windows(sources[0], self.kernel, self.strides, self.pads, ones, fill=-np.inf).max(axis=axes)
            return least
        mean: Reals = windows(sources[0], self.kernel, self.strides, self.pads, ones, fill=0).mean(axis=axes)
        return mean


@dataclass(frozen=True, eq=False, kw_only=True)
class RealAdd(RealLayer):
    """The sum of two tensors of one shape."""

    def _unbounded(self, sources: list[Reals]) -> Reals:
        return sources[0] + sources[1]


@dataclass(frozen=True, eq=False, kw_only=True)
class RealReorder(RealLayer):
    """Elements of the source by their places in it."""

    indices: NDArray[np.int64]

    def _unbounded(self, sources: list[Reals]) -> Reals:
        return sources[0].reshape(len(sources[0]), -1)[:, self.indices].reshape(-1, *self.shape)


Weighted: TypeAlias = RealDense | RealConv
"""Layers with weights."""
