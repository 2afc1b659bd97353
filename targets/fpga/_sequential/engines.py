"""One engine a layer: which module computes it, with which parameters and tables, and how long it takes."""

from __future__ import annotations

from math import prod
from typing import TYPE_CHECKING, NamedTuple

import msgspec
import numpy as np

from agent.runtimes._fixed.layers import Add, Conv, Dense, Pool, Reorder, Trees
from targets.fpga._sequential.lanes import passes, product_cycles
from targets.fpga._sequential.walks import pool_walk, product_walk

if TYPE_CHECKING:
    from collections.abc import Sequence

    from agent.runtimes._fixed.layers import AnyLayer, Tensor
    from targets.fpga._sequential.lanes import Plan

_POOL_DELAY = 7
_GATHER_DELAY = 5
_ADDITION_DELAY = 4


class Engine(msgspec.Struct, frozen=True, kw_only=True):
    """The hardware of one layer."""

    module: str
    parameters: dict[str, int | str]
    tables: dict[str, str] = {}
    """Contents of the files that the module reads by ``$readmemh``, by the parameter that names the file."""
    cycles: int
    """From the cycle in which it starts to that in which it writes its last code."""


class _Rounding(NamedTuple):
    """What is added to a layer's sum, and how its codes are made of it."""

    half: int
    bits: int
    """Of the sum with the half, as a signed number."""
    parameters: dict[str, int | str]


def engine_of(layer: AnyLayer, sources: Sequence[Tensor], banks: int, lanes: Plan) -> Engine:
    """The engine of a layer that reads `sources`."""
    match layer:
        case Dense() | Conv():
            return _product(layer, sources[0], banks, lanes.lanes[layer.name])
        case Pool():
            return _pool(layer, sources[0], banks)
        case Add():
            return _addition(layer, sources, banks)
        case Reorder():
            return _gather(layer, sources[0], banks)
        case Trees():
            raise TypeError("a tree ensemble takes no turns: expected a layer of products, a pool, a sum or an order")


def address_bits(size: int, banks: int) -> int:
    """Of an address in a buffer of that many elements a bank; every size stands in them, too."""
    return (size * banks).bit_length()


def _product(layer: Dense | Conv, source: Tensor, banks: int, lanes: int) -> Engine:
    walk = product_walk(layer, source)
    rounds = passes(walk, lanes)
    rounding = _rounding(layer, [source])
    matrix = layer.weights.T if isinstance(layer, Dense) else layer.weights.reshape(len(layer.weights), -1)
    # (groups, passes, lanes, taps), channels that are not there being zero
    spread = np.zeros((walk.groups, rounds * lanes, walk.taps), np.int64)
    spread[:, : walk.outputs] = matrix.reshape(walk.groups, walk.outputs, walk.taps)
    words = spread.reshape(walk.groups * rounds, lanes, walk.taps).transpose(0, 2, 1).reshape(-1, lanes)
    width = _signed_bits(int(words.min()), int(words.max()))
    biases = [int(code) + rounding.half for code in layer.bias]
    counts = (walk.outputs, lanes + 1, walk.windows, walk.groups, walk.taps, walk.height, walk.width)
    return Engine(
        module="product",
        parameters={
            **walk.loops,
            "GROUPS": walk.groups,
            "PASSES": rounds,
            "COUNT": max(counts).bit_length(),
            "BANKS": banks,
            **_input(source, banks),
            **_output(layer.output, banks),
            "OUT_CHANNEL": walk.out_channel,
            "OUT_PIXEL": walk.out_pixel,
            "LANES": lanes,
            "REST": walk.outputs - (rounds - 1) * lanes,
            "WEIGHT_WIDTH": width,
            "WEIGHT_DEPTH": len(words),
            "WEIGHT_ADDRESS": len(words).bit_length(),
            "BIAS_DEPTH": len(biases),
            "BIAS_ADDRESS": len(biases).bit_length(),
            "SUM": rounding.bits,
            **rounding.parameters,
        },
        tables={
            "WEIGHT_FILE": "".join(f"{_packed(word, width):x}\n" for word in words.tolist()),
            "BIAS_FILE": _table(biases, rounding.bits),
        },
        cycles=product_cycles(walk, lanes),
    )


