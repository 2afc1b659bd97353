"""`pack serve` beside MLServer and a hand-written FastAPI server: requests a second, median and 99th percentile.

    python -m bench.serve

The same ONNX file, one thread a call, JSON of the Open Inference Protocol, 16 connections on loopback by wrk (Debian's
package of that name). The servers take turns, so that a busy moment hits all. Writes bench/results/serve.json.
"""

from __future__ import annotations

import contextlib
import json
import os
import re
import shutil
import socket
import statistics
import subprocess
import sys
import tempfile
import time
from pathlib import Path
from typing import TYPE_CHECKING
from urllib.error import URLError
from urllib.request import Request, urlopen

import numpy as np

from bench.measure import write_results

if TYPE_CHECKING:
    from collections.abc import Iterator

    import onnx

ROOT = Path(__file__).parents[1]
UV = [str(ROOT / ".ci" / "uv"), "run", "--quiet", "--isolated", "--no-project", "--python", sys.executable]
ROUNDS = 5
SECONDS = 4
CONNECTIONS = 16
ROWS = (1, 16)
PACK = [sys.executable, "-c", "import sys; from packager.cli import main; sys.exit(main())"]


def main() -> int:
    """Print the table and write it; the exit code is 1 if a peer answers more requests a second."""
    if shutil.which("wrk") is None:
        print("wrk is not here: apt-get install wrk", file=sys.stderr)
        return 2
    figures: dict[str, object] = {}
    behind = False
    with tempfile.TemporaryDirectory() as name, contextlib.ExitStack() as stack:
        folder = Path(name)
        key = build(folder)
        servers = {
            "pack serve": stack.enter_context(packtrain(folder, key)),
            "FastAPI": stack.enter_context(fastapi(folder)),
            "MLServer": stack.enter_context(mlserver(folder)),
        }
        for rows in ROWS:
            script = request_script(folder, rows)
            check_answers(servers, rows)
            seen: dict[str, list[dict[str, float]]] = {server: [] for server in servers}
            for _ in range(ROUNDS):
                for server, port in servers.items():
                    seen[server].append(load(port, script))
            table = {
                server: {figure: statistics.median(run[figure] for run in runs) for figure in runs[0]}
                for server, runs in seen.items()
            }
            ours = table["pack serve"]["requests_a_second"]
            for server, row in table.items():
                row["ratio"] = ours / row["requests_a_second"]
                print(
                    f"{rows:3} rows  {server:12} {row['requests_a_second']:8.0f}/s  p50 {row['p50_ms']:6.2f} ms  "
                    f"p99 {row['p99_ms']:6.2f} ms  {row['ratio']:.2f}"
                )
                behind |= row["ratio"] < 1
            figures[f"{rows} rows"] = table
    write_results("serve", figures, ["litestar", "uvicorn", "onnxruntime", "numpy"])
    return int(behind)


def network(hidden: int = 32) -> onnx.ModelProto:
    """64 inputs, a hidden layer, 10 scores; the batch is free."""
    from onnx import TensorProto, helper, numpy_helper

    random = np.random.default_rng(0)
    weights = {"w1": (64, hidden), "b1": (hidden,), "w2": (hidden, 10), "b2": (10,)}
    nodes = [
        helper.make_node("Gemm", ["x", "w1", "b1"], ["h"]),
        helper.make_node("Relu", ["h"], ["r"]),
        helper.make_node("Gemm", ["r", "w2", "b2"], ["g"]),
        helper.make_node("Softmax", ["g"], ["y"]),
    ]
    graph = helper.make_graph(
        nodes,
        "digits",
        [helper.make_tensor_value_info("x", TensorProto.FLOAT, ["n", 64])],
        [helper.make_tensor_value_info("y", TensorProto.FLOAT, ["n", 10])],
        [
            numpy_helper.from_array(random.standard_normal(shape).astype(np.float32), name)
            for name, shape in weights.items()
        ],
    )
    return helper.make_model(graph, opset_imports=[helper.make_opsetid("", 17)], ir_version=8)


def build(folder: Path, hidden: int = 32) -> Path:
    """Pack the network for cloud in `folder`; gives the public key."""
    import onnx

    onnx.save(network(hidden), folder / "model.onnx")
    (folder / "pack.toml").write_text(
        '[model]\nname = "digits"\nversion = "1"\nsource = "model.onnx"\n[targets.cloud]\n'
    )
    environment = own_folders(folder)
    for arguments in (["keys", "generate"], ["-t", "cloud"]):
        subprocess.run([*PACK, *arguments], cwd=folder, env=environment, check=True, capture_output=True)
    return next((folder / "configuration").rglob("*.pub"))


def own_folders(folder: Path) -> dict[str, str]:
    """An environment that touches nothing of the user's."""
    return {
        **os.environ,
        "PYTHONPATH": str(ROOT),
        "XDG_CONFIG_HOME": str(folder / "configuration"),
        "XDG_CACHE_HOME": str(folder / "cache"),
    }


