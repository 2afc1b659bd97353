from __future__ import annotations

import contextlib
import os
import pickle
import subprocess
import sys
import time
from pathlib import Path
from typing import TYPE_CHECKING

import msgspec
import pytest

from packager.config import worker_environment
from packager.errors import ConfigError, ConversionError
from packager.jobs import importation
from packager.samples import DataFiles
from packager.worker import Workers

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

    Start = Callable[..., subprocess.Popen[bytes]]

ORDER = importation.Order(
    framework="onnx", path="/nowhere/model.onnx", trusted=False, task=importation.TaskSection(), data=DataFiles()
)


def test_a_worker_that_ends_with_a_traceback_reports_its_last_words(tmp_path: Path) -> None:
    with (
        Workers(tmp_path, seconds=60, memory=1 << 33) as workers,
        pytest.raises(ConversionError, match="importation crashed with exit code 1: ModuleNotFoundError") as caught,
        workers.job("importation", msgspec.structs.replace(ORDER, framework="none"), importation.Importation),
    ):
        pass
    assert 'File "' in caught.value.hint
    assert [entry.name for entry in tmp_path.iterdir()] == ["lock"]


def test_a_worker_keeps_the_class_and_the_hint_of_an_error(tmp_path: Path) -> None:
    from onnx import TensorProto, helper, save

    graph = helper.make_graph(
        [helper.make_node("Relu", ["x"], ["y"])],
        "small",
        [helper.make_tensor_value_info("x", TensorProto.FLOAT, ["N", 2])],
        [helper.make_tensor_value_info("y", TensorProto.FLOAT, ["N", 2])],
    )
    save(helper.make_model(graph, opset_imports=[helper.make_opsetid("", 17)], ir_version=8), tmp_path / "model.onnx")
    task = importation.TaskSection(kind="classification", output="z")
    order = msgspec.structs.replace(ORDER, path=str(tmp_path / "model.onnx"), task=task)
    with (
        Workers(tmp_path / "scratch", seconds=60, memory=1 << 33) as workers,
        pytest.raises(ConfigError, match=r"'model.task.output': expected one of y, got 'z'"),
        workers.job("importation", order, importation.Importation),
    ):
        pass


