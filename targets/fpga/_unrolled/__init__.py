"""Every product of a network written out as sums of shifts, in a pipeline: one sample for each time its elements take.

da4ml shares the partial sums of a constant matrix product (Sun et al., "da4ml: Distributed Arithmetic for Real-time
Neural Networks on FPGAs", 2025) and writes each stage as Verilog. What the stages mean is said by the network of
integers: da4ml is given its formats, its rounding and its bounds, and every vector is compared.
"""

from __future__ import annotations

from math import prod
from pathlib import Path
from typing import TYPE_CHECKING, Any, NamedTuple

import numpy as np

from agent.runtimes._fixed.layers import Add, Conv, Dense, Pool, Reorder, windows
from targets._target import TargetError
from targets.fpga._core import Core

if TYPE_CHECKING:
    from numpy.typing import NDArray

    from agent.runtimes._fixed.formats import Format
    from agent.runtimes._fixed.layers import AnyLayer, Tensor
    from agent.runtimes._fixed.network import Network

    Values = Any  # da4ml's arrays of fixed-point variables, which ship no types

STAGES_FILE, ARITHMETIC_FILE, CORE_FILE = "stages.v", "arithmetic.v", "core.v"
_TOP = """\
// Elements in, the stages, elements out. The stages stand still while the answer before is not yet taken.
module core (
    input clk, input rst,
    input in_valid, output in_ready, input [{wide}:0] in_data, input in_last,
    output out_valid, input out_ready, output [{narrow}:0] out_data, output out_last
);
    reg [{taken_bits}:0] taken;
    reg [{last}:0] valid;
    reg [{rest}:0] rest;
    reg [{left_bits}:0] left;
    wire [{answer}:0] answer;

    wire busy = left != 0;
    wire go = !valid[{last}] || !busy;
    wire take = in_valid && in_ready;
    wire ending = taken == {inputs};
    wire full = take && ending;
    assign in_ready = !ending || !valid[0] || go;
    assign out_valid = busy;
    assign out_data = rest[{narrow}:0];
    assign out_last = left == 1;

{declared}

    always @(posedge clk) begin
        if (take) begin
{hold}            taken <= ending ? 0 : taken + 1;
        end
        if (full) bus0 <= {bus};
        if (go) begin
            valid <= {valid};
{moved}
        end else if (full) begin
            valid[0] <= 1;
        end
        if (go && valid[{last}]) begin
            rest <= {whole};
            left <= {outputs};
        end else if (busy && out_ready) begin
            rest <= {shifted_out};
            left <= left - 1;
        end
        if (rst) begin
            taken <= 0;
            valid <= 0;
            left <= 0;
        end
    end
endmodule
"""
MOST_PRODUCTS = 60_000
"""Multiplications that are written out; more would take da4ml and synthesis hours, and fit no device of ours."""


class Unrolled(NamedTuple):
    """The core, and what is known of it before synthesis."""

    core: Core
    adder_bits: int
    """Full adders and multiplexers, by da4ml's count after sharing."""
    register_bits: int
    """Of the pipeline, and of both ends."""
    stages: int


def products(network: Network) -> int:
    """Multiplications that are written out."""
    return sum(
        layer.weights.size * prod(layer.output.shape[1:] if isinstance(layer, Conv) else layer.output.shape[:-1])
        for layer in network.layers
        if isinstance(layer, Dense | Conv)
    )


def unroll(network: Network, folder: Path, levels: int) -> Unrolled:
    """The core of a network, its Verilog below `folder`; at most about `levels` additions follow each other in a cycle.

    Raises:
        TargetError: it has too many products to be written out, or a layer that can't be (``fpga.unrolled``).
    """
    from da4ml.codegen.rtl.verilog import comb_logic_gen
    from da4ml.trace import to_pipeline
    from da4ml.types import minimal_kif

    count = products(network)
    if count > MOST_PRODUCTS:
        raise TargetError(
            "fpga.unrolled",
            f"{count} products are too many to be written out: expected at most {MOST_PRODUCTS}",
            hint="set targets.fpga.architecture to 'sequential'",
        )
    pipeline: Any = to_pipeline(traced(network), levels, verbose=False)
    stages = [comb_logic_gen(part, f"stage{number}", timescale="") for number, part in enumerate(pipeline.solutions)]
    (folder / STAGES_FILE).write_text("\n".join(text.strip() + "\n" for text in stages), encoding="ascii")
    arithmetic = Path(__file__).with_name(ARITHMETIC_FILE).read_text(encoding="ascii")
    (folder / ARITHMETIC_FILE).write_text(arithmetic, encoding="ascii")
    buses = [sum(sum(minimal_kif(one)) for one in part.inp_qint) for part in pipeline.solutions]
    taken = _taken([minimal_kif(one) for one in pipeline.inp_qint], network.input.format)
    given, answer = _given([minimal_kif(one) for one in pipeline.out_qint], network.output.format)
    (folder / CORE_FILE).write_text(_top(network, [*buses, answer], taken, given), encoding="ascii")
    inputs, outputs = network.input.size, network.output.size
    ends = inputs * network.input.format.width + outputs * network.output.format.width
    core = Core(
        folder=folder,
        files=(ARITHMETIC_FILE, STAGES_FILE, CORE_FILE),
        in_width=network.input.format.width,
        in_count=inputs,
        in_signed=network.input.format.signed,
        out_width=network.output.format.width,
        out_count=outputs,
        out_signed=network.output.format.signed,
        latency_cycles=inputs + len(buses) + outputs - 1,
        interval_cycles=max(inputs, outputs + 1),
    )
    return Unrolled(core, round(pipeline.cost), sum(buses[1:]) + ends, len(buses))


