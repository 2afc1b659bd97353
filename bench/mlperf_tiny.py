"""MLPerf Tiny's reference int8 files beside ours from the same Keras nets: size, error, latency.

    PACK_TENSORFLOW=PYTHON python -m bench.mlperf_tiny [PATTERN]

The nets come from the public repository mlcommons/tiny, cloned into the user's cache (PACK_MLPERF_TINY names a clone
that is there already). PACK_TENSORFLOW names a Python with tensorflow and tf2onnx: it makes ONNX of them, and int8 by
TFLiteConverter with the same calibration data as ours. The benchmark's own data is not in the repository, but for the
45 labelled samples of the streaming wake word; the other inputs are crops of scikit-learn's two photographs, or drawn
within the range that the reference file takes. Errors are against the Keras net in float, by onnxruntime. Latencies are
of one thread, the fastest of interleaved calls. Writes bench/results/mlperf-tiny.json.
"""

from __future__ import annotations

import os
import re
import subprocess
import sys
import tarfile
import tempfile
import time
from io import BytesIO
from pathlib import Path
from typing import TYPE_CHECKING, Any, NamedTuple

import numpy as np

from bench.measure import write_results
from bench.real_models import cache

if TYPE_CHECKING:
    from collections.abc import Callable

    from numpy.typing import NDArray

REPOSITORY = "https://github.com/mlcommons/tiny"
_TRAINING = "benchmark/training"
_COUNT = 160
_SECONDS = 1.0
_BYTE = 255
_NOISE = 1.1
"""What times may differ by: two runs of one file differ, and ours takes floats in and gives them out."""


class Net(NamedTuple):
    """One net of the suite, by its paths below benchmark/training."""

    name: str
    source: str
    reference: str
    inputs: str
    """What goes in."""


NETS = (
    Net(
        "keyword spotting",
        "keyword_spotting/trained_models/kws_ref_model",
        "keyword_spotting/trained_models/kws_ref_model.tflite",
        "drawn",
    ),
    Net(
        "visual wake words",
        "visual_wake_words/trained_models/vww_96.h5",
        "visual_wake_words/trained_models/vww_96_int8.tflite",
        "photographs",
    ),
    Net(
        "image classification",
        "image_classification/trained_models/pretrainedResnet.h5",
        "image_classification/trained_models/pretrainedResnet_quant.tflite",
        "photographs",
    ),
    Net(
        "anomaly detection",
        "anomaly_detection/trained_models/ad01.h5",
        "anomaly_detection/trained_models/ad01_int8.tflite",
        "drawn",
    ),
    Net(
        "streaming wake word",
        "streaming_wakeword/trained_models/str_ww_ref_model.h5",
        "streaming_wakeword/trained_models/str_ww_ref_model.tflite",
        "streaming_wakeword/calibration_samples.npz",
    ),
)
OURS: dict[str, dict[str, Any]] = {
    "ours int8-io": {"quantize": "int8-io"},
    "ours int8": {"quantize": "int8"},
    "ours auto, size": {"quantize": "auto"},
    "ours auto, latency": {"quantize": "auto", "optimize": "latency"},
    "ours at its error": {"quantize": "auto", "optimize": "latency", "auto_error": "reference"},
}
"""The last may err as much as the reference does on the calibration samples, and no more."""


def main(pattern: str) -> int:
    """Print the table and write it; the exit code is 1 if for a net none of ours is as small, close and fast."""
    rows: dict[str, object] = {}
    missed = []
    for net in NETS:
        if not re.search(pattern, net.name):
            continue
        row = measured(net)
        rows[net.name] = {"inputs": net.inputs, "files": row}
        for label, figures in row.items():
            print(f"{net.name:22} {label:20} " + "  ".join(f"{key} {value:.4g}" for key, value in figures.items()))
        if not any(_matches(row[label], row["reference"]) for label in OURS):
            missed.append(net.name)
    if not pattern:
        write_results("mlperf-tiny", rows, ["ai-edge-litert", "ai-edge-quantizer", "onnx", "onnxruntime", "numpy"])
    print(f"behind the reference: {', '.join(missed) or 'none'}")
    return int(bool(missed))


def _matches(ours: dict[str, float], theirs: dict[str, float]) -> bool:
    is_fast = ours["milliseconds"] <= theirs["milliseconds"] * _NOISE
    return ours["bytes"] <= theirs["bytes"] and ours["error"] <= theirs["error"] and is_fast


