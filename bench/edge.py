"""Real models through edge-arm, beside what others make of them: one table.

    python -m bench.edge [PATTERN]

Error, size, transposes left, CPU seconds of the conversion, latency, and its ratio to that of the best peer's file:
see `bench.edge_peers`. Each conversion is a process of its own, start included. The error is the largest difference
from onnxruntime, over the largest value that an output reaches in all calls; beside it is how far onnxruntime is from
itself without its optimisations. Latencies are of one thread, the fastest of interleaved calls. Writes
bench/results/edge.json; with a PATTERN, the rows of other models stay.
"""

from __future__ import annotations

import json
import os
import re
import resource
import shutil
import subprocess
import sys
import tempfile
import time
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np

from bench.edge_peers import best, compared, keras_nets, operations
from bench.measure import RESULTS, write_results
from bench.real_models import MODELS, RealModel, fetched

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

    import onnx
    from numpy.typing import NDArray

    Tensors = dict[str, NDArray[np.generic]]

CALLS = 5
LIMIT = 1e-4
_NOISE = 1.05
"""Ratios up to it may be the machine's."""
_SECONDS = 0.4
"""How long calls are timed, at least one of each."""


def main(pattern: str) -> int:
    """Print the table and write it; the exit code is 1 if a file is off, or slower than the best peer's by 5 %."""
    rows = _written() if pattern else {}
    chosen: dict[str, dict[str, object]] = {}
    print(
        f"{'model':44} {'error':>8} {'own':>8} {'MB':>6} {'of':>6} {'ops':>5} {'moved':>5} {'CPU s':>6} "
        f"{'ms':>8} {'ort':>8} {'ratio':>5}  best peer"
    )
    with tempfile.TemporaryDirectory() as name:
        for model, path in _models(Path(name), pattern):
            rows[model.name] = chosen[model.name] = measured(model, path, Path(name))
            print(_line(model.name, rows[model.name]), flush=True)
            write_results("edge", dict(rows), ["ai-edge-litert", "onnx", "onnxruntime", "numpy"])
    bad = [name for name, row in chosen.items() if not _is_right(row)]
    print(f"{len(chosen) - len(bad)} of {len(chosen)} right" + (f"; not: {', '.join(bad)}" if bad else ""))
    ratios = [(name, float(str(row["ratio"]))) for name, row in chosen.items() if "ratio" in row]
    slow = [f"{name} {ratio:.2f}" for name, ratio in ratios if ratio > _NOISE]
    print(f"{len(ratios)} have a peer whose file runs; slower than it: {', '.join(slow) or 'none'}")
    return int(bool(bad or slow))


def _written() -> dict[str, dict[str, object]]:
    """The rows of an earlier run."""
    path = RESULTS / "edge.json"
    rows: dict[str, dict[str, object]] = json.loads(path.read_text())["figures"] if path.exists() else {}
    return rows


def _models(room: Path, pattern: str) -> Iterator[tuple[RealModel, Path]]:
    """Each model that the pattern names, and its file."""
    for model in MODELS:
        if re.search(pattern, model.name):
            yield model, fetched(model)
    for path in keras_nets(room):
        if re.search(pattern, path.stem):
            yield RealModel(path.stem, "", "", ""), path


def _is_right(row: dict[str, object]) -> bool:
    error, own = row.get("error"), row.get("reference_error")
    return isinstance(error, float) and isinstance(own, float) and error < max(LIMIT, own)


def _line(name: str, row: dict[str, object]) -> str:
    if "failure" in row:
        return f"{name:44} {row['failure']}"
    return (
        f"{name:44} {row['error']:8.1e} {row['reference_error']:8.1e} "
        f"{row['megabytes']:6.2f} {row['source_megabytes']:6.2f} "
        f"{row['operations']:5} {row['transposes']:5} {row['conversion_cpu_seconds']:6.2f} {row['milliseconds']:8.3f} "
        f"{row['onnxruntime_milliseconds']:8.3f} "
        + (f"{row['ratio']:5.2f}  {row['best_peer']}" if "ratio" in row else "    -  none whose file runs")
    )


