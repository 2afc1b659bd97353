"""The core of a tree ensemble: all comparisons at once, a leaf of each tree, and their sums, in a pipeline.

Stages: the features' ranks, one a beat; each comparison once, however many nodes ask it; each tree's leaf, as a number;
what the leaf says; then sums of two, level by level. Nothing moves while the output can't take a result.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, NamedTuple

import numpy as np

from agent.runtimes._fixed.layers import Trees
from targets.fpga._core import Core

if TYPE_CHECKING:
    from pathlib import Path

    from agent.runtimes._fixed.network import Network

_HEAD = """\
// A tree ensemble: {trees} trees, {nodes} nodes, {questions} comparisons that differ.
module core (
    input clk,
    input rst,
    input in_valid,
    output in_ready,
    input [{in_high}:0] in_data,
    input in_last,
    output out_valid,
    input out_ready,
    output [{out_high}:0] out_data,
    output out_last
);
    // A sample enters, element after element; one that ends before its last element is forgotten.
    reg [{all_high}:0] features;
    reg [{count_high}:0] entered;
    reg [{stages}:0] stage;
    reg busy;
    reg [{left_high}:0] left;
    wire leaves = busy && out_ready && left == 0;
    wire go = !stage[{stages}] || !busy || leaves;
    wire last_in = entered == {last_in};
    wire take = in_valid && in_ready;
    assign in_ready = !rst && (!stage[0] || go);
    always @(posedge clk) begin
        if (rst) begin
            entered <= 0;
            stage <= 0;
        end else begin
            if (take) entered <= (last_in || in_last) ? 0 : entered + 1;
            if (go) stage <= {{stage[{stages_before}:0], 1'b0}};
            if (take && last_in) stage[0] <= 1;
        end
    end
    always @(posedge clk) begin
        if (take) features[entered*{width} +: {width}] <= in_data;
    end
"""
_TAIL = """\
    // The scores leave, one after another.
    reg [{scores_high}:0] scores;
    assign out_valid = busy;
    assign out_data = scores[{out_high}:0];
    assign out_last = left == 0;
    always @(posedge clk) begin
        if (rst) begin
            busy <= 0;
        end else if (go && stage[{stages}]) begin
            busy <= 1;
            left <= {last_out};
        end else if (busy && out_ready) begin
            busy <= left != 0;
            left <= left - 1;
        end
    end
    always @(posedge clk) begin
        if (go && stage[{stages}]) scores <= {{{joined}}};
        else if (busy && out_ready) scores <= scores >> {out_width};
    end
endmodule
"""


class _Term(NamedTuple):
    """A signed number in a register, and between what it lies."""

    name: str
    low: int
    high: int


def write_trees(network: Network, folder: Path) -> Core:
    """Write the core of a network whose only layer is a tree ensemble that rounds nothing.

    Args:
        network: as `read_trees` makes it.
        folder: where its files go; it exists.
    """
    (layer,) = network.layers
    if not isinstance(layer, Trees):
        raise TypeError(f"expected a tree ensemble, got {type(layer).__name__}")
    form, held = network.output.format, layer.accumulator([network.input])
    if (
        form.fraction != held.fraction
        or form.low > held.low
        or form.high < held.high
        or layer.bounds
        != (
            form.low,
            form.high,
        )
    ):
        raise ValueError(f"a tree ensemble rounds nothing here: expected the format {held}, got {form}")
    writer = _Trees(layer, network)
    levels = writer.write()
    stages = 3 + levels
    (folder / "core.v").write_text(writer.text(stages), encoding="ascii")
    return Core(
        folder=folder,
        files=("core.v",),
        in_width=network.input.format.width,
        in_count=network.input.size,
        in_signed=False,
        out_width=form.width,
        out_count=network.output.size,
        out_signed=form.signed,
        latency_cycles=network.input.size + stages + network.output.size,
        interval_cycles=max(network.input.size, network.output.size),
    )


class _Trees:
    """Writes the stages between input and output."""

    def __init__(self, layer: Trees, network: Network) -> None:
        self._layer = layer
        self._network = network
        self._width = network.input.format.width
        self._absent = network.input.format.high
        keys = zip(*(array.tolist() for array in (layer.feature, layer.least, layer.most, layer.missing)), strict=True)
        self._asked: dict[tuple[int, int, int, int], int] = {}
        self._node = [self._asked.setdefault(key, len(self._asked)) for key in keys]
        self._lines: list[str] = []
        self._scores: list[str] = []

    def write(self) -> int:
        """Write all stages; gives the number of levels of sums."""
        self._compare()
        terms: list[list[_Term]] = [[] for _ in self._layer.bias]
        for tree, root in enumerate(self._layer.roots.tolist()):
            self._tree(tree, root, terms)
        levels = max((len(entries) - 1).bit_length() if entries else 0 for entries in terms)
        for score, entries in enumerate(terms):
            self._sum(score, entries, levels)
        return levels

    def text(self, stages: int) -> str:
        """The whole file."""
        network = self._network
        count, out = network.input.size, network.output.format.width
        head = _HEAD.format(
            trees=len(self._layer.roots),
            nodes=len(self._node),
            questions=len(self._asked),
            in_high=self._width - 1,
            out_high=out - 1,
            all_high=count * self._width - 1,
            count_high=max((count - 1).bit_length(), 1) - 1,
            left_high=max((network.output.size - 1).bit_length(), 1) - 1,
            stages=stages,
            stages_before=stages - 1,
            last_in=count - 1,
            width=self._width,
        )
        tail = _TAIL.format(
            scores_high=network.output.size * out - 1,
            out_high=out - 1,
            stages=stages,
            last_out=network.output.size - 1,
            joined=", ".join(reversed(self._scores)),
            out_width=out,
        )
        return head + "\n".join(self._lines) + "\n" + tail

    def _compare(self) -> None:
        """Each comparison: of a rank with what it must be at least and at most."""
        lines = [f"    reg [{len(self._asked) - 1}:0] answer;", "    always @(posedge clk) if (go) begin"]
        for (feature, least, most, missing), place in self._asked.items():
            rank = f"features[{feature * self._width} +: {self._width}]"
            parts = []
            if least <= most:
                inside = [f"{rank} >= {least}"] if least > 0 else []
                inside.append(f"{rank} <= {most}")
                parts.append(f"{rank} == {least}" if least == most else " && ".join(inside))
            if missing:
                parts.append(f"{rank} == {self._absent}")
            lines.append(f"        answer[{place}] <= {' || '.join(f'({part})' for part in parts) or '0'};")
        self._lines += [*lines, "    end"]

    def _tree(self, tree: int, root: int, terms: list[list[_Term]]) -> None:
        """The number of the leaf that is reached, and what that leaf says of each score."""
        layer = self._layer
        leaves = layer.leaves_of(root)
        number = {leaf: place for place, leaf in enumerate(leaves)}
        bits = max((len(leaves) - 1).bit_length(), 1)

        def child(at: int) -> str:
            return f"node{at}" if at >= 0 else f"{bits}'d{number[-1 - at]}"

        inner = _inner(layer, root)
        lines = [f"    wire [{bits - 1}:0] node{at};" for at in inner]
        lines += [
            f"    assign node{at} = answer[{self._node[at]}] ? {child(yes)} : {child(no)};"
            for at, yes, no in ((at, int(layer.yes[at]), int(layer.no[at])) for at in inner)
        ]
        lines.append(
            f"    reg [{bits - 1}:0] leaf{tree};\n    always @(posedge clk) if (go) leaf{tree} <= {child(root)};"
        )
        values = layer.leaves[leaves]
        cases: list[list[str]] = [[] for _ in leaves]
        for score in np.flatnonzero(values.any(axis=0)).tolist():
            column = values[:, score]
            term = _Term(f"said{tree}_{score}", int(column.min()), int(column.max()))
            terms[score].append(term)
            width = _signed_bits(term.low, term.high)
            lines.append(f"    reg signed [{width - 1}:0] {term.name};")
            for case, code in zip(cases, column.tolist(), strict=True):
                case.append(f"{term.name} <= {_literal(code, width)};")
        lines.append(f"    always @(posedge clk) if (go) case (leaf{tree})")
        for place, case in enumerate(cases):
            label = f"{bits}'d{place}" if place < len(cases) - 1 else "default"
            lines.append(f"        {label}: begin {' '.join(case)} end")
        self._lines += [*lines, "    endcase"]

    def _sum(self, score: int, terms: list[_Term], levels: int) -> None:
        """The sum of the terms in so many levels, each a register; the bias goes in with the last one."""
        bias = int(self._layer.bias[score])
        terms = list(terms)
        for level in range(levels):
            last = level == levels - 1
            pairs = [terms[index : index + 2] for index in range(0, len(terms), 2)] or [[]]
            following = []
            for place, pair in enumerate(pairs):
                add = bias if last else 0
                low, high = sum(term.low for term in pair) + add, sum(term.high for term in pair) + add
                name = f"sum{score}_{level}_{place}"
                width = _signed_bits(min(low, 0), max(high, 0))
                said = " + ".join(term.name for term in pair) or "0"
                said += f" + {_literal(add, _signed_bits(add, add))}" if add else ""
                self._lines.append(
                    f"    reg signed [{width - 1}:0] {name};\n    always @(posedge clk) if (go) {name} <= {said};"
                )
                following.append(_Term(name, low, high))
            terms = following
        out = self._network.output.format.width
        said = " + ".join(term.name for term in terms) or "0"
        if levels == 0 and bias:
            said += f" + {_literal(bias, _signed_bits(bias, bias))}"
        self._lines.append(f"    wire signed [{out}:0] score{score} = {said};")
        self._scores.append(f"score{score}[{out - 1}:0]")


def _inner(layer: Trees, root: int) -> list[int]:
    """The nodes of a tree, each once."""
    found: dict[int, None] = {}
    waiting = [root]
    while waiting:
        at = waiting.pop()
        if at >= 0 and at not in found:
            found[at] = None
            waiting += [int(layer.no[at]), int(layer.yes[at])]
    return list(found)


def _signed_bits(low: int, high: int) -> int:
    return max(high.bit_length(), (-low - 1).bit_length() if low < 0 else 0) + 1


def _literal(number: int, bits: int) -> str:
    return f"{bits}'sh{number & ((1 << bits) - 1):x}"
