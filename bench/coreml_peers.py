"""ONNX to Core ML by others, beside ours, on the same cases and by the same rule, in one run.

    python -m bench.coreml_peers [--models PATTERN] [PATTERN]

Peers: onnx2torch with coremltools' own torch frontend, onnxsim's exporter, and onnx2coreml, in an environment of their
own in the cache. Each writes a package for iOS 17 in float32; our evaluator says what it computes. The cases are ONNX's
node tests, as in `bench.coverage_coreml`; with ``--models`` real models follow. A case that a peer converts without a
word, and whose package computes something else, is listed. Writes bench/results/coreml-peers.json.
"""

from __future__ import annotations

import argparse
import json
import os
import re
import shutil
import statistics
import subprocess
import sys
import tempfile
import time
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np
import onnx

from bench.edge import inputs as tensors
from bench.edge import shaped
from bench.measure import folder_size, write_results
from bench.real_models import MODELS, cache, fetched
from targets._target import TargetError
from targets.coreml._convert import lowered_model, write_model
from targets.coreml.evaluator import EvaluationError, InputError, PackageError, load_program
from tests.targets.coreml.verdict import OPTIONS, difference
from tests.targets.operator_cases import Case, operator_cases

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping, Sequence

    Row = dict[str, object]

OURS = "packtrain"
PEERS = {
    "onnx2torch": ("onnx2torch==1.5.15", "torch==2.13.*"),
    "onnxsim": ("onnxsim==0.8.1",),
    "onnx2coreml": ("onnx2coreml==1.1.0",),
}
"""Each peer with what it needs beside coremltools."""
_TOOLS = ("coremltools==9.0", "numpy<2.3", "onnx==1.23.2", "onnxruntime", "pip", "setuptools<82")
_PYTHON = "3.11"
_ROOM = Path(__file__).parents[1]
_TORCH_WITHOUT_CUDA = "https://download.pytorch.org/whl/cpu"


def main(pattern: str, models: str | None) -> int:
    """Print the table and write it."""
    with tempfile.TemporaryDirectory() as name:
        room = Path(name)
        cases = dict(_written(room, pattern))
        rows = {OURS: {folder.name: _own(folder, case) for folder, case in cases.items()}}
        for peer in PEERS:
            reports = _converted(peer, list(cases))
            rows[peer] = {folder.name: _judged(peer, folder, case, reports) for folder, case in cases.items()}
        figures: Row = {"operators": _figures(rows), "wrong": _wrong(rows)}
        _show(rows)
    if models is not None:
        figures["models"] = _real(models)
    if not pattern:
        figures["peers"] = _versions()
        write_results("coreml-peers", figures, ["coremltools", "onnx", "numpy"])
    return 0


def _written(room: Path, pattern: str) -> Iterator[tuple[Path, Case]]:
    for case in operator_cases():
        if re.search(pattern, case.name):
            yield _stored(room / f"{case.mode}-{case.name}", case), case


def _stored(folder: Path, case: Case) -> Path:
    folder.mkdir()
    onnx.save(case.model, folder / "model.onnx")
    np.savez(folder / "inputs.npz", **case.inputs)
    return folder


def _own(folder: Path, case: Case) -> Row:
    began = time.process_time()
    try:
        lowered = lowered_model(case.model, OPTIONS)
    except TargetError as error:
        return {"verdict": "refused", "reason": str(error)}
    if lowered.findings:
        return {"verdict": "refused", "reason": lowered.findings[0].reason}
    shutil.move(write_model(lowered, OPTIONS, folder), folder / f"{OURS}.mlpackage")
    return _evaluated(OURS, folder, case, {"cpu_seconds": time.process_time() - began})


def _judged(peer: str, folder: Path, case: Case, reports: Mapping[str, Row]) -> Row:
    report = reports.get(folder.name, {"failure": "it was not reached"})
    if "failure" in report:
        return {"verdict": "refused", "reason": report["failure"]}
    return _evaluated(peer, folder, case, report)


