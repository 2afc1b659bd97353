"""Real models through coreml: error of the evaluated package, size, operations, CPU seconds of the conversion.

    python -m bench.coreml [--precision float16] [PATTERN]

Each conversion is a process of its own, start included. The error is the largest difference from onnxruntime, over the
largest value that an output reaches in all calls; beside it are the root mean square of the difference over that of the
output, by which float16 is judged, and how far onnxruntime is from itself without its optimisations. Writes
bench/results/coreml.json, or coreml-float16.json.
"""

from __future__ import annotations

import argparse
import re
import resource
import subprocess
import sys
import tempfile
import time
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np

from bench.edge import inputs, shaped
from bench.measure import write_results
from bench.real_models import MODELS, fetched

if TYPE_CHECKING:
    from numpy.typing import NDArray

    from bench.real_models import RealModel

    Tensors = dict[str, NDArray[np.generic]]

CALLS = 2
LIMITS = {"float32": 1e-4, "float16": 2e-2}


def main(precision: str, pattern: str) -> int:
    """Print the table and write it; the exit code is 1 if any model fails or is off by more than it may be."""
    rows: dict[str, dict[str, object]] = {}
    print(f"{'model':44} {'error':>8} {'rms':>8} {'own':>8} {'MB':>6} {'of':>6} {'ops':>5} {'CPU s':>6} {'eval s':>7}")
    for model in MODELS:
        if re.search(pattern, model.name):
            rows[model.name] = measured(model, precision)
            print(_line(model.name, rows[model.name]), flush=True)
    if not pattern:
        name = "coreml" if precision == "float32" else f"coreml-{precision}"
        write_results(name, rows, ["coremltools", "onnx", "onnxruntime", "numpy"])
    bad = [name for name, row in rows.items() if not _is_right(row, LIMITS[precision])]
    print(f"{len(rows) - len(bad)} of {len(rows)} right" + (f"; not: {', '.join(bad)}" if bad else ""))
    return int(bool(bad))


def _is_right(row: dict[str, object], limit: float) -> bool:
    kind = "rms_error" if limit == LIMITS["float16"] else "error"
    error, own = row.get(kind), row.get("reference_error")
    return isinstance(error, float) and isinstance(own, float) and error < max(limit, own)


def _line(name: str, row: dict[str, object]) -> str:
    if "failure" in row:
        return f"{name:44} {row['failure']}"
    return (
        f"{name:44} {row['error']:8.1e} {row['rms_error']:8.1e} {row['reference_error']:8.1e} "
        f"{row['megabytes']:6.2f} {row['source_megabytes']:6.2f} "
        f"{row['operations']:5} {row['conversion_cpu_seconds']:6.2f} {row['evaluation_seconds']:7.2f}"
    )


def measured(model: RealModel, precision: str) -> dict[str, object]:
    """One row of the table."""
    import onnx

    path = fetched(model)
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        bound = shaped(onnx.load(path), model)
        onnx.save(bound, folder / "model.onnx")
        examples = [inputs(bound, model, CALLS + seed) for seed in range(CALLS)]
        np.savez(
            folder / "model.npz", **{name: np.concatenate([each[name] for each in examples]) for name in examples[0]}
        )
        (folder / "out").mkdir()
        before = resource.getrusage(resource.RUSAGE_CHILDREN)
        done = subprocess.run(
            [
                *(sys.executable, "-m", "bench.coreml", "--precision", precision),
                *("--convert", folder / "model.onnx", folder / "out"),
            ],
            cwd=Path(__file__).parents[1],
            capture_output=True,
            check=False,
            text=True,
        )
        after = resource.getrusage(resource.RUSAGE_CHILDREN)
        if done.returncode:
            return {"failure": done.stderr.strip().rpartition("\n")[2]}
        shipped = folder / "out" / "model.mlpackage"
        row: dict[str, object] = {
            "megabytes": sum(file.stat().st_size for file in shipped.rglob("*") if file.is_file()) / 1e6,
            "source_megabytes": path.stat().st_size / 1e6,
            "conversion_cpu_seconds": after.ru_utime + after.ru_stime - before.ru_utime - before.ru_stime,
            "operations": _operations(shipped),
        }
        calls = [inputs(bound, model, seed) for seed in range(CALLS)]
        return row | _compared(path, folder / "out", calls, model)


def _operations(package: Path) -> int:
    from targets.coreml._package import read_specification

    program = read_specification(package).mlProgram
    blocks = [block for function in program.functions.values() for block in function.block_specializations.values()]
    count = 0
    while blocks:
        operations = [each for each in blocks.pop().operations if each.type != "const"]
        count += len(operations)
        blocks.extend(block for each in operations for block in each.blocks)
    return count


def _compared(path: Path, out: Path, calls: list[Tensors], real: RealModel) -> dict[str, object]:
    import msgspec
    import onnxruntime

    from manifests.manifest import SignatureSection
    from targets.coreml._shipped import ShippedPackage

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
    signature = msgspec.json.decode((out / "signature.json").read_bytes(), type=SignatureSection)
    runner = ShippedPackage(out / "model.mlpackage", signature)
    expected = [dict(zip(names, session.run(names, call | rates), strict=True)) for call in calls]
    again = [dict(zip(names, plain.run(names, call | rates), strict=True)) for call in calls]
    dtypes = {entry.name: entry.dtype for entry in signature.inputs}
    stored = [{name: array.astype(dtypes[name]) for name, array in call.items() if name in dtypes} for call in calls]
    got = [runner.run(call) for call in stored]
    began = time.perf_counter()
    runner.run(stored[0])
    return {
        "error": _error(got, expected),
        "rms_error": _rms(got, expected),
        "reference_error": _error(again, expected),
        "evaluation_seconds": time.perf_counter() - began,
    }


def _error(got: list[Tensors], expected: list[Tensors]) -> float:
    worst = 0.0
    for name in expected[0]:
        largest = max(float(np.abs(call[name]).max()) for call in expected)
        apart = max(
            float(np.abs(one[name].astype(np.float64) - two[name]).max())
            for one, two in zip(got, expected, strict=True)
        )
        worst = max(worst, apart / largest if largest else apart)
    return worst


def _rms(got: list[Tensors], expected: list[Tensors]) -> float:
    worst = 0.0
    for name in expected[0]:
        wanted = np.stack([call[name].astype(np.float64) for call in expected])
        apart = np.sqrt(np.mean((np.stack([call[name] for call in got]) - wanted) ** 2))
        size = np.sqrt(np.mean(wanted**2))
        worst = max(worst, float(apart / size if size else apart))
    return worst


def convert(source: Path, out: Path, precision: str) -> None:
    """What a worker does with one model whose shapes are fixed."""
    import msgspec

    from targets.coreml import Options, target

    examples = dict(np.load(source.with_suffix(".npz")))
    artifact = target.convert(source, msgspec.convert({"precision": precision}, Options), examples, out)
    (out / "signature.json").write_bytes(msgspec.json.encode(artifact.signature))


if __name__ == "__main__":
    parser = argparse.ArgumentParser()
    parser.add_argument("pattern", nargs="?", default="")
    parser.add_argument("--precision", choices=sorted(LIMITS), default="float32")
    parser.add_argument("--convert", nargs=2, type=Path)
    arguments = parser.parse_args()
    if arguments.convert:
        convert(*arguments.convert, arguments.precision)
    else:
        sys.exit(main(arguments.precision, arguments.pattern))
