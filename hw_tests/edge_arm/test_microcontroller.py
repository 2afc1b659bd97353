"""The variant for microcontrollers in TensorFlow Lite Micro itself, built for this machine (PyPI: tflite-micro)."""

from __future__ import annotations

import re
from typing import TYPE_CHECKING

import numpy as np
import onnx
import pytest

from agent.runtimes.litert import open_model
from bench.edge import inputs, shaped
from bench.real_models import MODELS, fetched
from targets.edge_arm import Options, target

if TYPE_CHECKING:
    from pathlib import Path

    from numpy.typing import NDArray

    from manifests.manifest import TensorSection
    from targets.edge_arm import Quantize

CASES: tuple[tuple[str, Quantize], ...] = (
    ("qonnx mnist-conv", "none"),
    ("openwakeword alexa_v0.1", "none"),
    ("silero silero_vad_op18_ifless", "none"),
    ("PP-OCR cls", "none"),
    ("qonnx mnist-conv", "int8-io"),
    ("openwakeword alexa_v0.1", "int8"),
    ("openwakeword alexa_v0.1", "int16x8"),
    ("qonnx mnist-conv", "auto"),
)


@pytest.mark.parametrize(("name", "scheme"), CASES)
def test_it_runs_there_within_the_arena_of_the_header_and_gives_the_same(
    name: str, scheme: Quantize, tmp_path: Path, capfd: pytest.CaptureFixture[str]
) -> None:
    runtime = pytest.importorskip(
        "tflite_micro.python.tflite_micro.runtime", reason="tflite-micro is not installed: pip install tflite-micro"
    )
    (model,) = (model for model in MODELS if model.name == name)
    bound = shaped(onnx.load(fetched(model)), model)
    onnx.save(bound, tmp_path / "model.onnx")
    (tmp_path / "out").mkdir()
    calls = [inputs(bound, model, seed) for seed in range(20)]
    seen = {key: np.concatenate([call[key] for call in calls]) for key in calls[0]}
    artifact = target.convert(tmp_path / "model.onnx", Options(device="mcu", quantize=scheme), seen, tmp_path / "out")
    path = tmp_path / "out" / artifact.runtime.entry
    declared = re.search(r"MODEL_ARENA_SIZE (\d+)u", (tmp_path / "out" / "model.h").read_text())
    assert declared is not None
    interpreter = runtime.Interpreter.from_file(str(path), arena_size=4 * int(declared[1]))
    interpreter.print_allocations()
    shown = capfd.readouterr()
    used = re.search(r"Arena allocation total (\d+) bytes", shown.out + shown.err)
    assert used is not None
    assert int(used[1]) <= int(declared[1])
    given = {entry.name: _stored(calls[0][entry.name], entry) for entry in artifact.signature.inputs}
    expected = open_model(path, threads=1).run(given)
    for place, entry in enumerate(artifact.signature.inputs):
        interpreter.set_input(given[entry.name], place)
    interpreter.invoke()
    for place, entry in enumerate(artifact.signature.outputs):
        got, wanted = interpreter.get_output(place).astype(float), expected[entry.name].astype(float)
        step = (
            np.abs(wanted).max() / 40 if scheme in {"auto", "int8", "int16x8"} else 3.0 if scheme == "int8-io" else 1e-4
        )
        np.testing.assert_allclose(got, wanted, rtol=1e-3, atol=step)


def _stored(values: NDArray[np.generic], entry: TensorSection) -> NDArray[np.generic]:
    """As the file takes them."""
    if entry.quantization is None:
        return values.astype(entry.dtype)
    steps = np.rint(values / entry.quantization.scale) + entry.quantization.zero_point
    return np.clip(steps, -128, 127).astype(entry.dtype)
