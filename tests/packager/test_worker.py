from __future__ import annotations

import os
import signal
import subprocess
import sys
import time
from pathlib import Path

import msgspec
import pytest

from packager.config import worker_environment
from packager.errors import ConfigError, ConversionError
from packager.jobs import importation
from packager.samples import DataFiles
from packager.worker import Workers

ORDER = importation.Order(
    framework="onnx", path="/nowhere/model.onnx", trusted=False, task=importation.TaskSection(), data=DataFiles()
)


def test_a_worker_that_ends_with_a_traceback_reports_its_last_words(tmp_path: Path) -> None:
    with (
        Workers(tmp_path, seconds=60) as workers,
        pytest.raises(ConversionError, match="importation crashed: FileNotFoundError") as caught,
        workers.job("importation", ORDER, importation.Importation),
    ):
        pass
    assert 'File "' in caught.value.hint
    assert not list(tmp_path.iterdir())


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
        Workers(tmp_path / "scratch", seconds=60) as workers,
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
        Workers(tmp_path / "scratch", seconds=60) as workers,
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
    framework="onnx", path=sys.argv[1], trusted=False, task=importation.TaskSection(), data=DataFiles()
)
with Workers(Path(sys.argv[2]), seconds=60) as workers, workers.job("importation", order, importation.Importation):
    pass
"""


def test_no_worker_outlives_a_parent_that_is_killed(tmp_path: Path) -> None:
    os.mkfifo(tmp_path / "model.onnx")  # whoever opens it waits for ever
    parent = subprocess.Popen([sys.executable, "-c", PARENT, str(tmp_path / "model.onnx"), str(tmp_path / "scratch")])
    deadline = time.monotonic() + 30
    workers: list[int] = []
    while not workers and time.monotonic() < deadline:
        threads = Path(f"/proc/{parent.pid}/task").iterdir()
        workers = [int(word) for thread in threads for word in (thread / "children").read_text().split()]
    assert len(workers) == 1
    parent.send_signal(signal.SIGKILL)
    parent.wait()
    while Path(f"/proc/{workers[0]}/cmdline").exists() and time.monotonic() < deadline:
        state = Path(f"/proc/{workers[0]}/stat").read_text().rpartition(")")[2].split()[0]
        if state == "Z":
            break
    else:
        assert time.monotonic() < deadline