def repository() -> Path:
    """A clone of the suite."""
    named = os.environ.get("PACK_MLPERF_TINY")
    path = Path(named) if named else cache() / "mlcommons-tiny"
    if not path.exists():
        subprocess.run(["git", "clone", "--quiet", "--bare", "--filter=blob:none", REPOSITORY, path], check=True)
    return path


def _content(path: str) -> bytes:
    command = ["git", "-C", repository(), "show", f"HEAD:{_TRAINING}/{path}"]
    return subprocess.run(command, check=True, capture_output=True).stdout


def _source(net: Net, room: Path) -> Path:
    if net.source.endswith(".h5"):
        path = room / "net.h5"
        path.write_bytes(_content(net.source))
        return path
    command = ["git", "-C", repository(), "archive", f"HEAD:{_TRAINING}/{net.source}"]
    with tarfile.open(fileobj=BytesIO(subprocess.run(command, check=True, capture_output=True).stdout)) as archive:
        archive.extractall(room / "net", filter="data")
    return room / "net"


def measured(net: Net) -> dict[str, dict[str, float]]:
    """Figures of each file of one net: the reference's, TFLiteConverter's and ours."""
    import onnx

    from targets.edge_arm import Options, target

    interpreter = os.environ.get("PACK_TENSORFLOW", sys.executable)
    with tempfile.TemporaryDirectory() as name:
        room = Path(name)
        reference = room / "reference.tflite"
        reference.write_bytes(_content(net.reference))
        rows, labels = samples(net, File(reference))
        seen, tests = rows[np.arange(len(rows)) % 2 == 0], rows[np.arange(len(rows)) % 2 == 1]
        np.savez(room / "samples.npz", calibration=seen)
        script = Path(__file__).with_name("mlperf_tensorflow.py")
        command = [interpreter, script, "made", _source(net, room), room / "samples.npz", room]
        done = subprocess.run(command, check=False, capture_output=True, text=True)
        if not (room / "made.onnx").exists():
            raise RuntimeError(f"no ONNX of {net.name}: {done.stderr[-2000:]}")
        files = {"reference": File(reference)}
        if (room / "made.tflite").exists():
            files["TFLiteConverter"] = File(room / "made.tflite")
        given = onnx.load(room / "made.onnx").graph.input[0].name
        floats = _floats(room / "made.onnx", seen)
        for label, fixed in OURS.items():
            out = room / label
            out.mkdir()
            options = fixed
            if "auto_error" in fixed:
                options = fixed | {"auto_error": min(1.0, _error(files["reference"], seen, floats))}
            target.convert(room / "made.onnx", Options(**options), {given: seen}, out)
            files[label] = File(out / "model.tflite")
        return _figures(files, _floats(room / "made.onnx", tests), tests, labels)


def _figures(
    files: dict[str, File],
    expected: NDArray[np.float32],
    tests: NDArray[np.float32],
    labels: NDArray[np.int64] | None,
) -> dict[str, dict[str, float]]:
    times = interleaved({label: file.timed(tests[0]) for label, file in files.items()})
    figures: dict[str, dict[str, float]] = {}
    for label, file in files.items():
        got = np.stack([file.run(row) for row in tests]).reshape(expected.shape)
        figures[label] = {
            "bytes": file.size,
            "error": _error(file, tests, expected),
            "milliseconds": times[label] * 1e3,
        }
        if np.allclose(expected.sum(axis=-1), 1, atol=1e-3):
            figures[label]["same_class"] = float((got.argmax(-1) == expected.argmax(-1)).mean())
        if labels is not None:
            right = labels[np.arange(len(labels)) % 2 == 1]
            figures[label]["accuracy"] = float((got.argmax(-1).reshape(-1) == right).mean())
            figures[label]["float_accuracy"] = float((expected.argmax(-1).reshape(-1) == right).mean())
    return figures


def _error(file: File, rows: NDArray[np.float32], expected: NDArray[np.float32]) -> float:
    """Root mean square of the differences over that of what is expected."""
    got = np.stack([file.run(row) for row in rows]).reshape(expected.shape)
    return float(np.sqrt(((got - expected) ** 2).mean() / (expected**2).mean()))


