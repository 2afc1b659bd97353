"""The daemon as a process, with a real broker; the fleet's server is played over MQTT."""

from __future__ import annotations

import json
import os
import shutil
import signal
import socket
import subprocess
import sys
import threading
import time
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING, Any

import msgspec
import numpy as np
import paho.mqtt.client as paho
import pytest
from paho.mqtt.enums import CallbackAPIVersion

from agent.model import Model
from manifests.signing import parse_public_key, verify
from wire.messages import REPORT_TYPE, Get, Report, Status, Window, decode, decode_signed, encode

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

    from agent.config import AgentConfig
    from wire.messages import Step

pytestmark = [pytest.mark.e2e, pytest.mark.slow]

TOPIC = "pt/v1/demo/d/camera-1/"
HEAVY = {"numpy", "onnx", "onnxruntime", "ai_edge_litert", "tuf", "cryptography", "securesystemslib", "urllib3"}
BROKERS = ["mosquitto", "nats-server"]


def find(program: str) -> str | None:
    beside = Path(sys.executable).parent / program
    return str(beside) if beside.exists() else shutil.which(program, path=os.environ["PATH"] + ":/usr/sbin")


def free_port() -> int:
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return int(probe.getsockname()[1])


def eventually(condition: Callable[[], object], *, seconds: float = 30.0, said: Callable[[], object] = str) -> Any:  # noqa: ANN401 - whatever the condition gives
    deadline = time.monotonic() + seconds
    pause = threading.Event()
    while time.monotonic() < deadline:
        value = condition()
        if value:
            return value
        pause.wait(0.02)
    raise AssertionError(f"did not come about within {seconds} s: {said()}")


def listens(port: int) -> bool:
    try:
        socket.create_connection(("127.0.0.1", port), timeout=1).close()
    except OSError:
        return False
    return True


@contextmanager
def broker(program: str, folder: Path, port: int) -> Iterator[None]:
    path = find(program)
    if path is None:
        pytest.skip(f"{program} is not installed")
    folder.mkdir(exist_ok=True)
    if program == "mosquitto":
        settings = folder / "mosquitto.conf"
        settings.write_text(f"listener {port} 127.0.0.1\nallow_anonymous true\n")
    else:
        settings = folder / "nats.conf"
        settings.write_text(
            f'server_name: "test"\nlisten: "127.0.0.1:-1"\njetstream {{ store_dir: "{folder}" }}\n'
            f'mqtt {{ listen: "127.0.0.1:{port}" }}\n'
        )
    process = subprocess.Popen(
        [path, "-c", str(settings)], stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL, cwd=folder
    )
    try:
        eventually(lambda: listens(port), seconds=20)
        yield
    finally:
        process.terminate()
        process.wait()


class Fleet:
    """The server of the conftest behind a real broker; keeps what the device sends."""

    def __init__(self, server: Any, port: int) -> None:  # noqa: ANN401 - the fake of the conftest
        self.server = server
        self.reports: list[Report] = []
        self.statuses: list[str] = []
        self.windows: list[Window] = []
        self.key: Any = None
        self.client = paho.Client(CallbackAPIVersion.VERSION2, client_id="fleet", clean_session=True)
        self.client.on_message = self._received
        self.client.on_connect = self._connected
        self.client.reconnect_delay_set(1, 1)
        self.client.connect("127.0.0.1", port)
        self.client.loop_start()
        eventually(self.client.is_connected)

    def assign(self, sequence: int, *models: Any, **changes: Any) -> None:  # noqa: ANN401 - as the server's
        self.send(self.server.assign(sequence, *models, **changes))

    def send(self, envelope: bytes) -> None:
        self.client.publish(TOPIC + "desired", envelope, qos=1, retain=True).wait_for_publish(10)

    def steps(self) -> list[Step]:
        return [step for report in self.reports for step in report.steps]

    def told(self) -> list[tuple[str, str, str | None]]:
        return [(step.version, step.step, step.fault.code if step.fault else None) for step in self.steps()]

    def state(self) -> tuple[str, str] | None:
        models = self.reports[-1].models if self.reports else ()
        return (models[0].state, models[0].active.version if models[0].active else "") if models else None

    def reaches(self, state: str, version: str) -> None:
        eventually(lambda: self.state() == (state, version), said=lambda: (self.state(), self.told()))

    def close(self) -> None:
        self.client.disconnect()
        self.client.loop_stop()

    def _connected(self, client: paho.Client, *_: object) -> None:
        for channel in ("get", "reported", "status", "telemetry"):
            client.subscribe(TOPIC + channel, qos=1)

    def _received(self, client: paho.Client, _userdata: object, message: paho.MQTTMessage) -> None:
        payload = bytes(message.payload)
        match message.topic.removeprefix(TOPIC):
            case "get":
                for data in self.server.answer(decode(payload, Get)):
                    client.publish(TOPIC + "data", encode(data), qos=1)
            case "reported":
                self.reports.append(decode_signed(verify(payload, REPORT_TYPE, [self.key]), Report))
            case "status":
                self.statuses.append(decode(payload, Status).state)
            case "telemetry":
                self.windows.append(decode(payload, Window))