def _evaluated(peer: str, folder: Path, case: Case, report: Row) -> Row:
    """What a written package is: it passes, it is wrong, or nothing that Core ML could run."""
    package = folder / f"{peer}.mlpackage"
    row = {"cpu_seconds": report["cpu_seconds"], "megabytes": folder_size(package)}
    try:
        program = load_program(package)
        got = program.predict(_given(program.inputs, case))
    except (EvaluationError, InputError, PackageError) as error:
        return row | {"verdict": "wrong", "reason": str(error)[:200]}
    finally:
        shutil.rmtree(package)
    reason = _mistake(case, got)
    return row | {"verdict": kind(reason), "reason": reason}


def kind(reason: str) -> str:
    """What a package is of which that is said: an output of the right shape in another element type is no wrong one."""
    if not reason:
        return "passed"
    return "another type" if re.search(r" is \w+(\([\d, ]*\)), not \w+\1$", reason) else "wrong"


def _given(features: Sequence[object], case: Case) -> dict[str, np.ndarray]:
    """The case's inputs under the program's names: by their own names, or in order where it has others."""
    plain = {_plain(name): array for name, array in case.inputs.items()}
    by_name = all(_plain(each.name) in plain for each in features)
    chosen = [plain[_plain(each.name)] for each in features] if by_name else list(case.inputs.values())
    return {
        each.name: array.reshape(array.shape or (1,)).astype(each.dtype)
        for each, array in zip(features, chosen, strict=False)
    }


def _plain(name: str) -> str:
    return re.sub(r"\W", "_", name)


def _mistake(case: Case, got: Mapping[str, np.ndarray]) -> str:
    """By the rule of `tests.targets.coreml.verdict`, but outputs may be renamed where their order is kept."""
    if len(got) != len(case.outputs):
        return f"it has {len(got)} outputs, not {len(case.outputs)}"
    named = {_plain(name): array for name, array in got.items()}
    found = [named[_plain(name)] for name in case.outputs] if set(map(_plain, case.outputs)) == set(named) else None
    half = any(array.dtype == np.float16 for array in (*case.inputs.values(), *case.outputs.values()))
    tolerance = (1e-2, 1e-3) if half else (1e-3, 1e-5)
    for (name, wanted), array in zip(case.outputs.items(), found or got.values(), strict=True):
        if said := difference(array, wanted, tolerance):
            return f"{name} {said}"
    return ""


def _figures(rows: Mapping[str, Mapping[str, Row]]) -> Row:
    found: Row = {}
    for name, cases in rows.items():
        for mode in ("frozen", "live"):
            mine = [row for case, row in cases.items() if case.startswith(mode)]
            passed = [row for row in mine if row["verdict"] == "passed"]
            found[f"{name} {mode}"] = {
                "cases": len(mine),
                "passed": len(passed),
                "refused": sum(row["verdict"] == "refused" for row in mine),
                "wrong": sum(row["verdict"] == "wrong" for row in mine),
                "another type": sum(row["verdict"] == "another type" for row in mine),
                "cpu_seconds_each": statistics.mean([float(str(row["cpu_seconds"])) for row in passed] or [0.0]),
                "kilobytes_each": 1e3 * statistics.mean([float(str(row["megabytes"])) for row in passed] or [0.0]),
            }
    return found


def _wrong(rows: Mapping[str, Mapping[str, Row]]) -> Row:
    """Of each peer the cases that it converted without a word and wrongly, with what ours is there."""
    return {
        name: {
            case: {"reason": row["reason"], "ours": rows[OURS][case]["verdict"]}
            for case, row in cases.items()
            if row["verdict"] == "wrong"
        }
        for name, cases in rows.items()
    }


def _show(rows: Mapping[str, Mapping[str, Row]]) -> None:
    print(f"{'':20} {'passed':>7} {'refused':>8} {'wrong':>6} {'type':>5} {'CPU s':>6} {'KB':>7}")
    for name, row in _figures(rows).items():
        each = dict(row) if isinstance(row, dict) else {}
        print(
            f"{name:20} {each['passed']:7} {each['refused']:8} {each['wrong']:6} "
            f"{each['another type']:5} {each['cpu_seconds_each']:6.3f} "
            f"{each['kilobytes_each']:7.2f}"
        )


