"""A store with two versions of a model that multiplies, and a server of it."""

from __future__ import annotations

import os
import re
import subprocess
import sys
import threading
from contextlib import contextmanager
from typing import TYPE_CHECKING, NamedTuple, Protocol

import numpy as np
import onnx
import pytest
from onnx import TensorProto, helper, numpy_helper

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator
    from contextlib import AbstractContextManager
    from pathlib import Path

PACK = [sys.executable, "-c", "import sys; from packager.cli import main; sys.exit(main())"]


class Shop(NamedTuple):
    """A project whose store holds ``scale:1@cloud``; `add` builds another version with another factor."""

    folder: Path
    key: Path
    add: Callable[[int], None]


class Serve(Protocol):
    """Starts `pack serve` with these arguments; gives its lines and its address, and ends it afterwards."""

    def __call__(self, *arguments: str) -> AbstractContextManager[Server]: ...


class Server(NamedTuple):
    url: str
    rpc: str
    lines: list[str]
    process: subprocess.Popen[str]


def multiplier(factor: float) -> onnx.ModelProto:
    graph = helper.make_graph(
        [helper.make_node("Mul", ["x", "factor"], ["y"]), helper.make_node("Cast", ["kind"], ["flag"], to=9)],
        "scale",
        [
            helper.make_tensor_value_info("x", TensorProto.FLOAT, ["batch", 4]),
            helper.make_tensor_value_info("kind", TensorProto.INT64, ["batch"]),
        ],
        [
            helper.make_tensor_value_info("y", TensorProto.FLOAT, ["batch", 4]),
            helper.make_tensor_value_info("flag", TensorProto.BOOL, ["batch"]),
        ],
        [numpy_helper.from_array(np.float32(factor), "factor")],
    )
    return helper.make_model(graph, opset_imports=[helper.make_opsetid("", 17)], ir_version=8)


@pytest.fixture(scope="module")
def shop(tmp_path_factory: pytest.TempPathFactory) -> Shop:
    tmp_path = tmp_path_factory.mktemp("shop")
    environment = os.environ | {
        "XDG_CONFIG_HOME": str(tmp_path / "configuration"),
        "XDG_CACHE_HOME": str(tmp_path / "cache"),
    }
    folder = tmp_path / "project"
    folder.mkdir()

    def add(version: int) -> None:
        onnx.save(multiplier(10.0**version), folder / "model.onnx")
        (folder / "pack.toml").write_text(
            f'[model]\nname = "scale"\nversion = "{version}"\nsource = "model.onnx"\n\n[targets.cloud]\n'
        )
        subprocess.run([*PACK, "-t", "cloud"], cwd=folder, env=environment, check=True, capture_output=True)

    subprocess.run([*PACK, "keys", "generate"], cwd=folder, env=environment, check=True, capture_output=True)
    add(1)
    (key,) = (tmp_path / "configuration").rglob("*.pub")
    return Shop(folder, key, add)


@pytest.fixture(scope="module")
def served(serve: Serve) -> Iterator[Server]:
    """One server for all tests that leave it as it is."""
    with serve("scale:1@cloud", "--body", "40 KB") as server:
        yield server


@pytest.fixture(scope="module")
def serve(shop: Shop) -> Serve:
    @contextmanager
    def run(*arguments: str) -> Iterator[Server]:
        command = [*PACK, "serve", *arguments, "--key", str(shop.key), "--port", "0", "--grpc-port", "0"]
        process = subprocess.Popen(command, cwd=shop.folder, stderr=subprocess.PIPE, text=True)
        assert process.stderr is not None
        lines: list[str] = []
        try:
            for line in process.stderr:
                lines.append(line.rstrip())
                if "serves" in line:
                    break
            reader = threading.Thread(target=lambda: lines.extend(line.rstrip() for line in process.stderr or ()))
            reader.start()
            text = "\n".join(lines)
            url, rpc = re.search(r"http://\S+", text), re.search(r"gRPC on (\S+)", text)
            assert url, text
            assert rpc, text
            yield Server(url[0], rpc[1], lines, process)
        finally:
            process.terminate()
            process.wait(20)
            reader.join(20)
            process.stderr.close()

    return run
