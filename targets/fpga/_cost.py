"""What a network costs in hardware, as far as the search for its formats needs to know: which of two is cheaper."""

from __future__ import annotations

from math import prod
from typing import TYPE_CHECKING

import numpy as np

from agent.runtimes._fixed.layers import Conv, Dense

if TYPE_CHECKING:
    from agent.runtimes._fixed.layers import Integers
    from agent.runtimes._fixed.network import Network


def signed_digits(weights: Integers) -> int:
    """Digits that are not zero in the weights' non-adjacent forms: the additions and subtractions of their products."""
    sizes = np.abs(weights)
    return int(np.bitwise_count(sizes ^ (3 * sizes)).sum())


def adder_bits(network: Network) -> float:
    """Full adders of all products written out, each weight a sum of shifts, before anything is shared."""
    total = 0.0
    for layer in network.layers:
        (source, *_) = network.sources(layer)
        if isinstance(layer, Dense | Conv):
            places = prod(layer.output.shape[1:] if isinstance(layer, Conv) else layer.output.shape[:-1])
            # A sum of shifted values is as wide as the values and, in the mean, half of what the sum grows by.
            width = (source.format.width + layer.accumulator([source]).width) / 2
            total += max(signed_digits(layer.weights) - layer.weights.shape[-1], 0) * places * width
        total += layer.output.size * layer.output.format.width
    return total + network.input.size * network.input.format.width


def memory_bits(network: Network) -> float:
    """Bits of weights and of values that a time-multiplexed design keeps, and of its multipliers' operands."""
    total = float(network.input.size * network.input.format.width)
    for layer in network.layers:
        if isinstance(layer, Dense | Conv):
            width = weight_width(layer)
            (source, *_) = network.sources(layer)
            total += layer.weights.size * width + width * source.format.width
        total += layer.output.size * layer.output.format.width
    return total


def weight_width(layer: Dense | Conv) -> int:
    """Bits that the widest weight of a layer needs, with its sign."""
    low, high = int(layer.weights.min(initial=0)), int(layer.weights.max(initial=0))
    return max(high.bit_length(), (-low - 1).bit_length() if low < 0 else 0) + 1
