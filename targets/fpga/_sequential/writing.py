"""The core of a network whose layers take turns at few multipliers: one engine a layer, a buffer between each two."""

from __future__ import annotations

import shutil
from pathlib import Path
from typing import TYPE_CHECKING, NamedTuple

import numpy as np

from agent.runtimes._fixed.layers import Reorder
from targets.fpga._core import Core
from targets.fpga._sequential.engines import address_bits, engine_of
from targets.fpga._sequential.timing import Stage, pace

if TYPE_CHECKING:
    from agent.runtimes._fixed.layers import AnyLayer, Tensor
    from agent.runtimes._fixed.network import Network
    from targets.fpga._sequential.engines import Engine
    from targets.fpga._sequential.lanes import Plan

_LIBRARY = Path(__file__).parent
_NEEDED = {
    "product": ("window", "saturate"),
    "pool": ("window", "saturate"),
    "addition": ("saturate",),
    "gather": ("saturate",),
}
"""What modules are made of."""
_PORTS = """
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
"""


class _Reader(NamedTuple):
    """Who reads a buffer: an engine by its number and its port, or the stream."""

    engine: int | None
    port: str


def write_sequential(network: Network, folder: Path, plan: Plan, *, banks: int = 2) -> Core:
    """Write the core's Verilog and tables into a folder.

    Args:
        network: what it computes.
        folder: where its files go; it exists.
        plan: multipliers of each layer.
        banks: 2: every engine works on a sample of its own; 1: half the memory, and one sample after the other.
    """
    layers, buffers, names = _laid_out(network)
    sources = [tuple(network.tensors()[names[name]] for name in layer.sources) for layer in layers]
    engines = [engine_of(layer, read, banks, plan) for layer, read in zip(layers, sources, strict=True)]
    readers: dict[str, list[_Reader]] = {name: [] for name in buffers}
    for index, read in enumerate(sources):
        for place, tensor in enumerate(read):
            readers[tensor.name].append(_Reader(index, "ab"[place] if len(read) > 1 else ""))
    leave = names[network.output.name]
    readers[leave].append(_Reader(None, ""))

    data = []
    for index, engine in enumerate(engines):
        for parameter, table in engine.tables.items():
            name = f"{_table_name(index, parameter)}.hex"
            (folder / name).write_text(table, encoding="ascii")
            data.append(name)
    modules = {"tensor_buffer", "stream_input", "stream_output"}
    for engine in engines:
        modules |= {engine.module, *_NEEDED[engine.module]}
    files = [f"{name}.v" for name in sorted(modules)]
    for name in files:
        shutil.copyfile(_LIBRARY / name, folder / name)
    writer = _Top(network, buffers, readers, banks)
    (folder / "core.v").write_text(writer.text(layers, engines, names), encoding="ascii")

    stages = [
        Stage(tuple(tensor.name for tensor in read), layer.output.name, engine.cycles)
        for layer, read, engine in zip(layers, sources, engines, strict=True)
    ]
    sizes = {name: tensor.size for name, tensor in buffers.items()}
    found = pace(stages, sizes, banks, (network.input.name, leave))
    return Core(
        folder=folder,
        files=(*files, "core.v"),
        data=tuple(data),
        in_width=network.input.format.width,
        in_count=network.input.size,
        in_signed=network.input.format.signed,
        out_width=network.output.format.width,
        out_count=network.output.size,
        out_signed=network.output.format.signed,
        latency_cycles=found.latency,
        interval_cycles=found.interval,
    )


def _laid_out(network: Network) -> tuple[list[AnyLayer], dict[str, Tensor], dict[str, str]]:
    """The layers that need an engine, the tensors that need a buffer, and the buffer in which each tensor stands."""
    wanted = {network.output.name}
    for layer in reversed(network.layers):
        if layer.output.name in wanted:
            wanted.update(layer.sources)
    names = {network.input.name: network.input.name}
    buffers = {network.input.name: network.input}
    layers: list[AnyLayer] = []
    for layer in network.layers:
        if layer.output.name not in wanted:
            continue
        if _is_same(layer, network.sources(layer)[0]):
            names[layer.output.name] = names[layer.sources[0]]
            continue
        names[layer.output.name] = layer.output.name
        buffers[layer.output.name] = layer.output
        layers.append(layer)
    return layers, buffers, names


def _is_same(layer: AnyLayer, source: Tensor) -> bool:
    """Whether a layer changes nothing but the shape."""
    form = source.format
    return (
        isinstance(layer, Reorder)
        and layer.output.format == form
        and layer.bounds == (form.low, form.high)
        and layer.output.size == source.size
        and bool((layer.indices == np.arange(source.size)).all())
    )


def _table_name(engine: int, parameter: str) -> str:
    return f"engine{engine}_{parameter.removesuffix('_FILE').lower()}"


