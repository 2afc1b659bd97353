"""What hls4ml and conifer make of the models of `bench.fpga`, emulated by g++ in an environment of their own."""

from __future__ import annotations

import os
import pickle
import subprocess
import tempfile
from math import ceil, log2
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np

from agent.runtimes._fixed.formats import Format
from agent.runtimes._fixed.layers import Dense, Tensor
from agent.runtimes._fixed.network import Network
from bench.fpga_models import PEERS
from bench.real_models import cache
from targets.fpga._unrolled import unroll

if TYPE_CHECKING:
    from bench.fpga_models import Trained

HLS4ML, CONIFER = "1.3.0", "1.11"
WIDTHS = (6, 8, 10, 12)
PRECISIONS = ("ap_fixed<18,8>", "ap_fixed<32,14>")
"""conifer's own, and one that holds the features."""
_LEVELS = 5


def hls4ml_rows(trained: Trained, ours: Network) -> dict[str, object]:
    """Accuracy of hls4ml at each uniform width, the bits left of the point being those of the largest value."""
    layers = [layer for layer in ours.layers if isinstance(layer, Dense)]
    matrices = [_initializer(trained, place) for place in range(len(layers))]
    at, largest = trained.seen.astype(np.float64), 1.0
    for place, (weights, bias) in enumerate(matrices):
        at = at @ weights + bias
        largest = max(largest, float(np.abs(at).max()))
        at = at if place == len(matrices) - 1 else np.maximum(at, 0)
    whole = ceil(log2(largest)) + 1
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        arrays = {f"w{place}": weights for place, (weights, _) in enumerate(matrices)}
        arrays |= {f"b{place}": bias for place, (_, bias) in enumerate(matrices)}
        np.savez(folder / "data.npz", x=trained.x, **arrays)
        _run("fpga_hls4ml.py", folder, [str(whole), *map(str, WIDTHS)])
        found = np.load(folder / "found.npz")
        rows: dict[str, object] = {"ours": {"estimated_luts": _luts(ours)}}
        for width in WIDTHS:
            form = Format(signed=True, integer=whole - 1, fraction=width - whole)
            rows[f"hls4ml {HLS4ML} ap_fixed<{width},{whole}>"] = {
                "accuracy_fixed": round(float((found[f"y{width}"].argmax(axis=1) == trained.y).mean()), 4),
                "estimated_luts": _luts(_uniform(matrices, form)),
            }
    return rows


def conifer_rows(trained: Trained, wanted: np.ndarray) -> dict[str, object]:
    """Accuracy of conifer at each precision, and how often its class is that of onnxruntime."""
    rows: dict[str, object] = {}
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        (folder / "model.pickle").write_bytes(pickle.dumps(trained.source))
        np.savez(folder / "data.npz", x=trained.x)
        _run("fpga_conifer.py", folder, list(PRECISIONS))
        found = np.load(folder / "found.npz")
        for place, precision in enumerate(PRECISIONS):
            classes = (found[f"y{place}"].ravel() > 0).astype(int)
            rows[f"conifer {CONIFER} {precision}"] = {
                "accuracy_fixed": round(float((classes == trained.y).mean()), 4),
                "same_class": round(float((classes == wanted).mean()), 4),
            }
    return rows


def _initializer(trained: Trained, place: int) -> tuple[np.ndarray, np.ndarray]:
    from onnx import numpy_helper

    held = {entry.name: numpy_helper.to_array(entry) for entry in trained.model.graph.initializer}
    return held[f"w{place}"], held[f"b{place}"]


def _uniform(matrices: list[tuple[np.ndarray, np.ndarray]], form: Format) -> Network:
    """The network of integers that hls4ml's types stand for, weights cut off as its constants are."""
    from agent.runtimes._fixed.host import Port

    at = start = Tensor("x", (len(matrices[0][0]),), form)
    layers = []
    for place, (weights, bias) in enumerate(matrices):
        output = Tensor(f"y{place}", (weights.shape[1],), form)
        codes = np.clip(np.floor(weights * 2.0**form.fraction), form.low, form.high).astype(np.int64)
        layers.append(
            Dense(
                name=output.name,
                sources=(at.name,),
                output=output,
                low=None if place == len(matrices) - 1 else 0,
                weights=codes,
                weight_fraction=form.fraction,
                bias=np.floor(bias * 2.0 ** (2 * form.fraction)).astype(np.int64),
            )
        )
        at = output
    port = Port(name="x", dtype="float32", shape=start.shape)
    return Network(input=start, layers=tuple(layers), output=at, accepts=port, returns=port)


def _luts(network: Network) -> int:
    with tempfile.TemporaryDirectory() as name:
        return unroll(network, Path(name), _LEVELS).adder_bits


def _run(script: str, folder: Path, arguments: list[str]) -> None:
    python = _environment()
    site = next((python.parents[1] / "lib").glob("python*/site-packages"))
    environment = os.environ | {
        # conifer's wheel lacks the headers that it compiles against; hls4ml has the one kind, Debian the other.
        "XILINX_AP_INCLUDE": str(site / "hls4ml" / "templates" / "vivado" / "ap_types"),
        "JSON_ROOT": "/usr/include",
    }
    subprocess.run([python, PEERS / script, *arguments], cwd=folder, env=environment, check=True, capture_output=True)


def _environment() -> Path:
    """The peers' interpreter; uv makes it once."""
    import sklearn

    folder = cache() / "fpga-peers"
    python = folder / "bin" / "python"
    if not python.exists():
        subprocess.run(["uv", "venv", "--quiet", "--python", "3.11", folder], check=True)
        wanted = [f"hls4ml=={HLS4ML}", f"conifer=={CONIFER}", f"scikit-learn=={sklearn.__version__}", "onnx", "qonnx"]
        subprocess.run(["uv", "pip", "install", "--quiet", "--python", python, *wanted], check=True)
    return python
