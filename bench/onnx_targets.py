"""Real models through cloud and winml, in every precision and for every release of Windows: the error, or the reason.

    python -m bench.onnx_targets [PATTERN]

The models keep their free dimensions, but for the releases of Windows 10, where they get numbers. The error is the RMS
of the worst output's difference from onnxruntime on the source, over the output's own RMS, on inputs of the kind that
the model is for; int8 is calibrated on other ones.
Writes bench/results/onnx-targets.json.
"""

from __future__ import annotations

import os
import re
import sys
import tempfile
from pathlib import Path
from typing import TYPE_CHECKING

import msgspec
import numpy as np

from bench.edge import inputs, shaped
from bench.measure import write_results
from bench.real_models import MODELS, fetched
from packager.errors import ConversionError
from packager.hub.form import Form
from packager.hub.pipeline import prepare
from packager.registry import open_target, registrations
from targets._target import TargetError

if TYPE_CHECKING:
    import onnx
    from numpy.typing import NDArray

    from bench.real_models import RealModel

    Tensors = dict[str, NDArray[np.generic]]

CALLS = 3
COLUMNS: dict[str, tuple[str, dict[str, object]]] = {
    "cloud": ("cloud", {}),
    "cloud 1.14": ("cloud", {"onnxruntime": "1.14.0"}),
    "cloud f16": ("cloud", {"quantize": "float16"}),
    "cloud dyn": ("cloud", {"quantize": "dynamic-int8"}),
    "cloud int8": ("cloud", {"quantize": "int8"}),
    "1809": ("winml", {"windows": "1809", "dimensions": {"*": 1}}),
    "1903": ("winml", {"windows": "1903", "dimensions": {"*": 1}}),
    "2004": ("winml", {"windows": "2004", "dimensions": {"*": 1}}),
    "11": ("winml", {"windows": "11"}),
    "11 f16": ("winml", {"windows": "11", "float16": True}),
    "windows-ml": ("winml", {"windows": "windows-ml"}),
}


def main(pattern: str) -> int:
    """Print the table and write it; the exit code is 1 if a file is off by more than its target's limit."""
    print(f"{'model':44} " + " ".join(f"{column:>10}" for column in COLUMNS))
    rows: dict[str, dict[str, object]] = {}
    passed = 0
    reasons: list[str] = []
    for model in MODELS:
        if not re.search(pattern, model.name):
            continue
        row = rows[model.name] = {column: _apart(model, column) for column in COLUMNS}
        cells = []
        for column, cell in row.items():
            text = f"{cell:.1e}" if isinstance(cell, float) else "-"
            if not isinstance(cell, float):
                reasons.append(f"{model.name}, {column}: {cell}")
            passed += isinstance(cell, float)
            cells.append(f"{text:>10}")
        print(f"{model.name:44} " + " ".join(cells), flush=True)
    print(f"{passed} of {len(rows) * len(COLUMNS)} pass; the others:\n" + "\n".join(reasons))
    if not pattern:
        write_results("onnx-targets", rows, ["onnx", "onnxruntime", "numpy"])
    return 0


def _apart(real: RealModel, column: str) -> float | str:
    """One cell, measured in a process of its own: onnxruntime ends some."""
    reader, writer = os.pipe()
    process = os.fork()
    if not process:
        os.write(writer, msgspec.json.encode(_measured(real, *COLUMNS[column])))
        os._exit(0)
    os.close(writer)
    with os.fdopen(reader, "rb") as answer:
        data = answer.read()
    _, status = os.waitpid(process, 0)
    if status:
        return f"onnxruntime ends the process: signal {status & 0x7F}"
    return msgspec.json.decode(data, type=float | str)


def _measured(real: RealModel, target_name: str, written: dict[str, object]) -> float | str:
    """The error of the shipped file, or why there is none."""
    import onnx

    path = fetched(real)
    target = open_target(registrations()[target_name])
    options = msgspec.convert(written, target.Options)
    fixed = shaped(onnx.load(path), real)
    calls = [inputs(fixed, real, seed) for seed in range(CALLS)]
    calibration = {
        name: np.concatenate([inputs(fixed, real, seed)[name] for seed in range(CALLS, 3 * CALLS)])
        for name in calls[0]
        if calls[0][name].ndim
    }
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        try:
            form = Form(needs=target.needs(options), free_dimensions=target.free_dimensions(options))
            model, _ = prepare(fixed if form.needs.static_shapes else _constant(onnx.load(path), real), form)
            findings = target.unsupported(model, options)
            if findings:
                return f"{findings[0].operator} '{findings[0].node}': {findings[0].reason} ({len(findings)} nodes)"
            (folder / "out").mkdir()
            onnx.save(model, folder / "model.onnx")
            artifact = target.convert(folder / "model.onnx", options, calibration, folder / "out")
            runner = target.runner(artifact, folder / "out")
            got = [runner.run(call) for call in calls]
        except (ConversionError, TargetError, ValueError) as error:
            return f"{error}".splitlines()[0][:600]
    error = _worst(_reference(path, calls, real), got)
    if error > artifact.parity_limit:
        return f"the parity gate stops it: {error:.2e} is over {artifact.parity_limit:g}"
    return error


def _constant(model: onnx.ModelProto, real: RealModel) -> onnx.ModelProto:
    """The model with the inputs that are fixed turned into constants."""
    from onnx import helper, numpy_helper

    for entry in list(model.graph.input):
        if entry.name in real.fixed:
            dtype = helper.tensor_dtype_to_np_dtype(entry.type.tensor_type.elem_type)
            model.graph.initializer.append(numpy_helper.from_array(np.array(real.fixed[entry.name], dtype), entry.name))
            model.graph.input.remove(entry)
    return model


def _reference(path: Path, calls: list[Tensors], real: RealModel) -> list[Tensors]:
    import onnxruntime

    options = onnxruntime.SessionOptions()
    options.intra_op_num_threads, options.log_severity_level = 1, 3
    session = onnxruntime.InferenceSession(path, options, providers=["CPUExecutionProvider"])
    wanted = {entry.name for entry in session.get_inputs()}
    rates = {name: np.array(value, np.int64) for name, value in real.fixed.items() if name in wanted}
    names = [entry.name for entry in session.get_outputs()]
    return [dict(zip(names, session.run(names, call | rates), strict=True)) for call in calls]


def _worst(expected: list[Tensors], got: list[Tensors]) -> float:
    worst = 0.0
    for name in expected[0]:
        wanted = np.concatenate([np.ravel(call[name]).astype(np.float64) for call in expected])
        found = np.concatenate([np.ravel(call[name]).astype(np.float64) for call in got])
        if wanted.shape != found.shape:
            return float("inf")
        scale = float(np.sqrt(np.mean(np.square(wanted))))
        off = float(np.sqrt(np.mean(np.square(wanted - found))))
        worst = max(worst, off / scale if scale else off)
    return worst


if __name__ == "__main__":
    sys.exit(main(sys.argv[1] if len(sys.argv) > 1 else ""))
