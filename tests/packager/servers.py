"""The real servers that tests fetch from and push to, started on loopback."""

from __future__ import annotations

import contextlib
import os
import shutil
import signal
import socket
import subprocess
import threading
import time
from pathlib import Path
from typing import TYPE_CHECKING, NamedTuple

import pytest

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping, Sequence

ROOT = Path(__file__).parents[2]
READY_SECONDS = 90.0
REGISTRY = """
version: 0.1
log: {{level: error, accesslog: {{disabled: true}}}}
storage: {{filesystem: {{rootdirectory: {folder}/storage}}, delete: {{enabled: true}}}}
http: {{addr: "127.0.0.1:{port}"}}
"""
REGISTRY_USER = "trainer"
REGISTRY_PASSWORD = "planted-docker-password"  # noqa: S105 - of a registry that only a test starts
REGISTRY_HASH = "$2b$04$w0G59jr8.GUhAsXSD6B9o.mz1uhjTyU1MP9VziFdBcCT0snJzoCTy"
"""The password with bcrypt, which is the only kind that the registry reads."""


class Address(NamedTuple):
    """Where a server listens."""

    host: str
    port: int

    @property
    def url(self) -> str:
        return f"http://{self.host}:{self.port}"


@contextlib.contextmanager
def served(
    command: Sequence[str], port: int, folder: Path, environment: Mapping[str, str] | None = None
) -> Iterator[Address]:
    """A server of that command line, once it listens on a port of loopback; it ends with the block."""
    log = folder / "server.log"
    with log.open("wb") as sink:
        process = subprocess.Popen(
            command,
            cwd=folder,
            env={**os.environ, **(environment or {})},
            stdin=subprocess.DEVNULL,
            stdout=sink,
            stderr=sink,
            start_new_session=True,
        )
        try:
            _wait(process, port, log)
            yield Address("127.0.0.1", port)
        finally:
            with contextlib.suppress(ProcessLookupError):
                os.killpg(process.pid, signal.SIGKILL)
            process.wait()


@contextlib.contextmanager
def docker_registry(folder: Path, *, guarded: bool = False, authorization: str = "") -> Iterator[Address]:
    """Debian's docker-registry with its storage in `folder`.

    `guarded`: it wants a user and a password; `authorization`: what its configuration says of how to ask.
    """
    program = shutil.which("docker-registry")
    if program is None:
        pytest.skip("docker-registry is not here: apt-get install docker-registry")
    port = free_port()
    text = REGISTRY.format(folder=folder, port=port)
    if guarded:
        (folder / "htpasswd").write_text(f"{REGISTRY_USER}:{REGISTRY_HASH}\n")
        authorization = f"htpasswd: {{realm: test, path: {folder}/htpasswd}}"
    if authorization:
        text += f"auth: {{{authorization}}}\n"
    (folder / "registry.yml").write_text(text)
    with served(
        [program, "serve", str(folder / "registry.yml")], port, folder, {"OTEL_TRACES_EXPORTER": "none"}
    ) as address:
        yield address


def locked(*command: str, group: str = "servers") -> list[str]:
    """A command line of a dependency group, in an environment of its own, made from the lock."""
    uv = [str(ROOT / ".ci" / "uv"), "run", "--quiet", "--locked", "--isolated", "--project", str(ROOT)]
    return [*uv, "--only-group", group, *command]


def free_port() -> int:
    with socket.create_server(("127.0.0.1", 0)) as listener:
        return int(listener.getsockname()[1])


def _wait(process: subprocess.Popen[bytes], port: int, log: Path) -> None:
    deadline = time.monotonic() + READY_SECONDS
    while time.monotonic() < deadline:
        assert process.poll() is None, log.read_text()
        with contextlib.suppress(OSError), socket.create_connection(("127.0.0.1", port), 1):
            return
        threading.Event().wait(0.05)
    raise AssertionError(log.read_text())
