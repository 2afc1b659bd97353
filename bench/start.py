"""What starting costs, what stays in memory, what a cached rebuild takes, and what an installation weighs.

    python bench/start.py

Whole commands, median of several runs, beside the bare interpreter in the same run. Writes results/start.json.
"""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import tempfile
import time
from pathlib import Path

from measure import folder_size, memory, time_command, write_results

HERE = Path(__file__).parent
BIN = Path(sys.executable).parent
RUNS = 7
SETTLED_SECONDS = 20.0
"""How long the daemon idles before its memory is read."""
PROJECT = """
[model]
name = "mlp"
version = "1"
source = "model.onnx"

[data]
calibration = "calibration.npz"

[targets.cloud]

[targets.edge-arm]
quantize = "int8"
"""


def main() -> None:
    """Measure and print."""
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        figures: dict[str, object] = {
            "python -c pass": time_command([sys.executable, "-c", "pass"], folder=folder, environment={}, runs=RUNS),
            **{
                command: time_command([str(BIN / words[0]), *words[1:]], folder=folder, environment={}, runs=RUNS)
                for command in (
                    "pack --help",
                    "pack --version",
                    "pack targets",
                    "pack-agent --help",
                    "pack-fleet --help",
                )
                for words in [command.split()]
            },
            "pack, all from the cache": cached_rebuild(folder),
            "pack-agent run, idle": idle_agent(folder),
            "installed, MB": installations(folder),
        }
    path = write_results("start", figures, ["packtrain", "typer", "msgspec", "onnxruntime", "ai-edge-litert"])
    for title, values in figures.items():
        print(title, values)
    print(path)


def cached_rebuild(folder: Path) -> dict[str, float]:
    """A project of two targets, built once, then again and again."""
    environment = {"PACK_CACHE": str(folder / "cache"), "PACK_SIGNING_KEY": str(folder / "pack.key")}
    write_model(folder)
    (folder / "pack.toml").write_text(PROJECT)
    subprocess.run([BIN / "pack", "keys", "generate", "pack.key"], cwd=folder, check=True, capture_output=True)
    return time_command([str(BIN / "pack")], folder=folder, environment=environment, runs=RUNS)


def write_model(folder: Path) -> None:
    """A network of 64-64-10 and its calibration data."""
    import numpy as np
    import onnx
    from onnx import TensorProto, helper, numpy_helper

    rng = np.random.default_rng(0)
    weights = {"a": (64, 64), "b": (64,), "c": (64, 10), "d": (10,)}
    graph = helper.make_graph(
        [
            helper.make_node("Gemm", ["x", "a", "b"], ["h"]),
            helper.make_node("Relu", ["h"], ["r"]),
            helper.make_node("Gemm", ["r", "c", "d"], ["l"]),
            helper.make_node("Softmax", ["l"], ["y"]),
        ],
        "mlp",
        [helper.make_tensor_value_info("x", TensorProto.FLOAT, ["N", 64])],
        [helper.make_tensor_value_info("y", TensorProto.FLOAT, ["N", 10])],
        [
            numpy_helper.from_array(rng.normal(0, 0.1, shape).astype(np.float32), name)
            for name, shape in weights.items()
        ],
    )
    onnx.save(
        helper.make_model(graph, opset_imports=[helper.make_opsetid("", 17)], ir_version=8), folder / "model.onnx"
    )
    np.savez(folder / "calibration.npz", x=rng.random((200, 64), np.float32))


def idle_agent(folder: Path) -> dict[str, float]:
    """The daemon, enrolled and connected to a broker, with nothing to do."""
    (folder / "site").mkdir()
    place = folder / "site"
    for command in (
        ["pack-fleet", "init", "--broker-port", "0", "--api-port", "0"],
        ["pack-fleet", "trust", str(folder / "pack.pub")],
    ):
        subprocess.run([BIN / command[0], *command[1:]], cwd=place, check=True, capture_output=True)
    serve = subprocess.Popen(
        [BIN / "pack-fleet", "serve"], cwd=place, stdout=subprocess.PIPE, stderr=subprocess.DEVNULL
    )
    try:
        if serve.stdout is None or not serve.stdout.readline():
            raise RuntimeError("the server did not start")
        subprocess.run([BIN / "pack-fleet", "enroll", "dev"], cwd=place, check=True, capture_output=True)
        command = [BIN / "pack-agent", "run", "--config", "dev/agent.toml"]
        agent = subprocess.Popen(command, cwd=place, stderr=subprocess.DEVNULL)
        try:
            time.sleep(SETTLED_SECONDS)
            return memory(agent.pid)
        finally:
            agent.send_signal(signal.SIGTERM)
            agent.wait(20)
    finally:
        serve.send_signal(signal.SIGTERM)
        serve.wait(20)


def installations(folder: Path) -> dict[str, float]:
    """MB of an environment with these extras, made from the lock, Python itself not counted."""
    top = HERE.parent
    sizes = {}
    for extras in ((), ("onnxruntime",), ("litert",), ("pack", "sklearn", "mlflow", "tflite"), ("fleet",)):
        environment = folder / ("env-" + "-".join(extras))
        flags = [flag for extra in extras for flag in ("--extra", extra)]
        subprocess.run(
            [top / ".ci" / "uv", "sync", "--quiet", "--locked", "--no-default-groups", "--no-editable", *flags],
            cwd=top,
            env=os.environ | {"UV_PROJECT_ENVIRONMENT": str(environment)},
            check=True,
        )
        sizes["+".join(("packtrain", *extras))] = round(folder_size(environment), 1)
    return sizes


if __name__ == "__main__":
    main()
