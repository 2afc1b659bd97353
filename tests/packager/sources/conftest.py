"""Fetching as a build does, and the real servers that models are fetched from."""

from __future__ import annotations

import contextlib
import os
import signal
import socket
import subprocess
import threading
import time
from pathlib import Path
from typing import TYPE_CHECKING, NamedTuple, Protocol

import pytest

from packager.cache import Cache
from packager.config import load_project
from packager.sources.finding import fetch_model
from packager.worker import Workers

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping, Sequence

    from packager.sources._source import Fetched

ROOT = Path(__file__).parents[3]
READY_SECONDS = 90.0
CREDENTIALS = (
    "AWS_ACCESS_KEY_ID",
    "AWS_SECRET_ACCESS_KEY",
    "AWS_ENDPOINT_URL",
    "DOCKER_AUTH_CONFIG",
    "DOCKER_CONFIG",
    "HF_HOME",
    "HF_HUB_CACHE",
    "MLFLOW_REGISTRY_URI",
    "MLFLOW_TRACKING_URI",
    "NETRC",
    "REGISTRY_AUTH_FILE",
)


class Fetch(Protocol):
    """Fetches what a ``pack.toml`` with that source, and these further lines of ``[model]``, names."""

    def __call__(self, source: str, *lines: str) -> Fetched: ...


class Address(NamedTuple):
    """Where a server listens."""

    host: str
    port: int

    @property
    def url(self) -> str:
        return f"http://{self.host}:{self.port}"


@pytest.fixture
def project(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """An empty folder for a project; homes and caches are below `tmp_path`, and no credentials are set."""
    for name in CREDENTIALS:
        monkeypatch.delenv(name, raising=False)
    monkeypatch.setenv("HOME", str(tmp_path / "home"))
    monkeypatch.setenv("XDG_RUNTIME_DIR", str(tmp_path / "run"))
    monkeypatch.setenv("PACK_CACHE", str(tmp_path / "cache"))
    (tmp_path / "home").mkdir()
    folder = tmp_path / "project"
    folder.mkdir()
    return folder


@pytest.fixture
def fetch(project: Path) -> Fetch:
    def run(source: str, *lines: str) -> Fetched:
        model = "\n".join(['name = "digits"', f'source = "{source}"', *lines])
        (project / "pack.toml").write_text(f"[model]\n{model}\n[targets.cloud]\n")
        loaded = load_project(project)
        cache = Cache(loaded.cache)
        with Workers(cache.scratch, seconds=120) as workers:
            return fetch_model(loaded, cache, workers)

    return run


@contextlib.contextmanager
def served(
    command: Sequence[str], port: int, folder: Path, environment: Mapping[str, str] | None = None
) -> Iterator[Address]:
    """A server of that command line, once it listens on a port of loopback; it ends with the block."""
    with (folder / "server.log").open("wb") as log:
        process = subprocess.Popen(
            command,
            cwd=folder,
            env={**os.environ, **(environment or {})},
            stdin=subprocess.DEVNULL,
            stdout=log,
            stderr=log,
            start_new_session=True,
        )
        try:
            _wait(process, port, folder / "server.log")
            yield Address("127.0.0.1", port)
        finally:
            with contextlib.suppress(ProcessLookupError):
                os.killpg(process.pid, signal.SIGKILL)
            process.wait()


def locked(*command: str) -> list[str]:
    """A command line of the dependency group of servers, in an environment of its own, made from the lock."""
    uv = [str(ROOT / ".ci" / "uv"), "run", "--quiet", "--locked", "--isolated", "--project", str(ROOT)]
    return [*uv, "--only-group", "servers", *command]


def free_port() -> int:
    with socket.create_server(("127.0.0.1", 0)) as listener:
        return int(listener.getsockname()[1])


def _wait(process: subprocess.Popen[bytes], port: int, log: Path) -> None:
    deadline = time.monotonic() + READY_SECONDS
    while time.monotonic() < deadline:
        assert process.poll() is None, log.read_text()
        with contextlib.suppress(OSError), socket.create_connection(("127.0.0.1", port), 1):
            return
        threading.Event().wait(0.1)
    raise AssertionError(log.read_text())
