"""Toolchains of tests: a wheel that asks for nothing, from a folder, so that nothing is downloaded."""

from __future__ import annotations

import os
import signal
import socket
import subprocess
import sys
import threading
import zipfile
from typing import TYPE_CHECKING

import pytest

from packager.errors import ConfigError, NetworkError, ToolchainError
from packager.toolchains.environments import (
    environment_folder,
    find_environment,
    held,
    list_environments,
    remove_environments,
)
from packager.toolchains.installation import install
from packager.toolchains.locks import lock_names, open_lock

if TYPE_CHECKING:
    from collections.abc import Iterable
    from pathlib import Path

    from packager.toolchains.locks import Lock

INSTALL = """
import sys
from pathlib import Path
from packager.toolchains.installation import install
from packager.toolchains.locks import open_lock
install(open_lock("tiny", Path(sys.argv[1])), Path(sys.argv[2]), print)
"""


def write_wheel(folder: Path, version: str, requires: Iterable[str] = ()) -> None:
    folder.mkdir(exist_ok=True)
    info = f"tinyframe-{version}.dist-info"
    metadata = [
        "Metadata-Version: 2.1",
        "Name: tinyframe",
        f"Version: {version}",
        *(f"Requires-Dist: {name}" for name in requires),
    ]
    with zipfile.ZipFile(folder / f"tinyframe-{version}-py3-none-any.whl", "w") as wheel:
        wheel.writestr("tinyframe.py", f"version = {version!r}\n")
        wheel.writestr(f"{info}/METADATA", "\n".join(metadata) + "\n")
        wheel.writestr(
            f"{info}/WHEEL", "Wheel-Version: 1.0\nGenerator: test\nRoot-Is-Purelib: true\nTag: py3-none-any\n"
        )
        wheel.writestr(f"{info}/RECORD", "")


def write_lock(folder: Path, *, pin: str = "tinyframe==1.0", head: str = "") -> Lock:
    folder.mkdir(exist_ok=True)
    (folder / "tiny.in").write_text(f"# summary: a framework of tests\n{head}tinyframe\n")
    (folder / "tiny.txt").write_text(f"{pin}\n")
    return open_lock("tiny", folder)