def measured(model: RealModel, path: Path, room: Path) -> dict[str, object]:
    """One row of the table."""
    import onnx

    folder = room / re.sub(r"\W+", "_", model.name)
    folder.mkdir()
    bound = shaped(onnx.load(path), model)
    onnx.save(bound, folder / "model.onnx")
    before = resource.getrusage(resource.RUSAGE_CHILDREN)
    failure = _converted(folder, "out")
    after = resource.getrusage(resource.RUSAGE_CHILDREN)
    if failure:
        return {"failure": failure}
    _converted(folder, "nhwc", "nhwc")
    shipped = folder / "out" / "model.tflite"
    row: dict[str, object] = {
        "megabytes": shipped.stat().st_size / 1e6,
        "source_megabytes": path.stat().st_size / 1e6,
        "conversion_cpu_seconds": after.ru_utime + after.ru_stime - before.ru_utime - before.ru_stime,
        **operations(shipped),
    }
    calls = [inputs(bound, model, seed) for seed in range(CALLS)]
    row |= _compared(path, shipped, calls, model)
    peers = compared(model.name, folder)
    fastest = best(peers)
    if fastest is not None:
        row |= {"best_peer": fastest[0], "ratio": fastest[1]}
    shutil.rmtree(folder)
    return row | {"peers": peers}


def _converted(folder: Path, out: str, layout: str = "source") -> str:
    """Convert the folder's model in a process of its own; what it complains of, if it fails."""
    (folder / out).mkdir()
    done = subprocess.run(
        [sys.executable, "-m", "bench.edge", "--convert", folder / "model.onnx", folder / out, layout],
        cwd=Path(__file__).parents[1],
        capture_output=True,
        check=False,
        text=True,
    )
    return done.stderr.strip().rpartition("\n")[2] if done.returncode else ""


def shaped(model: onnx.ModelProto, real: RealModel) -> onnx.ModelProto:
    """The model with its free dimensions bound, and the inputs that are fixed turned into constants."""
    import onnx
    from onnx import numpy_helper

    constants = {entry.name for entry in model.graph.initializer}
    for entry in list(model.graph.input):
        if entry.name in real.fixed:
            dtype = onnx.helper.tensor_dtype_to_np_dtype(entry.type.tensor_type.elem_type)
            model.graph.initializer.append(numpy_helper.from_array(np.array(real.fixed[entry.name], dtype), entry.name))
            model.graph.input.remove(entry)
        elif entry.name not in constants:
            sizes = entry.type.tensor_type.shape.dim
            for axis, size in enumerate(sizes):
                if entry.name in real.shapes:
                    size.dim_value = real.shapes[entry.name][axis]
                elif not size.HasField("dim_value") or size.dim_value < 0:
                    size.dim_value = 1
    for entry in model.graph.output:
        for size in entry.type.tensor_type.shape.dim:
            if not size.HasField("dim_value") or size.dim_value < 0:
                size.Clear()
    del model.graph.value_info[:]
    return model


def inputs(model: onnx.ModelProto, real: RealModel, seed: int) -> Tensors:
    """What a call is given: seeded, of the kind that the model is for."""
    import onnx

    random = np.random.default_rng(seed)
    constants = {entry.name for entry in model.graph.initializer}
    given: Tensors = {}
    for entry in model.graph.input:
        if entry.name in constants:
            continue
        kind = entry.type.tensor_type
        shape = [size.dim_value for size in kind.shape.dim]
        dtype = onnx.helper.tensor_dtype_to_np_dtype(kind.elem_type)
        if np.dtype(dtype).kind in "iu" or real.kind.isdigit():
            given[entry.name] = random.integers(0, int(real.kind), shape).astype(dtype)
        elif real.kind == "sound":
            time_ = np.arange(np.prod(shape)).reshape(shape)
            given[entry.name] = (0.3 * np.sin(time_ * (0.01 + 0.01 * seed)) + random.normal(0, 0.1, shape)).astype(
                dtype
            )
        elif real.kind == "picture":
            given[entry.name] = patches(shape, seed).astype(dtype)
        else:
            given[entry.name] = random.standard_normal(shape).astype(dtype)
    return given