class Agent:
    """A `pack-agent run` process."""

    def __init__(self, config: AgentConfig, port: int, health: str) -> None:
        self.path = config.state.parent / "agent.toml"
        self.state = config.state
        self.log = config.state.parent / "agent.log"
        self.process: subprocess.Popen[bytes] | None = None
        self.move(port, health)

    def move(self, port: int, health: str) -> None:
        """Write another configuration."""
        self.path.write_text(
            'device = "camera-1"\nfleet = "demo"\nstate = "state"\ntargets = ["cloud"]\nkey = "device.key"\n'
            f'root = "root.json"\n[broker]\nhost = "127.0.0.1"\nport = {port}\n[health]\n{health}\n'
            "[telemetry]\ninterval = 0.5\n"
        )

    def start(self) -> None:
        with self.log.open("ab") as log:
            command = [sys.executable, "-m", "agent", "run", "--config", str(self.path)]
            self.process = subprocess.Popen(command, stderr=log)

    def stop(self, number: int = signal.SIGTERM) -> int:
        assert self.process is not None
        self.process.send_signal(number)
        return self.process.wait(20)

    def status(self) -> Any:  # noqa: ANN401 - JSON
        command = [sys.executable, "-m", "agent", "status", "--output", "json", "--config", str(self.path)]
        return json.loads(subprocess.run(command, check=True, capture_output=True).stdout)


@pytest.fixture(params=BROKERS)
def fleet(request: pytest.FixtureRequest, tmp_path: Path, server: Any, config: AgentConfig) -> Iterator[Fleet]:  # noqa: ANN401 - the fake of the conftest
    port = free_port()
    with broker(request.param, tmp_path / "broker", port):
        fleet = Fleet(server, port)
        fleet.key = parse_public_key(config.key.with_suffix(".pub").read_bytes(), name="device")
        fleet.port = port
        yield fleet
        fleet.close()


@pytest.fixture
def agent(config: AgentConfig, fleet: Fleet) -> Iterator[Agent]:
    agent = Agent(config, fleet.port, 'timeout = 8.0\npolicy = "application"')
    yield agent
    if agent.process is not None and agent.process.poll() is None:
        agent.stop(signal.SIGKILL)


def test_a_device_takes_its_bundles_serves_an_application_and_tells_every_step(fleet: Fleet, agent: Agent) -> None:
    server = fleet.server
    first = server.publish(server.forge.make("1", ballast=300_000))
    agent.start()
    eventually(lambda: "online" in fleet.statuses, said=agent.log.read_text)
    fleet.assign(1, first)
    fleet.reaches("committed", "1")
    assert [step[1:] for step in fleet.told()] == [
        (name, None)
        for name in (
            "metadata",
            "assignment",
            "compatibility",
            "download",
            "stage",
            "self-test",
            "activate",
            "health",
            "commit",
        )
    ]

    pixels = np.ones((7, 4), dtype=np.float32)
    with Model("digits", state=agent.state) as model:
        assert model.version == "1"
        failed: list[BaseException] = []
        end = threading.Event()

        def serve() -> None:
            while not end.is_set():
                try:
                    model.predict(pixels)
                except BaseException as error:  # noqa: BLE001 - no call may fail, in whatever way
                    failed.append(error)

        application = threading.Thread(target=serve)
        application.start()
        try:
            fleet.assign(2, server.publish(server.forge.make("2")))
            fleet.reaches("committed", "2")
            eventually(lambda: model.version == "2")
            fleet.assign(3, server.publish(server.forge.make("3", wrong_golden=True)))
            fleet.reaches("failed", "2")
            assert ("3", "self-test", "self-test.tolerance") in fleet.told()
            assert agent.status()["models"][0]["applications"] == 1
        finally:
            end.set()
            application.join()
        assert not failed
    eventually(lambda: {window.version for window in fleet.windows} == {"1", "2"})
    assert agent.stop() == 0
    eventually(lambda: fleet.statuses[-1] == "offline")
    assert len(fleet.told()) == len(set(fleet.told()))


