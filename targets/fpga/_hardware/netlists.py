"""What Yosys made of a design, in simulation: its cells by the models that come with Yosys, and by ours."""

from __future__ import annotations

import re
from pathlib import Path
from typing import TYPE_CHECKING

from targets._target import TargetError
from targets.fpga._hardware.simulation import Source
from targets.fpga._hardware.tools import yosys_library

if TYPE_CHECKING:
    from targets.fpga._hardware.devices import Family
    from targets.fpga._hardware.synthesis import Design, Netlist

_OURS = Path(__file__).with_name("models")
_LIBRARY: dict[Family, tuple[str, ...]] = {
    "ecp5": ("ecp5/common_sim.vh", "ecp5/ccu2c_sim.vh"),
    "ice40": ("ice40/cells_sim.v",),
    "gowin": ("gowin/cells_sim.v",),
}
_BUFFER = r"""module \$_TBUF_ (input A, input E, output Y);
    assign Y = E ? A : 1'bz;
endmodule
"""
_CELLS = "cells.v"
_MODULE = re.compile(r"^module\s+(\\?[\w$]+)\b.*?^endmodule\b", re.MULTILINE | re.DOTALL)
_BLACK_BOX = re.compile(r"\(\*\s*blackbox\s*\*\)\s*$")


def netlist_source(netlist: Netlist) -> Source:
    """The files by which the netlist's module ``core``, or its top module, is simulated.

    Of Yosys' library, only the modules that the netlist needs are taken: others use what simulators don't know.

    Raises:
        TargetError: the netlist has cells without a model (``fpga.model``).
    """
    family = netlist.design.place.device.family
    known = {r"$_TBUF_": _BUFFER}
    heads = ["`define NO_ICE40_DEFAULT_ASSIGNMENTS", "`define NO_INCLUDES"]
    for name in _LIBRARY[family]:
        text = (yosys_library() / name).read_text(encoding="utf-8")
        known |= _modules(text)
        heads.append(_MODULE.sub("", text))
    ours = _OURS / f"{family}.v"
    if ours.is_file():
        known |= _modules(ours.read_text(encoding="utf-8"))
    wanted = [name for name in netlist.counts if name not in {"$scopeinfo", "core"}]
    lacking = [name for name in wanted if name not in known]
    if lacking:
        raise TargetError(
            "fpga.model",
            f"the netlist can't be simulated: no model is known of {', '.join(lacking)} on '{family}'",
            hint="choose a device of ECP5 or iCE40, whose cells are all known",
        )
    chosen: list[str] = []
    while wanted:
        name = wanted.pop()
        if name in chosen:
            continue
        chosen.append(name)
        words = set(re.findall(r"\w+", known[name]))
        wanted += [other for other in known if other in words and other not in chosen]
    path = netlist.design.folder / _CELLS
    path.write_text("\n".join([*heads, *(known[name] for name in sorted(chosen))]) + "\n", encoding="utf-8")
    return Source((path, netlist.path))


def design_source(design: Design) -> Source:
    """The files by which the top module of a design is simulated as it was written, before synthesis."""
    ours = _OURS / f"{design.place.device.family}.v"
    return Source((*(design.folder / name for name in design.files), *((ours,) if ours.is_file() else ())))


def _modules(text: str) -> dict[str, str]:
    """The modules of a library by their names, without black boxes."""
    return {
        found.group(1).removeprefix("\\"): found.group()
        for found in _MODULE.finditer(text)
        if not _BLACK_BOX.search(text, 0, found.start())
    }
