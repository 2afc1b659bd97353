"""What hummingbird-ml makes of the models in a folder: run by `bench/lowering.py` in hummingbird-ml's own environment.

Writes ``peer.json`` beside the models: for each model, backend and strategy the seconds of the fastest run of each
number of rows, or the error; and the outputs, one array file each.
"""

from __future__ import annotations

import json
import sys
import time
import warnings
from importlib.metadata import version
from pathlib import Path

import numpy as np

WAYS = (
    ("torch.jit", "gemm"),
    ("torch.jit", "tree_trav"),
    ("torch.jit", "perf_tree_trav"),
    ("onnx", "gemm"),
    ("onnx", "tree_trav"),
    ("onnx", "perf_tree_trav"),
)
SECONDS = 1.0
"""For each measurement."""
FEWEST = 3
LARGEST = {"gemm": 2e9}
"""Of conditions times leaves times rows: a product of matrices that would take minutes is left out."""


def main(folder: Path) -> None:
    """Measure every model of the folder."""
    import torch

    torch.set_num_threads(1)
    found = {}
    for path in sorted(folder.glob("*.onnx")):
        rows = {int(name): values for name, values in np.load(path.with_suffix(".npz")).items()}
        found[path.stem] = {f"{backend} {way}": _measure(path, backend, way, rows) for backend, way in WAYS}
    versions = {name: version(name) for name in ("hummingbird-ml", "torch", "onnxruntime", "onnx")}
    (folder / "peer.json").write_text(json.dumps({"versions": versions, "models": found}))


def _measure(path: Path, backend: str, way: str, rows: dict[int, np.ndarray]) -> dict[str, object]:
    import hummingbird.ml
    import onnx

    model = onnx.load(path)
    nodes = max(len(entry.strings) for node in model.graph.node for entry in node.attribute)
    if nodes > LARGEST.get(way, np.inf) ** 0.5 / 4:
        return {"error": "left out: too large for products of matrices"}
    try:
        with warnings.catch_warnings(action="ignore"):
            converted = hummingbird.ml.convert(
                model, backend, rows[max(rows)], extra_config={"tree_implementation": way, "n_threads": 1}
            )
            return _timed(path, f"{backend}-{way}", converted, rows)
    except Exception as error:  # noqa: BLE001 - whatever the peer raises is its result
        return {"error": f"{type(error).__name__}: {str(error).strip()[:200]}"}


def _timed(path: Path, way: str, converted: object, rows: dict[int, np.ndarray]) -> dict[str, object]:
    call = getattr(converted, "predict_proba", None) if "classifier" in path.stem else converted.predict
    call = call or converted.predict
    seconds = {}
    for count, x in rows.items():
        result = np.asarray(call(x))
        np.save(path.parent / f"{path.stem}.{way}.{count}.npy", result)
        best, began, runs = np.inf, time.perf_counter(), 0
        while runs < FEWEST or time.perf_counter() - began < SECONDS:
            start = time.perf_counter()
            call(x)
            best = min(best, time.perf_counter() - start)
            runs += 1
        seconds[str(count)] = best
    return {"seconds": seconds}


if __name__ == "__main__":
    main(Path(sys.argv[1]))