def _converted(peer: str, folders: Sequence[Path]) -> dict[str, Row]:
    """What the peer's worker said of each folder; it is started anew behind a case that ended it."""
    found: dict[str, Row] = {}
    while left := [folder for folder in folders if folder.name not in found]:
        with tempfile.TemporaryDirectory() as name:
            report = Path(name) / "report"
            subprocess.run(
                [_environment() / "bin" / "python", _ROOM / "bench" / "peers" / "coreml_peer.py", peer, report],
                input="\n".join(map(str, left)),
                text=True,
                capture_output=True,
                check=False,
                cwd=name,
            )
            lines = report.read_text().splitlines() if report.exists() else []
        if not lines:
            return found | {folder.name: {"failure": "the peer can't be started"} for folder in left}
        for line in lines:
            row = json.loads(line)
            found[row.pop("folder")] = row
        print(f"{peer}: {len(found)} of {len(folders)}", flush=True)
    return found


def _real(pattern: str) -> Row:
    found: Row = {}
    for model in MODELS:
        if not re.search(pattern, model.name):
            continue
        with tempfile.TemporaryDirectory() as name:
            bound = shaped(onnx.load(fetched(model)), model)
            given = tensors(bound, model, 0)
            case = Case(model.name, "live", bound, given, _reference(bound, given))
            folder = _stored(Path(name) / "case", case)
            rows = {OURS: _own(folder, case)}
            rows |= {peer: _judged(peer, folder, case, _converted(peer, [folder])) for peer in PEERS}
        found[model.name] = rows
        print(f"{model.name:44} " + "  ".join(f"{peer} {row['verdict']}" for peer, row in rows.items()), flush=True)
    return found


def _reference(model: onnx.ModelProto, given: Mapping[str, np.ndarray]) -> dict[str, np.ndarray]:
    import onnxruntime

    session = onnxruntime.InferenceSession(model.SerializeToString(), providers=["CPUExecutionProvider"])
    names = [entry.name for entry in session.get_outputs()]
    return dict(zip(names, session.run(names, dict(given)), strict=True))


def _environment() -> Path:
    """The environment of the peers, made when it is not here yet."""
    folder = cache() / "coreml-peers"
    if not folder.exists():
        uv = shutil.which("uv") or str(_ROOM / ".ci" / "uv")
        partial = folder.with_suffix(".partial")
        shutil.rmtree(partial, ignore_errors=True)
        subprocess.run([uv, "venv", "--quiet", "--seed", "--relocatable", "--python", _PYTHON, partial], check=True)
        wanted = [each for needs in PEERS.values() for each in needs]
        # pip, since it knows the user's own indexes and wheels; the last index has torch without CUDA.
        environment = {"PIP_EXTRA_INDEX_URL": _TORCH_WITHOUT_CUDA} | os.environ
        command = [partial / "bin" / "python", "-m", "pip", "install", "--quiet", *wanted, *_TOOLS]
        subprocess.run(command, env=environment, check=True)
        partial.rename(folder)
    return folder


def _versions() -> Row:
    command = [_environment() / "bin" / "python", "-m", "pip", "list", "--format", "json"]
    listed = json.loads(subprocess.run(command, capture_output=True, check=True, text=True).stdout)
    wanted = {*PEERS, "coremltools", "numpy", "onnx", "torch", "torchvision"}
    return {each["name"]: each["version"] for each in listed if each["name"] in wanted}


if __name__ == "__main__":
    parser = argparse.ArgumentParser()
    parser.add_argument("pattern", nargs="?", default="")
    parser.add_argument("--models", help="which real models follow; '' for all")
    arguments = parser.parse_args()
    sys.exit(main(arguments.pattern, arguments.models))