def traced(network: Network) -> Any:  # noqa: ANN401 - da4ml ships no types
    """The network as da4ml's combinational logic, inputs and outputs in row-major order."""
    from da4ml.trace import FixedVariableArray, HWConfig, comb_trace

    form = network.input.format
    ones = np.ones(network.input.shape, np.int64)
    # Each addition counts as one level, whatever its width: carry chains are short beside the routing between them.
    start = FixedVariableArray.from_kif(
        ones * form.signed, ones * form.integer, ones * form.fraction, hwconf=HWConfig(1, -1, -1)
    )
    known: dict[str, Values] = {network.input.name: start}
    for layer in network.layers:
        sources = network.sources(layer)
        total = _accumulated(layer, sources, [known[name] for name in layer.sources])
        known[layer.output.name] = _bounded(total.reshape(layer.output.shape), layer)
    return comb_trace(start.ravel(), known[network.output.name].ravel(), keep_dead_inputs=True)


def _accumulated(layer: AnyLayer, sources: tuple[Tensor, ...], values: list[Values]) -> Values:
    from da4ml.trace import FixedVariableArray

    (first, *_) = values
    if isinstance(layer, Dense):
        bias = layer.bias * 2.0 ** -(sources[0].format.fraction + layer.weight_fraction)
        return first.reshape(-1, layer.weights.shape[0]) @ (layer.weights * 2.0**-layer.weight_fraction) + bias
    if isinstance(layer, Conv):
        return _convolved(layer, sources[0], first)
    if isinstance(layer, Pool):
        seen = _windows(first, layer.kernel, layer.strides, layer.pads, low=_least(layer, sources[0]))
        if layer.kind == "average":
            factor = layer.reciprocal * 2.0**-layer.reciprocal_fraction
            return FixedVariableArray(seen.reshape(-1, prod(layer.kernel))) @ np.full((prod(layer.kernel), 1), factor)
        rows = seen.reshape(-1, prod(layer.kernel))
        return FixedVariableArray(np.array([_largest(list(row)) for row in rows]))
    if isinstance(layer, Add):
        return first + values[1]
    if isinstance(layer, Reorder):
        return first.ravel()[layer.indices]
    raise TargetError(
        "fpga.unrolled",
        f"layer '{layer.name}' ({type(layer).__name__}) can't be written out",
        hint="set targets.fpga.architecture to 'sequential'",
    )


def _convolved(layer: Conv, source: Tensor, values: Values) -> Values:
    """One product a position, all of the same matrix."""
    from da4ml.trace import FixedVariableArray

    kernel = layer.weights.shape[2:]
    seen = _windows(values, kernel, layer.strides, layer.pads, layer.dilations)
    channels, *positions = seen.shape[: -len(kernel)]
    per = channels // layer.groups
    rows = np.moveaxis(seen.reshape(channels, prod(positions), prod(kernel)), 1, 0)
    matrices = layer.weights.reshape(layer.groups, -1, per * prod(kernel)).transpose(0, 2, 1)
    bias = layer.bias.reshape(layer.groups, -1) * 2.0 ** -(source.format.fraction + layer.weight_fraction)
    parts = []
    for group, matrix in enumerate(matrices):
        part = rows[:, group * per : (group + 1) * per].reshape(prod(positions), -1)
        total = FixedVariableArray(part) @ (matrix * 2.0**-layer.weight_fraction) + bias[group]
        parts.append(np.moveaxis(_variables(total), 0, 1))
    return FixedVariableArray(np.concatenate(parts))


def _windows(
    values: Values,
    kernel: tuple[int, ...],
    strides: tuple[int, ...],
    pads: tuple[int, ...],
    dilations: tuple[int, ...] | None = None,
    low: float = 0.0,
) -> NDArray[np.object_]:
    """What each window sees, shape (channels, *positions, *kernel); beyond the border stands `low`."""
    from da4ml.trace import FixedVariable

    inner = _variables(values)
    flat = [*inner.ravel(), FixedVariable.from_const(low, hwconf=values.hwconf)]
    # Numbers of the elements, counted from one, go through the windows; zero is what lies beyond the border.
    numbers = np.arange(1, inner.size + 1).reshape(1, *inner.shape)
    places = windows(numbers, kernel, strides, pads, dilations or (1,) * len(kernel), fill=0)[0]
    seen = np.empty(places.size, object)
    seen[:] = [flat[place - 1] for place in places.ravel()]
    return seen.reshape(places.shape)


