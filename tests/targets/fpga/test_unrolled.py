"""Products written out: the Verilog computes what the network of integers says, in every simulator cycle."""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np
import pytest

from agent.runtimes._fixed.formats import Format
from targets._target import TargetError
from targets.fpga._hardware.simulation import simulate
from targets.fpga._unrolled import products, unroll
from tests.targets.fpga.integer_networks import Builder

if TYPE_CHECKING:
    from collections.abc import Callable
    from pathlib import Path

    from agent.runtimes._fixed.network import Network

S5, S7, U6 = Format(signed=True, integer=2, fraction=2), Format(signed=True, integer=4, fraction=2), Format(False, 4, 2)  # noqa: FBT003 - a format is written so


def dense() -> Network:
    builder = Builder((5,), S5, seed=1)
    builder.dense(6, U6, low=0)
    builder.dense(3, S7)
    return builder.network()


def rounding() -> Network:
    """An output far coarser than the accumulator, and one finer than it."""
    builder = Builder((4,), S5, seed=2)
    builder.dense(4, Format(signed=True, integer=6, fraction=-3))
    builder.dense(2, Format(signed=True, integer=6, fraction=12), fraction=1)
    return builder.network()


def single() -> Network:
    builder = Builder((1,), S5, seed=3)
    builder.dense(1, S7)
    return builder.network()


def residual() -> Network:
    builder = Builder((2, 4, 3), S5, seed=4)
    builder.conv(2, (3, 2), U6, strides=(2, 1), pads=(1, 0, 1, 1))
    first = builder.newest
    builder.conv(2, (1, 1), S7, groups=2)
    builder.add(first, S7)
    builder.pool("max", (2, 2), S7, strides=(1, 1), pads=(1, 0, 0, 1))
    return builder.network()


def means() -> Network:
    builder = Builder((2, 6), U6, seed=5)
    builder.pool("average", (3,), S7, strides=(3,))
    builder.reorder(np.array([3, 1, 2, 0]), (4,))
    builder.dense(2, S5)
    return builder.network()


def sequence() -> Network:
    """A product along the last axis of several."""
    builder = Builder((3, 4), S5, seed=6)
    builder.dense(2, S7)
    return builder.network()


def check(network: Network, folder: Path, levels: int, pauses: int) -> None:
    made = unroll(network, folder, levels)
    generator = np.random.default_rng(0)
    form = network.input.format
    codes = generator.integers(form.low, form.high, (24, *network.input.shape), endpoint=True)
    codes[0], codes[1] = form.low, form.high
    wanted = network.run(codes).reshape(24, -1)
    found = simulate(made.core, codes.reshape(24, -1), wanted, pauses=pauses)
    assert found.mismatch is None
    if not pauses:
        assert found.latency_cycles == made.core.latency_cycles
        assert found.interval_cycles <= made.core.interval_cycles


@pytest.mark.parametrize("build", [dense, rounding, single, residual, means, sequence])
def test_the_verilog_is_the_network(build: Callable[[], Network], tmp_path: Path) -> None:
    check(build(), tmp_path, 4, pauses=1)


@pytest.mark.parametrize("levels", [1, 3, 50])
def test_a_pipeline_of_any_depth_keeps_the_times_that_it_claims(levels: int, tmp_path: Path) -> None:
    check(dense(), tmp_path, levels, pauses=0)


def test_the_same_network_gives_the_same_verilog(tmp_path: Path) -> None:
    texts = []
    for name in ("a", "b"):
        folder = tmp_path / name
        folder.mkdir()
        made = unroll(dense(), folder, 3)
        texts.append([path.read_text() for path in made.core.sources])
    assert texts[0] == texts[1]


def test_bounds_inside_the_format_are_kept(tmp_path: Path) -> None:
    import msgspec

    network = dense()
    bounded = msgspec.structs.replace(network.layers[0], low=3, high=20)
    check(msgspec.structs.replace(network, layers=(bounded, *network.layers[1:])), tmp_path, 4, pauses=0)


def test_products_are_counted_at_every_position() -> None:
    network = residual()
    first = network.layers[0]
    positions = first.output.shape[1] * first.output.shape[2]
    assert products(network) == positions * (2 * 2 * 6 + 2)


def test_too_many_products_are_refused_with_their_number(tmp_path: Path) -> None:
    builder = Builder((300,), S5)
    builder.dense(300, S7)
    with pytest.raises(TargetError, match="90000 products are too many"):
        unroll(builder.network(), tmp_path, 4)
