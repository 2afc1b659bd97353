"""A project with a real ONNX model, and a fleet, in a folder of the test's own."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
import time
import urllib.request
from pathlib import Path
from typing import TYPE_CHECKING, Any, TypeVar

import numpy as np
import onnx
import pytest
from onnx import TensorProto, helper, numpy_helper

if TYPE_CHECKING:
    from collections.abc import Callable

    from numpy.typing import NDArray

DEADLINE_SECONDS = 90.0
FEATURES, CLASSES = 4, 3

Found = TypeVar("Found")


def write_classifier(path: Path, seed: int) -> None:
    """A softmax regression of 4 features and 3 classes."""
    rng = np.random.default_rng(seed)
    weights = numpy_helper.from_array(rng.normal(size=(FEATURES, CLASSES)).astype(np.float32), "weights")
    bias = numpy_helper.from_array(rng.normal(size=CLASSES).astype(np.float32), "bias")
    graph = helper.make_graph(
        [
            helper.make_node("Gemm", ["x", "weights", "bias"], ["logits"], name="dense"),
            helper.make_node("Softmax", ["logits"], ["probabilities"], name="softmax", axis=-1),
        ],
        "classifier",
        [helper.make_tensor_value_info("x", TensorProto.FLOAT, ["N", FEATURES])],
        [helper.make_tensor_value_info("probabilities", TensorProto.FLOAT, ["N", CLASSES])],
        [weights, bias],
    )
    model = helper.make_model(graph, opset_imports=[helper.make_opsetid("", 17)], ir_version=8)
    onnx.checker.check_model(model)
    onnx.save(model, path)


def draw(rows: int, *, shift: float = 0.0, seed: int | None = None) -> NDArray[np.float32]:
    """Samples as in training, or moved away by `shift` standard deviations."""
    return np.random.default_rng(seed).normal(shift, 1.0, (rows, FEATURES)).astype(np.float32)


class Site:
    """One folder with everything in it: project, fleet, devices. What is started in it ends with it."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        self._programs: list[subprocess.Popen[bytes]] = []
        self._environment = {
            **os.environ,
            "PATH": f"{Path(sys.executable).parent}:{os.environ['PATH']}",
            "PACK_CACHE": str(folder / "cache"),
            "PACK_SIGNING_KEY": str(folder / "pack.key"),
        }

    def run(self, *command: object, expect: int = 0) -> str:
        """Standard output of a command that ends with that exit code."""
        words = [str(word) for word in command]
        done = subprocess.run(
            words, cwd=self.folder, env=self._environment, capture_output=True, text=True, check=False, timeout=120
        )
        assert done.returncode == expect, f"{words}: {done.returncode}\n{done.stdout}{done.stderr}"
        return done.stdout

    def start(self, name: str, *command: object) -> subprocess.Popen[bytes]:
        """A program that goes on; it writes to ``<name>.log``."""
        with (self.folder / f"{name}.log").open("ab") as log:
            program = subprocess.Popen(
                [str(word) for word in command], cwd=self.folder, env=self._environment, stdout=log, stderr=log
            )
        self._programs.append(program)
        return program

    def wait(self, what: str, look: Callable[[], Found | None]) -> Found:
        """What `look` finds, before the deadline."""
        end = time.monotonic() + DEADLINE_SECONDS
        while time.monotonic() < end:
            found = look()
            if found is not None:
                return found
            time.sleep(0.1)
        pytest.fail(f"{what}: not within {DEADLINE_SECONDS:.0f} s\n{self.logs()}")

    def serve(self) -> dict[str, Any]:
        """Start the server; its addresses."""
        self.start("serve", "pack-fleet", "serve", "--output", "json")
        log = self.folder / "serve.log"

        def ready() -> dict[str, Any] | None:
            lines = [line for line in log.read_text().splitlines() if line.startswith("{")]
            return json.loads(lines[0]) if lines else None

        return self.wait("the server is ready", ready)

    def logs(self) -> str:
        """What the programs wrote."""
        return "\n".join(f"--- {log.name}\n{log.read_text()[-4000:]}" for log in self.folder.glob("*.log"))

    def stop(self) -> None:
        """End the programs, the last one first."""
        for program in reversed(self._programs):
            program.send_signal(signal.SIGTERM)
            try:
                program.wait(15)
            except subprocess.TimeoutExpired:
                program.kill()
                program.wait()


def get(address: str, path: str) -> Any:  # noqa: ANN401 - JSON
    """A JSON answer of the HTTP API."""
    with urllib.request.urlopen(f"{address}/api/v1/{path}", timeout=10) as answer:  # noqa: S310 - our own server
        return json.loads(answer.read())