def _floats(path: Path, tests: NDArray[np.float32]) -> NDArray[np.float32]:
    import onnxruntime

    session = onnxruntime.InferenceSession(path, providers=["CPUExecutionProvider"])
    name = session.get_inputs()[0].name
    return np.stack([session.run(None, {name: row[None]})[0] for row in tests])


def samples(net: Net, reference: File) -> tuple[NDArray[np.float32], NDArray[np.int64] | None]:
    """Inputs of one net, one a row, in float; and their labels where the repository has them."""
    random = np.random.default_rng(0)
    if net.inputs.endswith(".npz"):
        stored = np.load(BytesIO(_content(net.inputs)))
        return stored["specs"].astype(np.float32), stored["labels"].astype(np.int64)
    if net.inputs == "photographs":
        high = reference.limits[1]
        crops = photographs(_COUNT, reference.shape[0], random)
        return (crops if high > 1.5 else crops / _BYTE).astype(np.float32), None  # noqa: PLR2004 - bytes, or 0 to 1
    low, high = reference.limits
    # Cepstra and spectra: neighbours in time are alike, and a reading is seldom at the ends of the range.
    walk = random.standard_normal((_COUNT, *reference.shape)).cumsum(axis=1)
    walk /= np.abs(walk).max(axis=tuple(range(1, walk.ndim)), keepdims=True)
    level = random.uniform(0.2, 0.9, (_COUNT, *[1] * (walk.ndim - 1)))
    return ((low + high) / 2 + walk * level * (high - low) / 2).astype(np.float32), None


def photographs(count: int, size: int, random: np.random.Generator) -> NDArray[np.float32]:
    """Square crops of two photographs, of many scales: [count, size, size, 3], from 0 to 255."""
    from sklearn.datasets import load_sample_images

    images = load_sample_images().images
    crops = []
    for place in range(count):
        image = images[place // 2 % 2]
        side = int(random.integers(size, 400))
        top, left = (int(random.integers(0, length - side)) for length in image.shape[:2])
        places = np.arange(size) * side // size
        crops.append(image[top : top + side, left : left + side][places][:, places])
    return np.stack(crops).astype(np.float32)


class File:
    """A TFLite file with one input and one output, whatever they are stored as."""

    def __init__(self, path: Path) -> None:
        from ai_edge_litert.interpreter import Interpreter

        self.size = path.stat().st_size
        self._interpreter = Interpreter(model_path=str(path), num_threads=1)
        self._interpreter.allocate_tensors()
        self._given = self._interpreter.get_input_details()[0]
        self._made = self._interpreter.get_output_details()[0]
        self.shape = tuple(int(size) for size in self._given["shape"][1:])

    @property
    def limits(self) -> tuple[float, float]:
        """The real numbers that an int8 input reaches to."""
        scale, zero = self._given["quantization"]
        return (-128 - zero) * scale, (127 - zero) * scale

    def stored(self, row: NDArray[np.float32]) -> NDArray[Any]:
        """One input as the file takes it."""
        scale, zero = self._given["quantization"]
        row = row.reshape(self._given["shape"])
        return np.clip(np.rint(row / scale) + zero, -128, 127).astype(np.int8) if scale else row

    def run(self, row: NDArray[np.float32]) -> NDArray[np.float32]:
        """The output of one call, in float."""
        self._interpreter.set_tensor(self._given["index"], self.stored(row))
        self._interpreter.invoke()
        found = self._interpreter.get_tensor(self._made["index"])
        scale, zero = self._made["quantization"]
        return (found.astype(np.float32) - zero) * scale if scale else found

    def timed(self, row: NDArray[np.float32]) -> Callable[[], None]:
        """What is timed: one call on an input that is stored already."""
        self._interpreter.set_tensor(self._given["index"], self.stored(row))
        return self._interpreter.invoke  # type: ignore[no-any-return] # LiteRT has no types


def interleaved(calls: dict[str, Callable[[], None]]) -> dict[str, float]:
    """The fastest of many calls of each, in turns."""
    best = dict.fromkeys(calls, float("inf"))
    end = time.perf_counter() + _SECONDS * len(calls)
    while time.perf_counter() < end:
        for label, call in calls.items():
            began = time.perf_counter()
            call()
            best[label] = min(best[label], time.perf_counter() - began)
    return best


if __name__ == "__main__":
    sys.exit(main(sys.argv[1] if len(sys.argv) > 1 else ""))
