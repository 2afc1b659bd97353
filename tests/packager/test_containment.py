from __future__ import annotations

import os
import pickle
import shutil
import socket
import subprocess
import sys
from typing import TYPE_CHECKING

import msgspec
import pytest

from packager.errors import ConversionError
from packager.jobs import importation
from packager.samples import DataFiles
from packager.worker import Workers
from tests.packager.test_worker import Loading

if TYPE_CHECKING:
    from pathlib import Path

REACH = """
import socket
with socket.socket({family}, socket.SOCK_STREAM) as door:
    door.connect({address!r})
"""


def importing(tmp_path: Path, code: str) -> str:
    """What an import of a trusted pickle that runs `code` ends with."""
    (tmp_path / "model.pkl").write_bytes(pickle.dumps(Loading(code), protocol=4))
    order = importation.Order(
        framework="sklearn",
        path=str(tmp_path / "model.pkl"),
        trusted=True,
        task=importation.TaskSection(),
        data=DataFiles(),
    )
    with (
        Workers(tmp_path / "scratch", seconds=60, memory=1 << 33) as workers,
        pytest.raises(ConversionError) as caught,
        workers.job("importation", order, importation.Importation),
    ):
        pass
    return str(caught.value)


def test_a_trusted_pickle_reaches_no_server(tmp_path: Path) -> None:
    with socket.create_server(("127.0.0.1", 0)) as server:
        said = importing(tmp_path, REACH.format(family="socket.AF_INET", address=server.getsockname()))
        server.setblocking(False)  # noqa: FBT003 - the standard library's signature
        with pytest.raises(BlockingIOError):
            server.accept()
    assert "PermissionError: [Errno 1] Operation not permitted" in said


def test_a_trusted_pickle_reaches_no_local_service(tmp_path: Path) -> None:
    with socket.socket(socket.AF_UNIX) as server:
        server.bind(str(tmp_path / "service"))
        server.listen()
        said = importing(tmp_path, REACH.format(family="socket.AF_UNIX", address=str(tmp_path / "service")))
    assert "PermissionError: [Errno 1] Operation not permitted" in said


ALONE = """
import socket
from packager import containment
assert containment.{way}()
try:
    socket.create_connection({address!r}, timeout=10).close()
except OSError as error:
    print(type(error).__name__, error.errno)
child = __import__("subprocess").run(["cat", "/proc/net/dev"], capture_output=True, text=True, check=True)
print(len(child.stdout.splitlines()) - 2)
"""


def as_anybody() -> list[str]:
    """The words before a command that run it as who is not root."""
    if os.getuid() != 0:
        return []
    program = shutil.which("setpriv")
    assert program is not None
    return [program, "--reuid=65534", "--regid=65534", "--clear-groups"]


@pytest.mark.parametrize("prefix", [[], as_anybody()], ids=["as-is", "unprivileged"])
@pytest.mark.parametrize(
    ("way", "error"), [("_enter_namespaces", "OSError 101"), ("_refuse_sockets", "PermissionError 1")]
)
def test_each_way_alone_keeps_a_process_and_its_children_from_a_server(prefix: list[str], way: str, error: str) -> None:
    with socket.create_server(("127.0.0.1", 0)) as server:
        code = ALONE.format(way=way, address=server.getsockname())
        interpreter = sys.executable if not prefix else shutil.which("python3", path="/usr/bin") or sys.executable
        ran = subprocess.run([*prefix, interpreter, "-c", code], capture_output=True, text=True, check=False)
    assert ran.stdout.splitlines()[:1] == [error], ran.stderr
    if way == "_enter_namespaces":
        assert ran.stdout.splitlines()[1] == "1"


NEITHER = """
import platform
from packager import containment
calls = containment._MACHINES[platform.machine()]
assert containment._refuse(calls, [calls.unshare, calls.seccomp])
containment.leave_network()
"""


def test_where_neither_can_be_had_a_model_that_runs_code_is_refused() -> None:
    ran = subprocess.run([sys.executable, "-c", NEITHER], capture_output=True, text=True, check=False)
    assert "neither a user namespace nor a seccomp filter can be had" in ran.stderr


def test_what_runs_no_code_keeps_its_sockets() -> None:
    order = importation.Order(
        framework="onnx", path="model.onnx", trusted=False, task=importation.TaskSection(), data=DataFiles()
    )
    assert not importation.runs_foreign_code(order)
    assert importation.runs_foreign_code(msgspec.structs.replace(order, trusted=True))
