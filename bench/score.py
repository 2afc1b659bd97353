"""`pack score` beside a loop over onnxruntime written by hand, both in one process: rows a second.

    python -m bench.score

The same ONNX file, the same npy file, the same batch, one thread; both write the scores to a file. Whole runs in turns,
without the start of the interpreter. Writes bench/results/score.json.
"""

from __future__ import annotations

import os
import statistics
import sys
import tempfile
import time
from pathlib import Path

import numpy as np

from bench.measure import write_results
from bench.serve import build, own_folders

ROWS = 400_000
BATCH = 256
ROUNDS = 5
HIDDEN = {"32 hidden": 32, "2048 hidden": 2048}
"""A network so small that writing its scores costs as much as computing them, and one of the size that one ships."""
_ENOUGH = 0.95


def main() -> int:
    """Print the figures and write them; the exit code is 1 below 95 % of the loop on the larger network."""
    figures: dict[str, object] = {}
    ratio = 0.0
    for name, hidden in HIDDEN.items():
        figures[name], ratio = measured(hidden)
        print(name, figures[name])
    write_results("score", figures, ["onnxruntime", "numpy"])
    return int(ratio < _ENOUGH)


def measured(hidden: int) -> tuple[dict[str, float], float]:
    """Rows a second of both, and the median of their ratio."""
    from manifests.signing import read_public_key
    from packager.opening import open_bundle
    from packager.scoring.running import Order, score

    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        os.environ.update(own_folders(folder))
        key = read_public_key(build(folder, hidden))
        np.save(folder / "in.npy", np.random.default_rng(1).standard_normal((ROWS, 64)).astype(np.float32))
        opened = open_bundle("digits:1@cloud", folder / ".pack" / "store", [key], workers=1)
        ours, theirs = [], []
        for turn in range(ROUNDS):
            output = folder / f"ours{turn}.npz"
            order = Order(
                source=folder / "in.npy", output=output, columns=(), keep=(), rows=65536, workers=1, cluster=""
            )
            began = time.perf_counter()
            score(order, opened, lambda _rows, _total: None)
            ours.append(ROWS / (time.perf_counter() - began))
            began = time.perf_counter()
            by_hand(folder)
            theirs.append(ROWS / (time.perf_counter() - began))
            np.testing.assert_allclose(np.load(output)["y"], np.load(folder / "theirs.npy"), rtol=1e-3, atol=1e-5)
        opened.close()
    ratio = statistics.median(mine / other for mine, other in zip(ours, theirs, strict=True))
    speeds = {"pack_score_rows_a_second": statistics.median(ours), "loop_rows_a_second": statistics.median(theirs)}
    return {**speeds, "ratio": ratio}, ratio


def by_hand(folder: Path) -> None:
    """What one writes for oneself."""
    import onnxruntime

    options = onnxruntime.SessionOptions()
    options.intra_op_num_threads = 1
    session = onnxruntime.InferenceSession(folder / "model.onnx", options, providers=["CPUExecutionProvider"])
    x = np.load(folder / "in.npy", mmap_mode="r")
    parts = [session.run(None, {"x": x[start : start + BATCH]})[0] for start in range(0, len(x), BATCH)]
    np.save(folder / "theirs.npy", np.concatenate(parts))


if __name__ == "__main__":
    sys.exit(main())