@pytest.mark.parametrize("fleet", ["mosquitto"], indirect=True)
def test_a_daemon_loads_nothing_heavy_and_survives_kills_at_any_moment(fleet: Fleet, agent: Agent) -> None:
    server = fleet.server
    fleet.assign(1, server.publish(server.forge.make("1", ballast=2_000_000)))
    pause = threading.Event()
    for delay in (0.3, 0.8, 1.2, 1.6, 2.0):
        agent.start()
        pause.wait(delay)
        agent.stop(signal.SIGKILL)
    agent.log.write_bytes(b"")
    agent.start()
    eventually(lambda: "connected to" in agent.log.read_text())
    fleet.reaches("committed", "1")
    assert agent.process is not None
    mapped = Path(f"/proc/{agent.process.pid}/maps").read_text()
    assert not [name for name in HEAVY if f"/{name}/" in mapped]
    assert agent.stop() == 0


@pytest.mark.parametrize("fleet", ["mosquitto"], indirect=True)
def test_an_application_that_is_not_served_makes_the_device_roll_back(fleet: Fleet, agent: Agent) -> None:
    server = fleet.server
    agent.start()
    fleet.assign(1, server.publish(server.forge.make("1")))
    fleet.reaches("committed", "1")
    with Model("digits", state=agent.state) as model:
        fleet.assign(2, server.publish(server.forge.make("2")))
        eventually(lambda: model.version == "2")
        for _ in range(5):
            with pytest.raises(ValueError, match="dtype"):
                model.predict(np.ones((1, 4)))
        fleet.reaches("failed", "1")
        assert ("2", "health", "health.errors") in fleet.told()
        assert ("2", "roll-back", None) in fleet.told()
        eventually(lambda: model.version == "1")


@pytest.mark.parametrize("fleet", ["mosquitto"], indirect=True)
def test_a_forged_assignment_is_told_and_changes_nothing(fleet: Fleet, agent: Agent) -> None:
    server = fleet.server
    desired = server.publish(server.forge.make("1"))
    agent.start()
    fleet.assign(5, desired)
    fleet.reaches("committed", "1")
    fleet.assign(6, signer="stranger")
    eventually(lambda: ("none", "assignment", "signature.bad") in fleet.told())
    fleet.assign(4)
    eventually(lambda: ("none", "assignment", "assignment.replayed") in fleet.told())
    assert fleet.state() == ("committed", "1")


@pytest.mark.parametrize("fleet", ["mosquitto"], indirect=True)
def test_what_happens_while_the_broker_is_away_is_told_when_it_is_back(
    fleet: Fleet,
    agent: Agent,
    tmp_path: Path,
    server: Any,  # noqa: ANN401 - the fake of the conftest
) -> None:
    port = free_port()
    agent.move(port, 'policy = "self-test"')
    with broker("mosquitto", tmp_path / "second", port):
        second = Fleet(server, port)
        second.key = fleet.key
        agent.start()
        second.assign(1, server.publish(server.forge.make("1")))
        second.reaches("committed", "1")
        second.close()
    with Model("digits", state=agent.state) as model:
        for _ in range(3):
            model.predict(np.ones((2, 4), dtype=np.float32))
    spool = agent.state / "spool"
    assert list(spool.glob("*.window"))
    with broker("mosquitto", tmp_path / "third", port):
        third = Fleet(server, port)
        third.key = fleet.key
        eventually(lambda: third.windows, said=agent.log.read_text)
        assert sum(window.calls for window in third.windows) == 3
        eventually(lambda: not list(spool.glob("*.window")))
        third.reaches("committed", "1")
        third.close()
        assert agent.stop() == 0


def test_the_daemon_imports_nothing_heavy() -> None:
    code = (
        "import sys, agent.__main__, agent.daemon, agent.status;"
        "print(*{name.partition('.')[0] for name in sys.modules})"
    )
    loaded = subprocess.run([sys.executable, "-c", code], check=True, capture_output=True, text=True).stdout.split()
    assert not HEAVY & set(loaded)


def test_two_daemons_can_not_share_a_state_folder(config: AgentConfig) -> None:
    from agent.daemon import alone
    from agent.errors import AgentError

    with alone(config.state), pytest.raises(AgentError, match="another agent"), alone(config.state):
        pass


def test_a_configuration_error_names_the_field_and_exits_with_2(tmp_path: Path) -> None:
    path = tmp_path / "agent.toml"
    path.write_text(
        'device = "d"\nfleet = "f"\nstate = "s"\ntargets = ["a"]\nkey = "k"\nroot = "r"\n[broker]\nhsot = 1\n'
    )
    done = subprocess.run(
        [sys.executable, "-m", "agent", "run", "--config", str(path)], check=False, capture_output=True, text=True
    )
    assert done.returncode == 2
    assert "$.broker" in done.stderr
    assert "hsot" in done.stderr
    assert msgspec.json.encode(done.stdout) == b'""'