@pytest.fixture
def offline(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """The folder with wheels that pip finds, and nothing else."""
    wheels = tmp_path / "wheels"
    for version in ("1.0", "2.0"):
        write_wheel(wheels, version)
    monkeypatch.setenv("PIP_CONFIG_FILE", os.devnull)
    monkeypatch.setenv("PIP_NO_INDEX", "1")
    monkeypatch.setenv("PIP_FIND_LINKS", str(wheels))
    monkeypatch.delenv("PIP_EXTRA_INDEX_URL", raising=False)
    return wheels


def test_every_lock_that_is_shipped_pins_what_it_asks_for() -> None:
    assert {"hls4ml", "tensorflow", "torch"} <= set(lock_names())
    for name in lock_names():
        lock = open_lock(name)
        pinned = {line.partition("==")[0] for line in lock.pins.read_text().splitlines() if "==" in line}
        wanted = [line.partition("==")[0] for line in lock.wanted.read_text().splitlines() if not line.startswith("#")]
        assert pinned.issuperset(wanted)
        assert lock.summary


def test_a_comment_is_no_part_of_a_locks_digest_and_a_pin_is(tmp_path: Path) -> None:
    digest = write_lock(tmp_path).digest
    assert write_lock(tmp_path, head="# another word\n").digest == digest
    assert write_lock(tmp_path, pin="tinyframe==2.0").digest != digest
    with pytest.raises(ConfigError, match="unknown toolchain 'tinny': expected one of tiny"):
        open_lock("tinny", tmp_path)


@pytest.mark.usefixtures("offline")
def test_a_toolchain_gets_the_pinned_version_once_and_can_be_removed(tmp_path: Path) -> None:
    lock, root = write_lock(tmp_path / "locks"), tmp_path / "toolchains"
    told: list[str] = []
    made = install(lock, root, told.append)
    assert (made.distributions["tinyframe"], made.lock) == ("1.0", lock.digest)
    run = [made.interpreter, "-c", "import tinyframe; print(tinyframe.version)"]
    assert subprocess.run(run, capture_output=True, text=True, check=True).stdout == "1.0\n"
    assert install(lock, root, told.append) == made == find_environment(lock, root)
    assert len(told) == 1
    assert list_environments(root) == [made]
    made.interpreter.unlink()  # as if the Python that it was made with were gone
    assert find_environment(lock, root) is None
    assert remove_environments("tiny", root) == [made.folder]
    assert not made.folder.exists()


@pytest.mark.usefixtures("offline")
def test_of_two_installations_at_once_one_waits_for_the_other(tmp_path: Path) -> None:
    lock, root = write_lock(tmp_path / "locks"), tmp_path / "toolchains"
    told: list[str] = []
    made = []
    threads = [threading.Thread(target=lambda: made.append(install(lock, root, told.append))) for _ in range(2)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert made[0] == made[1]
    assert len(told) == 1


def test_what_a_killed_installation_left_is_not_used_and_made_anew(tmp_path: Path, offline: Path) -> None:
    lock, root = write_lock(tmp_path / "locks"), tmp_path / "toolchains"
    with socket.create_server(("127.0.0.1", 0)) as silent:
        index = f"http://127.0.0.1:{silent.getsockname()[1]}"
        surroundings = {**os.environ, "PIP_INDEX_URL": index, "PIP_NO_INDEX": "", "PIP_FIND_LINKS": ""}
        command = [sys.executable, "-c", INSTALL, str(tmp_path / "locks"), str(root)]
        process = subprocess.Popen(command, env=surroundings, stdout=subprocess.DEVNULL, start_new_session=True)
        silent.settimeout(150)
        try:
            silent.accept()[0].close()  # pip is at work
        finally:
            os.killpg(process.pid, signal.SIGKILL)
            process.wait()
    assert environment_folder(lock, root).is_dir()
    assert find_environment(lock, root) is None
    assert list_environments(root) == []
    assert install(lock, root, lambda _: None).distributions["tinyframe"] == "1.0"
    assert offline.is_dir()


@pytest.mark.usefixtures("offline")
def test_an_installation_that_fails_leaves_nothing_and_says_what_pip_said(tmp_path: Path) -> None:
    lock, root = write_lock(tmp_path / "locks", pin="tinyframe==3.0"), tmp_path / "toolchains"
    with pytest.raises(ToolchainError, match="pip can't install tiny") as caught:
        install(lock, root, lambda _: None)
    assert "tinyframe" in caught.value.hint
    assert not environment_folder(lock, root).exists()


def test_an_index_that_can_not_be_reached_is_a_network_error(
    tmp_path: Path, offline: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    with socket.create_server(("127.0.0.1", 0)) as server:
        port = server.getsockname()[1]
    monkeypatch.setenv("PIP_NO_INDEX", "")
    monkeypatch.setenv("PIP_FIND_LINKS", "")
    monkeypatch.setenv("PIP_INDEX_URL", f"http://127.0.0.1:{port}")
    monkeypatch.setenv("PIP_RETRIES", "1")
    with pytest.raises(NetworkError, match="a package index can't be reached"):
        install(write_lock(tmp_path / "locks"), tmp_path / "toolchains", lambda _: None)
    assert offline.is_dir()


def test_a_build_that_brings_libraries_for_gpus_is_told_of_before_it_is_fetched(tmp_path: Path, offline: Path) -> None:
    write_wheel(offline, "1.0", ["nvidia-cublas==1"])
    lock = write_lock(tmp_path / "locks", head="# cpu: tinyframe https://wheels.example/cpu\n")
    told: list[str] = []
    with pytest.raises(ToolchainError):
        install(lock, tmp_path / "toolchains", told.append)
    assert "brings libraries for GPUs, several GB" in told[1]
    assert "PIP_EXTRA_INDEX_URL=https://wheels.example/cpu pack toolchain install tiny" in told[1]


def test_what_is_being_installed_is_not_removed(tmp_path: Path) -> None:
    lock = write_lock(tmp_path / "locks")
    folder = environment_folder(lock, tmp_path)
    folder.mkdir()
    with held(folder, wait=True), pytest.raises(ToolchainError, match="is just being installed or removed"):
        remove_environments("tiny", tmp_path)
    assert folder.is_dir()