def _pool(layer: Pool, source: Tensor, banks: int) -> Engine:
    walk = pool_walk(layer, source)
    rounding = _rounding(layer, [source])
    form = source.format
    maximum = layer.kind == "max"
    taps = 1 if maximum else prod(layer.kernel)
    gathered = _signed_bits(form.low * taps, form.high * taps) + 1
    factor = 1 if maximum else layer.reciprocal
    factor_width = _signed_bits(0, factor)
    counts = (walk.groups, walk.rows, walk.columns, walk.height, walk.width, *walk.kernel)
    return Engine(
        module="pool",
        parameters={
            **walk.loops,
            "CHANNELS": walk.groups,
            "COUNT": max(counts).bit_length(),
            "BANKS": banks,
            **_input(source, banks),
            **_output(layer.output, banks),
            "MAXIMUM": int(maximum),
            "SUM": gathered,
            "FACTOR_WIDTH": factor_width,
            "FACTOR": _literal(factor, factor_width),
            "RESULT": max(rounding.bits, gathered + factor_width),
            "HALF": _literal(rounding.half, max(rounding.bits, gathered + factor_width)),
            **rounding.parameters,
        },
        cycles=walk.groups * walk.windows * walk.taps + _POOL_DELAY,
    )


def _addition(layer: Add, sources: Sequence[Tensor], banks: int) -> Engine:
    rounding = _rounding(layer, sources)
    fraction = max(tensor.format.fraction for tensor in sources)
    parameters: dict[str, int | str] = {}
    for letter, tensor in zip("AB", sources, strict=True):
        parameters[f"{letter}_WIDTH"] = tensor.format.width
        parameters[f"{letter}_SIGNED"] = int(tensor.format.signed)
        parameters[f"{letter}_LEFT"] = fraction - tensor.format.fraction
    return Engine(
        module="addition",
        parameters={
            "BANKS": banks,
            "SIZE": layer.output.size,
            "ADDRESS": address_bits(layer.output.size, banks),
            **parameters,
            "OUT_WIDTH": layer.output.format.width,
            "SUM": rounding.bits + 1,
            "HALF": _literal(rounding.half, rounding.bits + 1),
            **rounding.parameters,
        },
        cycles=layer.output.size + _ADDITION_DELAY,
    )


def _gather(layer: Reorder, source: Tensor, banks: int) -> Engine:
    rounding = _rounding(layer, [source])
    return Engine(
        module="gather",
        parameters={
            "BANKS": banks,
            **_input(source, banks),
            **_output(layer.output, banks),
            "SUM": rounding.bits + 1,
            "HALF": _literal(rounding.half, rounding.bits + 1),
            **rounding.parameters,
        },
        tables={"ORDER_FILE": _table(layer.indices.tolist(), address_bits(source.size, banks))},
        cycles=layer.output.size + _GATHER_DELAY,
    )


def _rounding(layer: AnyLayer, sources: Sequence[Tensor]) -> _Rounding:
    accumulator = layer.accumulator(sources)
    shift = accumulator.fraction - layer.output.format.fraction
    half = 1 << (shift - 1) if shift > 0 else 0
    low, high = layer.bounds
    width = layer.output.format.width
    return _Rounding(
        half,
        _signed_bits(accumulator.low, accumulator.high + half),
        {"SHIFT": shift, "LOW": _literal(low, width + 1), "HIGH": _literal(high, width + 1)},
    )


def _input(source: Tensor, banks: int) -> dict[str, int | str]:
    return {
        "IN_WIDTH": source.format.width,
        "IN_SIGNED": int(source.format.signed),
        "IN_SIZE": source.size,
        "IN_ADDRESS": address_bits(source.size, banks),
    }


def _output(output: Tensor, banks: int) -> dict[str, int | str]:
    return {
        "OUT_WIDTH": output.format.width,
        "OUT_SIZE": output.size,
        "OUT_ADDRESS": address_bits(output.size, banks),
    }


def _signed_bits(low: int, high: int) -> int:
    """Bits of a two's complement that holds both."""
    return max(high.bit_length(), (-low - 1).bit_length() if low < 0 else 0) + 1


def _literal(number: int, bits: int) -> str:
    """A signed number in Verilog."""
    return f"{bits}'sh{number & ((1 << bits) - 1):x}"


def _packed(word: Sequence[int], bits: int) -> int:
    """Two's complements side by side, the first one lowest."""
    mask = (1 << bits) - 1
    return sum((number & mask) << (place * bits) for place, number in enumerate(word))


def _table(numbers: Sequence[int], bits: int) -> str:
    return "".join(f"{number & ((1 << bits) - 1):x}\n" for number in numbers)