class _Top:
    """Writes ``core.v``: engine i is ``engine<i>``, and the buffer of the j-th tensor has wires called ``t<j>_...``."""

    def __init__(
        self, network: Network, buffers: dict[str, Tensor], readers: dict[str, list[_Reader]], banks: int
    ) -> None:
        self._network = network
        self._buffers = buffers
        self._readers = readers
        self._banks = banks
        self._place = {name: f"t{index}" for index, name in enumerate(buffers)}

    def text(self, layers: list[AnyLayer], engines: list[Engine], names: dict[str, str]) -> str:
        """The whole file."""
        network = self._network
        ports = _PORTS.format(in_high=network.input.format.width - 1, out_high=network.output.format.width - 1)
        parts = [f"module core ({ports});", *map(self._buffer, self._buffers), self._input()]
        for index, (layer, engine) in enumerate(zip(layers, engines, strict=True)):
            parts.append(self._engine(index, layer, engine, names))
        parts.append(self._output(names[network.output.name]))
        return "\n".join([*parts, "endmodule\n"])

    def _shape(self, name: str) -> dict[str, int | str]:
        tensor = self._buffers[name]
        return {
            "WIDTH": tensor.format.width,
            "SIZE": tensor.size,
            "BANKS": self._banks,
            "ADDRESS": address_bits(tensor.size, self._banks),
        }

    def _buffer(self, name: str) -> str:
        place, readers = self._place[name], self._readers[name]
        tensor = self._buffers[name]
        address, width, count = address_bits(tensor.size, self._banks) - 1, tensor.format.width - 1, len(readers)
        wires = [f"    wire {place}_write, {place}_written, {place}_writable;"]
        wires.append(f"    wire [{address}:0] {place}_write_address;\n    wire [{width}:0] {place}_write_data;")
        for index in range(count):
            port = f"{place}_{index}"
            wires.append(f"    wire {port}_released, {port}_readable, {port}_hold;")
            wires.append(f"    wire [{address}:0] {port}_address;\n    wire [{width}:0] {port}_data;")

        def joined(suffix: str) -> str:
            return "{" + ", ".join(f"{place}_{index}_{suffix}" for index in reversed(range(count))) + "}"

        connections = {
            **self._written(name),
            "read_address": joined("address"),
            "hold": joined("hold"),
            "read_data": joined("data"),
            "released": joined("released"),
            "readable": joined("readable"),
        }
        shape = self._shape(name) | {"READERS": count}
        return "\n".join([*wires, _instance("tensor_buffer", f"{place}_buffer", shape, connections)])

    def _written(self, name: str) -> dict[str, str]:
        place = self._place[name]
        return {port: f"{place}_{port}" for port in ("write", "write_address", "write_data", "written", "writable")}

    def _input(self) -> str:
        name = self._network.input.name
        stream = {port: port for port in ("in_valid", "in_ready", "in_data", "in_last")}
        return _instance("stream_input", "entry", self._shape(name), stream | self._written(name))

    def _engine(self, index: int, layer: AnyLayer, engine: Engine, names: dict[str, str]) -> str:
        parameters = dict(engine.parameters)
        for parameter in engine.tables:
            parameters[parameter] = f'"{_table_name(index, parameter)}.hex"'
        connections = self._written(layer.output.name)
        connections["released"] = released = f"engine{index}_released"
        lines = [f"    wire {released};"]
        reads = [
            (reader.port, f"{self._place[name]}_{number}")
            for name in dict.fromkeys(names[source] for source in layer.sources)
            for number, reader in enumerate(self._readers[name])
            if reader.engine == index
        ]
        for port, wire in reads:
            prefix = f"{port}_" if port else ""
            connections[f"{prefix}readable"] = f"{wire}_readable"
            connections[f"{prefix}data" if port else "read_data"] = f"{wire}_data"
            lines.append(f"    assign {wire}_released = {released};\n    assign {wire}_hold = 1'b0;")
        first, *others = (wire for _, wire in reads)
        connections["read_address"] = f"{first}_address"
        lines += [f"    assign {other}_address = {first}_address;" for other in others]
        return "\n".join([*lines, _instance(engine.module, f"engine{index}", parameters, connections)])

    def _output(self, name: str) -> str:
        wire = f"{self._place[name]}_{len(self._readers[name]) - 1}"
        stream = {port: port for port in ("out_valid", "out_ready", "out_data", "out_last")}
        reading = {
            "readable": f"{wire}_readable",
            "read_address": f"{wire}_address",
            "hold": f"{wire}_hold",
            "read_data": f"{wire}_data",
            "released": f"{wire}_released",
        }
        return _instance("stream_output", "leave", self._shape(name), stream | reading)


def _instance(module: str, name: str, parameters: dict[str, int | str], connections: dict[str, str]) -> str:
    given = ", ".join(f".{key}({value})" for key, value in parameters.items())
    wired = ", ".join(f".{key}({value})" for key, value in ({"clk": "clk", "rst": "rst"} | connections).items())
    return f"    {module} #(\n        {given}\n    ) {name} (\n        {wired}\n    );"
