"""Real models under every scheme of edge-arm: size, error, latency, and what is refused and why.

    python -m bench.quantization [PATTERN]

Calibration and test inputs are of the kind that each model is for, from seeds that take turns. Errors are of LiteRT on
the shipped file against onnxruntime, without optimisations, on the test inputs: the root mean square of the differences
over that of the source's output, worst output. Latencies are of one thread, the fastest of repeated calls. Writes
bench/results/quantization.json, after each model.
"""

from __future__ import annotations

import json
import re
import signal
import subprocess
import sys
import tempfile
import time
from itertools import count
from pathlib import Path
from typing import TYPE_CHECKING, NamedTuple, get_args

import numpy as np

from bench.edge import inputs, patches, shaped
from bench.measure import RESULTS, write_results
from bench.real_models import MODELS, fetched
from targets.edge_arm import Quantize

if TYPE_CHECKING:
    import onnx
    from numpy.typing import NDArray

    from bench.real_models import RealModel
    from targets._target import Artifact

    Tensors = dict[str, NDArray[np.generic]]

DISTRIBUTIONS = ["ai-edge-litert", "ai-edge-quantizer", "onnx", "onnxruntime", "numpy"]
SCHEMES: tuple[str, ...] = get_args(Quantize)
_SEEDS, _EACH = 40, 5
"""Every fifth of 40 inputs is a test, the others are for calibration."""
_TESTS = _SEEDS // _EACH
_SECONDS = 0.3
"""How long a scheme's calls are timed, at least all tests."""
_PATIENCE = 5
"""After so many seconds no more tests are run: int16 has slow kernels."""
_LONG = 50
"""Milliseconds in float above which int16, some 30 to 100 times slower, is passed over."""


def main(pattern: str) -> int:
    """Print the table and write it; the exit code is 1 if a process died or a file that was made fails its gate."""
    rows = _written() if pattern else {}
    for model in MODELS:
        if re.search(pattern, model.name):
            rows[model.name] = _schemes(model)
            print(_lines(model.name, rows[model.name]), flush=True)
            write_results("quantization", dict(rows), DISTRIBUTIONS)
    bad = [
        f"{name} {scheme}"
        for name, row in rows.items()
        for scheme, figures in row.items()
        if figures.get("verdict") in {"failed", "died"}
    ]
    print(f"{len(bad)} failed" + (f": {', '.join(bad)}" if bad else ""))
    return int(bool(bad))


def _written() -> dict[str, dict[str, dict[str, object]]]:
    """The rows that an earlier run wrote; those that a pattern names are measured anew."""
    path = RESULTS / "quantization.json"
    if not path.exists():
        return {}
    rows: dict[str, dict[str, dict[str, object]]] = json.loads(path.read_text())["figures"]
    return rows


def _lines(name: str, row: dict[str, dict[str, object]]) -> str:
    lines = [name]
    for scheme, figures in row.items():
        if "why" in figures:
            lines.append(f"    {scheme:13} {figures['verdict']}: {figures['why']}")
        else:
            lines.append(
                f"    {scheme:13} {figures['verdict']:7} {figures['megabytes']:7.3f} MB  rms {figures['rms']:8.1e}  "
                f"max {figures['max']:8.1e}  {figures['milliseconds']:8.2f} ms  {figures['seconds']:6.1f} s  "
                f"{figures['worst_layer']}"
            )
    return "\n".join(lines)


def _schemes(model: RealModel) -> dict[str, dict[str, object]]:
    """One row of the table; a scheme whose process dies is passed over."""
    row: dict[str, dict[str, object]] = {}
    while len(row) < len(SCHEMES):
        left = [scheme for scheme in SCHEMES if scheme not in row]
        done = subprocess.run(
            [sys.executable, "-W", "ignore", "-m", "bench.quantization", "--model", model.name, *left],
            cwd=Path(__file__).parents[1],
            capture_output=True,
            check=False,
            text=True,
        )
        for line in done.stdout.splitlines():
            if line.startswith("{"):
                row |= json.loads(line)
        if done.returncode:
            why = signal.Signals(-done.returncode).name if done.returncode < 0 else done.stderr.strip()[-300:]
            row[next(scheme for scheme in SCHEMES if scheme not in row)] = {"verdict": "died", "why": why}
    return row


class _Trial(NamedTuple):
    """What all schemes of a model are tried with."""

    source: Path
    calibration: Tensors
    calls: list[Tensors]
    expected: list[Tensors]