@contextlib.contextmanager
def packtrain(folder: Path, key: Path) -> Iterator[int]:
    """Our server's port."""
    port = free_port()
    command = [*PACK, "serve", "digits:1@cloud", "--key", str(key), "--port", str(port)]
    with running(command, folder, own_folders(folder), port):
        yield port


@contextlib.contextmanager
def fastapi(folder: Path) -> Iterator[int]:
    """The hand-written server's port."""
    port = free_port()
    packages = ["--with", "fastapi", "--with", "uvicorn[standard]", "--with", "onnxruntime", "--with", "numpy"]
    command = [*UV, *packages, "python", str(ROOT / "bench" / "peers" / "fastapi_server.py")]
    environment = {**os.environ, "MODEL": str(folder / "model.onnx"), "PORT": str(port)}
    with running(command, folder, environment, port):
        yield port


@contextlib.contextmanager
def mlserver(folder: Path) -> Iterator[int]:
    """MLServer's port."""
    port = free_port()
    place = folder / "mlserver"
    place.mkdir()
    settings = {"http_port": port, "grpc_port": free_port(), "metrics_port": free_port(), "parallel_workers": 0}
    (place / "settings.json").write_text(json.dumps({**settings, "host": "127.0.0.1", "debug": False}))
    shutil.copy(ROOT / "bench" / "peers" / "mlserver_onnx.py", place)
    model = {"name": "digits", "implementation": "mlserver_onnx.OnnxModel"}
    (place / "model-settings.json").write_text(json.dumps({**model, "parameters": {"uri": str(folder / "model.onnx")}}))
    command = [*UV, "--with", "mlserver", "--with", "onnxruntime", "mlserver", "start", str(place)]
    with running(command, place, {**os.environ, "PYTHONPATH": str(place)}, port):
        yield port


@contextlib.contextmanager
def running(command: list[str], folder: Path, environment: dict[str, str], port: int) -> Iterator[None]:
    """A server, once it answers a request."""
    with (folder / "server.log").open("wb") as log:
        process = subprocess.Popen(command, cwd=folder, env=environment, stdout=log, stderr=log, start_new_session=True)
        try:
            until = time.monotonic() + 120
            while True:
                try:
                    ask(port, 1)
                    break
                except (URLError, OSError):
                    if process.poll() is not None or time.monotonic() > until:
                        raise RuntimeError((folder / "server.log").read_text()[-2000:]) from None
                    time.sleep(0.2)
            yield
        finally:
            with contextlib.suppress(ProcessLookupError):
                os.killpg(process.pid, 15)
            process.wait()


def document(rows: int) -> bytes:
    """A request of so many rows."""
    values = (np.arange(64 * rows) % 16 / 16).tolist()
    return json.dumps({"inputs": [{"name": "x", "shape": [rows, 64], "datatype": "FP32", "data": values}]}).encode()


def ask(port: int, rows: int) -> list[float]:
    """The scores that a server answers with."""
    headers = {"Content-Type": "application/json"}
    url = f"http://127.0.0.1:{port}/v2/models/digits/infer"
    with urlopen(Request(url, document(rows), headers), timeout=10) as answer:
        values: list[float] = json.load(answer)["outputs"][0]["data"]
    return values


def check_answers(servers: dict[str, int], rows: int) -> None:
    """All servers must say the same, or their speed means nothing."""
    answers = [ask(port, rows) for port in servers.values()]
    for answer in answers[1:]:
        np.testing.assert_allclose(answer, answers[0], rtol=1e-4)


def request_script(folder: Path, rows: int) -> Path:
    """What wrk is told to send."""
    path = folder / f"request{rows}.lua"
    path.write_text(
        'wrk.method = "POST"\nwrk.headers["Content-Type"] = "application/json"\n'
        f"wrk.body = '{document(rows).decode()}'\n"
    )
    return path


def load(port: int, script: Path) -> dict[str, float]:
    """One run of wrk."""
    url = f"http://127.0.0.1:{port}/v2/models/digits/infer"
    command = ["wrk", "-t1", f"-c{CONNECTIONS}", f"-d{SECONDS}s", "--latency", "-s", str(script), url]
    text = subprocess.run(command, capture_output=True, text=True, check=True).stdout
    if "Non-2xx" in text:
        raise RuntimeError(text)
    rate = re.search(r"Requests/sec:\s+([\d.]+)", text)
    percentiles = dict(re.findall(r"(\d+)%\s+([\d.]+\w+)", text))
    if rate is None:
        raise RuntimeError(text)
    return {
        "requests_a_second": float(rate[1]),
        "p50_ms": milliseconds(percentiles["50"]),
        "p99_ms": milliseconds(percentiles["99"]),
    }


def milliseconds(written: str) -> float:
    """A time as wrk writes it."""
    match = re.fullmatch(r"([\d.]+)(us|ms|s)", written)
    if match is None:
        raise ValueError(written)
    return float(match[1]) * {"us": 1e-3, "ms": 1.0, "s": 1e3}[match[2]]


def free_port() -> int:
    """A port that nothing listens on."""
    with socket.create_server(("127.0.0.1", 0)) as listener:
        return int(listener.getsockname()[1])


if __name__ == "__main__":
    sys.exit(main())