def test_a_file_in_the_users_folder_shadows_no_module_of_a_worker(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (tmp_path / "onnx.py").write_text("raise SystemExit('shadowed')")
    monkeypatch.chdir(tmp_path)
    with (
        Workers(tmp_path / "scratch", seconds=60, memory=1 << 33) as workers,
        pytest.raises(ConversionError, match="FileNotFoundError"),
        workers.job("importation", ORDER, importation.Importation),
    ):
        pass


def test_a_worker_is_not_told_of_the_signing_key(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("PACK_SIGNING_KEY", "/keys/pack.key")
    monkeypatch.setenv("PACK_SIGNING_PASSPHRASE", "secret")
    assert not [name for name in worker_environment() if name.startswith("PACK_SIGNING")]


PARENT = """
import sys
from pathlib import Path
from packager.jobs import importation
from packager.samples import DataFiles
from packager.worker import Workers
order = importation.Order(
    framework=sys.argv[3], path=sys.argv[1], trusted=True, task=importation.TaskSection(), data=DataFiles()
)
limits = {"seconds": 60, "memory": int(sys.argv[4])}
with Workers(Path(sys.argv[2]), **limits) as workers, workers.job("importation", order, importation.Importation):
    pass
"""


@pytest.fixture
def parent(tmp_path: Path) -> Iterator[Start]:
    """Starts a process that imports a model in a worker; none is left when the test ends, however it ends."""
    with contextlib.ExitStack() as stack:

        def start(model: Path, framework: str = "onnx") -> subprocess.Popen[bytes]:
            command = [sys.executable, "-c", PARENT, str(model), str(tmp_path / "scratch"), framework, str(1 << 33)]
            process = subprocess.Popen(command, stderr=subprocess.PIPE)
            stack.callback(process.communicate)
            stack.callback(process.kill)
            return process

        yield start


def descendants(process: int) -> set[int]:
    """Of a living process; empty when it is gone."""
    found: set[int] = set()
    with contextlib.suppress(FileNotFoundError, ProcessLookupError):
        for thread in Path(f"/proc/{process}/task").iterdir():
            for word in (thread / "children").read_text().split():
                found |= {int(word)} | descendants(int(word))
    return found


def alive(process: int) -> bool:
    try:
        return Path(f"/proc/{process}/stat").read_text().rpartition(")")[2].split()[0] != "Z"
    except (FileNotFoundError, ProcessLookupError):
        return False


def until(condition: Callable[[], object], *, seconds: float = 30) -> None:
    deadline = time.monotonic() + seconds
    while not condition():
        assert time.monotonic() < deadline


STUCK = """
import os, re, subprocess
subprocess.Popen(["sleep", "600"])
open(os.environ["STARTED"], "w").close()
re.match("(a+)+$", "a" * 60 + "b")  # holds the interpreter's lock for years
"""


class Loading:
    """A pickle that runs what `code` says when it is loaded."""

    def __init__(self, code: str) -> None:
        self.code = code

    def __reduce__(self) -> tuple[object, ...]:
        return exec, (self.code,)


def test_neither_a_worker_nor_what_it_started_outlives_a_parent_that_is_killed(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, parent: Start
) -> None:
    monkeypatch.setenv("STARTED", str(tmp_path / "started"))
    (tmp_path / "model.pkl").write_bytes(pickle.dumps(Loading(STUCK), protocol=4))
    started = parent(tmp_path / "model.pkl", "sklearn")
    until((tmp_path / "started").exists)
    working = descendants(started.pid)
    assert len(working) == 3, "the worker, its guard, and the process that it started"
    started.kill()
    started.wait()
    until(lambda: not any(alive(process) for process in working))


def test_the_next_build_removes_what_a_killed_one_left_and_nothing_of_one_that_runs(
    tmp_path: Path, parent: Start
) -> None:
    os.mkfifo(tmp_path / "model.onnx")  # whoever opens it waits for ever
    running, killed = (parent(tmp_path / "model.onnx") for _ in range(2))
    until(lambda: len(list((tmp_path / "scratch").glob("build-*/*/job.json"))) == 2)
    killed.kill()
    killed.wait()

    def left() -> int:
        with Workers(tmp_path / "scratch", seconds=60, memory=1 << 33):
            return len(list((tmp_path / "scratch").glob("build-*/*/job.json")))

    until(lambda: left() == 1)  # a worker that was just being started held the lock for a moment longer
    assert running.poll() is None


@pytest.mark.parametrize(
    ("code", "words"),
    [
        ("import os; os.kill(os.getpid(), 11)", "importation crashed by SIGSEGV"),
        ("import os; os.kill(os.getpid(), 40)", "importation crashed by signal 40"),
        ("import os; os._exit(5)", "importation crashed with exit code 5"),
    ],
    ids=["signal", "real-time-signal", "exit"],
)
def test_a_crash_without_a_word_says_how_the_worker_ended(tmp_path: Path, code: str, words: str) -> None:
    (tmp_path / "model.pkl").write_bytes(pickle.dumps(Loading(code), protocol=4))
    order = msgspec.structs.replace(ORDER, framework="sklearn", path=str(tmp_path / "model.pkl"), trusted=True)
    with (
        Workers(tmp_path / "scratch", seconds=60, memory=1 << 33) as workers,
        pytest.raises(ConversionError) as caught,
        workers.job("importation", order, importation.Importation),
    ):
        pass
    assert str(caught.value) == words


def test_the_stack_of_a_crash_is_in_its_hint(tmp_path: Path) -> None:
    (tmp_path / "model.pkl").write_bytes(pickle.dumps(Loading("import ctypes; ctypes.string_at(0)"), protocol=4))
    order = msgspec.structs.replace(ORDER, framework="sklearn", path=str(tmp_path / "model.pkl"), trusted=True)
    with (
        Workers(tmp_path / "scratch", seconds=60, memory=1 << 33) as workers,
        pytest.raises(ConversionError, match="SIGSEGV") as caught,
        workers.job("importation", order, importation.Importation),
    ):
        pass
    assert "in string_at" in caught.value.hint


def test_a_worker_that_wants_more_memory_than_its_limit_is_told_so(tmp_path: Path) -> None:
    (tmp_path / "model.pkl").write_bytes(pickle.dumps(Loading("bytearray(1 << 40)"), protocol=4))
    order = msgspec.structs.replace(ORDER, framework="sklearn", path=str(tmp_path / "model.pkl"), trusted=True)
    with (
        Workers(tmp_path / "scratch", seconds=60, memory=2_000_000_000) as workers,
        pytest.raises(ConversionError, match="needs more memory than it may have: expected at most 2000 MB") as caught,
        workers.job("importation", order, importation.Importation),
    ):
        pass
    assert caught.value.code == "worker.memory"
    assert "PACK_JOB_MEMORY" in caught.value.hint