def patches(shape: list[int], seed: int) -> NDArray[np.floating]:
    """Large and small patches of grey and colour, [1, 3, height, width], from 0 to 1."""
    random = np.random.default_rng(seed)
    height, width = shape[2:]
    total = np.zeros((3, height, width))
    for size in (64, 16, 4):
        patches = random.random((3, -(-height // size), -(-width // size)))
        total += np.kron(patches, np.ones((1, size, size)))[:, :height, :width]
    return np.asarray(total[None] / 3)


def _compared(path: Path, shipped: Path, calls: list[Tensors], real: RealModel) -> dict[str, object]:
    import onnxruntime

    from agent.runtimes.litert import open_model

    sessions = []
    for level in ("ORT_ENABLE_ALL", "ORT_DISABLE_ALL"):
        options = onnxruntime.SessionOptions()
        options.graph_optimization_level = getattr(onnxruntime.GraphOptimizationLevel, level)
        options.intra_op_num_threads, options.log_severity_level = 1, 3
        sessions.append(onnxruntime.InferenceSession(path, options, providers=["CPUExecutionProvider"]))
    session, plain = sessions
    rates = {
        entry.name: np.array(real.fixed[entry.name], np.int64)
        for entry in session.get_inputs()
        if entry.name in real.fixed
    }
    names = [entry.name for entry in session.get_outputs()]
    runtime = open_model(shipped, threads=1)
    expected = [dict(zip(names, session.run(names, call | rates), strict=True)) for call in calls]
    again = [dict(zip(names, plain.run(names, call | rates), strict=True)) for call in calls]
    ours, theirs = _fastest(lambda: runtime.run(calls[0]), lambda: session.run(names, calls[0] | rates))
    return {
        "error": _error([runtime.run(call) for call in calls], expected),
        "reference_error": _error(again, expected),
        "milliseconds": ours * 1e3,
        "onnxruntime_milliseconds": theirs * 1e3,
    }


def _error(got: list[Tensors], expected: list[Tensors]) -> float:
    worst = 0.0
    for name in expected[0]:
        largest = max(float(np.abs(call[name]).max()) for call in expected)
        apart = max(
            float(np.abs(a[name].astype(np.float64) - b[name]).max()) for a, b in zip(got, expected, strict=True)
        )
        worst = max(worst, apart / largest if largest else apart)
    return worst


def _fastest(first: Callable[[], object], second: Callable[[], object]) -> tuple[float, float]:
    best = [float("inf"), float("inf")]
    end = time.perf_counter() + _SECONDS
    while time.perf_counter() < end:
        for place, call in enumerate((first, second)):
            began = time.perf_counter()
            call()
            best[place] = min(best[place], time.perf_counter() - began)
    return best[0], best[1]


def convert(source: Path, out: Path, layout: str) -> None:
    """What a worker does with one model whose shapes are fixed: emit it, load it back, run it once."""
    from targets.edge_arm import Options, target

    target.convert(source, Options(io_layout="nhwc" if layout == "nhwc" else "source"), None, out)


if __name__ == "__main__":
    os.environ.setdefault("OMP_NUM_THREADS", "1")
    if sys.argv[1:2] == ["--convert"]:
        convert(Path(sys.argv[2]), Path(sys.argv[3]), sys.argv[4])
    else:
        sys.exit(main(sys.argv[1] if len(sys.argv) > 1 else ""))