def measure(model: RealModel, schemes: list[str]) -> None:
    """Print one line of JSON for each scheme."""
    import onnx

    from packager.measures.running import SourceModel

    path = fetched(model)
    with tempfile.TemporaryDirectory() as name:
        bound = shaped(onnx.load(path), model)
        source = Path(name) / "model.onnx"
        onnx.save(bound, source)
        samples = [given(bound, model, seed) for seed in range(_SEEDS) if seed % _EACH]
        calls = [given(bound, model, seed) for seed in range(0, _SEEDS, _EACH)]
        reference = SourceModel(source)
        trial = _Trial(
            source,
            {key: np.concatenate([sample[key] for sample in samples]) for key in samples[0]},
            calls,
            [reference.run(call) for call in calls],
        )
        plain = 0.0
        for scheme in schemes:
            out = Path(name) / scheme
            out.mkdir()
            if scheme == "int16x8" and plain > _LONG:
                row: dict[str, object] = {"verdict": "skipped", "why": f"a call takes {plain:.0f} ms in float"}
            else:
                row = figures(trial, scheme, out)
            if isinstance(row.get("milliseconds"), float) and scheme == "none":
                plain = float(str(row["milliseconds"]))
            print(json.dumps({scheme: row}), flush=True)


def given(bound: onnx.ModelProto, model: RealModel, seed: int) -> Tensors:
    """What a call is given: text to who reads text, and patches from -1 to 1 to BlazeFace, that never saw noise."""
    if not model.name.startswith(("BlazeFace", "PP-OCR")):
        return inputs(bound, model, seed)
    (entry,) = bound.graph.input
    shape = [size.dim_value for size in entry.type.tensor_type.shape.dim]
    if model.name.startswith("PP-OCR"):
        return {entry.name: np.broadcast_to(written(shape[2], shape[3], seed) * 2 - 1, shape).astype(np.float32)}
    picture = patches([1, 3, shape[1], shape[2]], seed).transpose(0, 2, 3, 1)
    return {entry.name: (picture * 2 - 1).astype(np.float32)}


def written(height: int, width: int, seed: int) -> NDArray[np.float64]:
    """Lines of handwritten digits, dark on light, from 0 to 1: [height, width]."""
    from sklearn.datasets import load_digits

    random = np.random.default_rng(seed)
    images = load_digits().images / 16
    size = 40
    page = np.ones((height, width))
    for top in range(4, height - size + 1, size + 20):
        for left in range(int(random.integers(0, 40)), width - size + 1, size):
            digit = np.kron(images[random.integers(len(images))], np.ones((size // 8, size // 8)))
            page[top : top + size, left : left + size] -= digit * random.uniform(0.7, 1)
    return np.clip(page + random.normal(0, 0.02, page.shape), 0, 1)


def figures(trial: _Trial, scheme: str, out: Path) -> dict[str, object]:
    """What is measured of one scheme, or why it is refused."""
    from targets._target import TargetError
    from targets.edge_arm import Options, target

    began = time.process_time()
    try:
        options = Options(quantize=scheme)  # type: ignore[arg-type] # one of Quantize's own values
        artifact = target.convert(trial.source, options, trial.calibration, out)
    except TargetError as error:
        return {"verdict": "refused", "why": f"{error.code}: {error}"}
    seconds = time.process_time() - began
    return {"seconds": seconds, **_measured(trial, artifact, out)}


def _measured(trial: _Trial, artifact: Artifact, out: Path) -> dict[str, object]:
    from packager.measures.parity import compare_outputs
    from packager.measures.running import Shipped
    from targets.edge_arm import target

    shipped = Shipped(target.runner(artifact, out), artifact.signature)
    got: list[Tensors] = []
    fastest, spent = float("inf"), 0.0
    for place in count():
        if spent > (_PATIENCE if place < _TESTS else _SECONDS):
            break
        stored = shipped.stored_inputs(trial.calls[place % _TESTS])
        began = time.perf_counter()
        outputs = shipped.run(stored)
        fastest, spent = min(fastest, time.perf_counter() - began), spent + time.perf_counter() - began
        got.append(shipped.real_outputs(outputs))
    shipped.close()
    parities = compare_outputs(_stacked(trial.expected[: len(got)]), _stacked(got[:_TESTS]))
    rms, most = max(entry.rms_relative for entry in parities), max(entry.max_relative for entry in parities)
    value = most if artifact.parity_measure == "max" else rms
    return {
        "verdict": "passed" if value <= artifact.parity_limit else "failed",
        "rms": rms,
        "max": most,
        "megabytes": artifact.files[0].size / 1e6,
        "milliseconds": fastest * 1e3,
        "worst_layer": artifact.worst_layer,
        "notes": list(artifact.notes),
    }


def _stacked(calls: list[Tensors]) -> Tensors:
    return {name: np.stack([call[name] for call in calls]) for name in calls[0]}


if __name__ == "__main__":
    if sys.argv[1:2] == ["--model"]:
        measure(next(model for model in MODELS if model.name == sys.argv[2]), sys.argv[3:])
    else:
        sys.exit(main(sys.argv[1] if len(sys.argv) > 1 else ""))
