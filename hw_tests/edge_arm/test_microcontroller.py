"""The variant for microcontrollers in TensorFlow Lite Micro itself, built for this machine (PyPI: tflite-micro)."""

from __future__ import annotations

import re
from typing import TYPE_CHECKING

import numpy as np
import onnx
import pytest

from agent.runtimes.litert import open_model
from bench.edge import shaped
from bench.real_models import MODELS, fetched
from targets.edge_arm import Options, target

if TYPE_CHECKING:
    from pathlib import Path

NAMES = ("qonnx mnist-conv", "openwakeword alexa_v0.1", "silero silero_vad_op18_ifless", "PP-OCR cls")


@pytest.mark.parametrize("name", NAMES)
def test_it_runs_there_within_the_arena_of_the_header_and_gives_the_same(
    name: str, tmp_path: Path, capfd: pytest.CaptureFixture[str]
) -> None:
    runtime = pytest.importorskip(
        "tflite_micro.python.tflite_micro.runtime", reason="tflite-micro is not installed: pip install tflite-micro"
    )
    (model,) = (model for model in MODELS if model.name == name)
    onnx.save(shaped(onnx.load(fetched(model)), model), tmp_path / "model.onnx")
    (tmp_path / "out").mkdir()
    artifact = target.convert(tmp_path / "model.onnx", Options(device="mcu"), None, tmp_path / "out")
    path = tmp_path / "out" / artifact.runtime.entry
    declared = re.search(r"MODEL_ARENA_SIZE (\d+)u", (tmp_path / "out" / "model.h").read_text())
    assert declared is not None
    interpreter = runtime.Interpreter.from_file(str(path), arena_size=4 * int(declared[1]))
    interpreter.print_allocations()
    shown = capfd.readouterr()
    used = re.search(r"Arena allocation total (\d+) bytes", shown.out + shown.err)
    assert used is not None
    assert int(used[1]) <= int(declared[1])
    random = np.random.default_rng(3)
    given = {
        entry.name: random.standard_normal([int(size) for size in entry.shape]).astype(entry.dtype)
        for entry in artifact.signature.inputs
    }
    expected = open_model(path, threads=1).run(given)
    for place, entry in enumerate(artifact.signature.inputs):
        interpreter.set_input(given[entry.name], place)
    interpreter.invoke()
    for place, entry in enumerate(artifact.signature.outputs):
        np.testing.assert_allclose(interpreter.get_output(place), expected[entry.name], rtol=1e-3, atol=1e-4)
