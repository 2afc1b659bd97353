"""A package that Apple's converter wrote for others computes what its ONNX twin computes."""

from __future__ import annotations

import subprocess
from typing import TYPE_CHECKING

import numpy as np
import onnxruntime
import pytest

from bench.real_models import MODELS, fetched
from targets.coreml.evaluator import load_program

if TYPE_CHECKING:
    from pathlib import Path

RATE = 22050
SAMPLES = 43844


@pytest.fixture(scope="session")
def saved_models() -> Path:
    # Of the session, so that it looks for the user's cache before a test gets one of its own.
    (model,) = (model for model in MODELS if model.name == "basic-pitch")
    try:
        return fetched(model).parent
    except subprocess.CalledProcessError as error:
        pytest.skip(f"{model.package} can't be had from the package registry: {error}")


def test_the_package_of_basic_pitch_hears_what_its_onnx_twin_hears(saved_models: Path) -> None:
    time = np.arange(SAMPLES) / RATE
    noise = 0.05 * np.random.default_rng(0).standard_normal(SAMPLES)
    chord = 0.4 * np.sin(2 * np.pi * 440 * time) + 0.3 * np.sin(2 * np.pi * 261.6 * time) + noise
    sound = chord.astype(np.float32).reshape(1, SAMPLES, 1)
    twin = onnxruntime.InferenceSession(saved_models / "nmp.onnx", providers=["CPUExecutionProvider"])
    contour, note, onset = (f"StatefulPartitionedCall:{place}" for place in range(3))
    expected = dict(
        zip(
            (contour, note, onset),
            twin.run([contour, note, onset], {twin.get_inputs()[0].name: sound}),
            strict=True,
        )
    )
    program = load_program(saved_models / "nmp.mlpackage")
    results = program.predict({"input_2": sound})
    for name, twin_name in (("Identity", contour), ("Identity_1", note), ("Identity_2", onset)):
        assert expected[twin_name].max() > 0.3
        # Logarithms of quiet frequencies differ from machine to machine by more than their inputs do.
        np.testing.assert_allclose(results[name], expected[twin_name], rtol=0, atol=3e-4)