def _least(layer: Pool, source: Tensor) -> float:
    return source.format.low * source.format.step if layer.kind == "max" else 0.0


def _largest(row: list[Any]) -> Any:  # noqa: ANN401 - da4ml ships no types
    """By halves, so that the comparisons make a tree."""
    while len(row) > 1:
        pairs = [first.max_of(second) for first, second in zip(row[::2], row[1::2], strict=False)]
        row = pairs + row[len(pairs) * 2 :]
    return row[0]


def _bounded(total: Values, layer: AnyLayer) -> Values:
    """Rounded, halves upwards, and kept within the layer's bounds."""
    from da4ml.trace import FixedVariableArray

    form = layer.output.format
    low, high = layer.bounds
    rounded = total.quantize(int(form.signed), form.integer, form.fraction, "SAT", "RND")
    variables = list(_variables(rounded).ravel())
    if low > form.low:
        variables = [one.max_of(low * form.step) for one in variables]
    if high < form.high:
        variables = [one.min_of(high * form.step) for one in variables]
    return FixedVariableArray(np.array(variables).reshape(layer.output.shape))


def _variables(values: Values) -> NDArray[np.object_]:
    found: NDArray[np.object_] = values._vars  # noqa: SLF001 - da4ml has no public door to the variables of an array
    return found


def _taken(formats: list[tuple[int, int, int]], form: Format) -> list[str]:
    """The bits of the first stage's bus, lowest element first: of each element those that its logic reads."""
    parts = []
    for place, (sign, integer, fraction) in enumerate(formats):
        width = sign + integer + fraction
        if width:
            low = place * form.width + form.fraction - fraction
            parts.append(f"sample[{low + width - 1}:{low}]")
    return parts


def _given(formats: list[tuple[int, int, int]], form: Format) -> tuple[list[str], int]:
    """The output's elements in full width, lowest first, from the last stage's bus, and the bits of that."""
    parts: list[str] = []
    low = 0
    for sign, integer, fraction in formats:
        width = sign + integer + fraction
        right = form.fraction - fraction
        left = form.width - width - right
        pieces = []
        if left:
            fill = f"answer[{low + width - 1}]" if sign and width else "1'b0"
            pieces.append(f"{{{left}{{{fill}}}}}")
        if width:
            pieces.append(f"answer[{low + width - 1}:{low}]")
        if right:
            pieces.append(f"{right}'d0")
        parts.append("{" + ", ".join(pieces) + "}")
        low += width
    return parts, max(low, 1)


def _joined(parts: list[str]) -> str:
    """A concatenation; Verilog names the highest part first."""
    return "{\n        " + ",\n        ".join(reversed(parts)) + "\n    }"


def _top(network: Network, buses: list[int], taken: list[str], given: list[str]) -> str:
    """The module ``core``: elements in, the stages, elements out."""
    inputs, outputs = network.input.size, network.output.size
    wide, narrow = network.input.format.width, network.output.format.width
    *buses, answer = buses
    last = len(buses) - 1
    declared = [f"    reg [{buses[0] - 1}:0] bus0;"]
    moved = []
    for number, width in enumerate(buses[1:], start=1):
        declared += [f"    reg [{width - 1}:0] bus{number};", f"    wire [{width - 1}:0] result{number - 1};"]
        moved.append(f"            bus{number} <= result{number - 1};")
    results = [f"result{number}" for number in range(last)] + ["answer"]
    declared += [
        f"    stage{number} stage{number} (.model_inp(bus{number}), .model_out({result}));"
        for number, result in enumerate(results)
    ]
    held = f"    reg [{(inputs - 1) * wide - 1}:0] held;\n" if inputs > 1 else ""
    declared.append(
        f"{held}    wire [{inputs * wide - 1}:0] sample = {'{in_data, held}' if inputs > 1 else 'in_data'};"
    )
    return _TOP.format(
        wide=wide - 1,
        narrow=narrow - 1,
        rest=outputs * narrow - 1,
        taken_bits=max((inputs - 1).bit_length(), 1) - 1,
        left_bits=outputs.bit_length() - 1,
        inputs=inputs - 1,
        outputs=outputs,
        last=last,
        answer=answer - 1,
        declared="\n".join(declared),
        moved="\n".join(moved),
        bus=_joined(taken),
        hold=f"            held <= sample[{inputs * wide - 1}:{wide}];\n" if inputs > 1 else "",
        shifted_out=f"rest >> {narrow}",
        valid="{valid[" + str(last - 1) + ":0], full}" if last else "full",
        whole=_joined(given),
    )
