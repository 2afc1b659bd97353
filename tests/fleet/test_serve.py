"""The server as a process, with a real broker, and a device that speaks for itself."""

from __future__ import annotations

import json
import os
import queue
import signal
import socket
import subprocess
import sys
import threading
import time
import tomllib
import urllib.request
from pathlib import Path
from typing import TYPE_CHECKING, Any, TypeVar

import paho.mqtt.client as paho
import pytest
from paho.mqtt.enums import CallbackAPIVersion
from tuf.api.exceptions import DownloadHTTPError
from tuf.ngclient import FetcherInterface, Updater

from fleet.broker import plan_broker
from fleet.config import BrokerTable
from fleet.errors import FleetError
from fleet.publish import publish
from manifests.digests import digest_bytes
from manifests.release import ASSIGNERS_PATH, decode_assigners, decode_release
from manifests.signing import generate_key, parse_public_key, read_private_key, sign, verify
from wire.chunks import Answer
from wire.messages import (
    ASSIGNMENT_TYPE,
    REPORT_TYPE,
    Assignment,
    Data,
    Get,
    Inventory,
    ModelState,
    Report,
    Running,
    Status,
    Window,
    decode,
    decode_signed,
    encode,
    encode_signed,
)
from wire.sketches import LatencySketch
from wire.topics import device_topic

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

    from fleet.publish import Address
    from fleet.store import Store
    from fleet.workspace import Workspace

    MakeBundle = Callable[..., Address]

pytestmark = pytest.mark.e2e

Found = TypeVar("Found")
SECONDS = 20.0
ENGINES = ("mosquitto", "nats")


def until(look: Callable[[], Found | None], what: str) -> Found:
    """What `look` finds, asked again and again until a deadline."""
    deadline = time.monotonic() + SECONDS
    while time.monotonic() < deadline:
        if found := look():
            return found
        threading.Event().wait(0.05)
    raise AssertionError(f"did not happen in {SECONDS} s: {what}")


def installed(engine: str, folder: Path) -> bool:
    try:
        plan_broker(BrokerTable(engine=engine, port=0), folder)  # type: ignore[arg-type]  # one of the two
    except FleetError:
        return False
    return True


class Server:
    """A running `pack-fleet serve`."""

    def __init__(self, workspace: Path) -> None:
        with (workspace / "serve.log").open("wb") as log:
            self.process = subprocess.Popen(
                [*PROGRAM, "serve", "--output", "json", "--workspace", str(workspace)],
                stdout=subprocess.PIPE,
                stderr=log,
                text=True,
            )
        assert self.process.stdout is not None
        line = self.process.stdout.readline()
        assert line, (workspace / "serve.log").read_text()
        self.addresses: dict[str, Any] = json.loads(line)

    def stop(self) -> int:
        self.process.send_signal(signal.SIGTERM)
        return self.process.wait(SECONDS)

    def broker(self) -> int:
        """Process number of its only child."""
        pid = self.process.pid
        (child,) = Path(f"/proc/{pid}/task/{pid}/children").read_text().split()
        return int(child)


PROGRAM = [sys.executable, "-c", "import sys; from fleet.cli import main; sys.exit(main())"]


def run(*arguments: str) -> Any:  # noqa: ANN401 - JSON
    done = subprocess.run([*PROGRAM, *arguments, "--output", "json"], capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr
    return json.loads(done.stdout)


class Device(FetcherInterface):
    """A device by the book of the protocol: no code of the agent has a part in it."""

    def __init__(self, config: Path) -> None:
        settings = tomllib.loads(config.read_text())
        self.fleet, self.name = settings["fleet"], settings["device"]
        self.key = read_private_key(config.parent / settings["key"])
        self.root = (config.parent / settings["root"]).read_bytes()
        self.desired: queue.Queue[bytes] = queue.Queue()
        self._data: queue.Queue[Data] = queue.Queue()
        self._subscribed = threading.Event()
        self._asked = 0
        self.client = paho.Client(CallbackAPIVersion.VERSION2, client_id=self.name)
        self.client.on_connect = self._on_connect
        self.client.on_subscribe = lambda *_: self._subscribed.set()
        self.client.on_message = self._on_message
        self.client.on_socket_open = lambda _client, _userdata, opened: opened.setsockopt(
            socket.IPPROTO_TCP, socket.TCP_NODELAY, 1
        )
        self.client.connect(settings["broker"]["host"], settings["broker"]["port"], settings["broker"]["keepalive"])
        self.client.loop_start()
        assert self._subscribed.wait(SECONDS)

    def close(self) -> None:
        self.client.disconnect()
        self.client.loop_stop()

    def send(self, channel: Any, payload: bytes) -> None:  # noqa: ANN401 - a channel's name
        self.client.publish(device_topic(self.fleet, self.name, channel), payload, qos=1).wait_for_publish(SECONDS)

    def assignment(self, assigner: str) -> Assignment:
        envelope = self.desired.get(timeout=SECONDS)
        key = parse_public_key(assigner.encode(), name="assigner")
        return decode_signed(verify(envelope, ASSIGNMENT_TYPE, [key]), Assignment)

    def get(self, kind: Any, name: str) -> bytes | None:  # noqa: ANN401 - a kind's name
        self._asked += 1
        get = Get(id=str(self._asked), kind=kind, name=name)
        self.send("get", encode(get))
        answer = Answer(get.id)
        while True:
            data = self._data.get(timeout=SECONDS)
            if data.status != "ok":
                return None
            if (content := answer.add(data)) is not None:
                return content

    def updater(self, folder: Path) -> Updater:
        for place in ("metadata", "targets"):
            (folder / place).mkdir(parents=True, exist_ok=True)
        return Updater(
            str(folder / "metadata"),
            "metadata:",
            str(folder / "targets"),
            "target:",
            fetcher=self,
            bootstrap=self.root,
        )

    def report(self, sequence: int, running: Running | None) -> Report:
        inventory = Inventory(
            agent="0.1.0", architecture="x86_64", python="3.11", targets=("cloud",), runtimes=(), disk_free_bytes=1
        )
        return Report(
            fleet=self.fleet,
            device=self.name,
            boot="boot",
            sequence=sequence,
            time=1.0,
            assignment=1,
            inventory=inventory,
            models=(ModelState(model="digits", state="committed", active=running),),
        )

    def _fetch(self, url: str) -> Iterator[bytes]:
        kind, _, name = url.partition(":/")
        content = self.get(kind, name)
        if content is None:
            raise DownloadHTTPError("missing", 404)
        return iter([content])

    def _on_connect(self, client: paho.Client, *_: object) -> None:
        client.subscribe([(device_topic(self.fleet, self.name, channel), 1) for channel in ("desired", "data")])

    def _on_message(self, _client: paho.Client, _userdata: object, message: paho.MQTTMessage) -> None:
        if message.topic.endswith("/desired"):
            self.desired.put(message.payload)
        else:
            self._data.put(decode(message.payload, Data))


@pytest.fixture(params=ENGINES)
def server(request: pytest.FixtureRequest, workspace: Workspace, tmp_path: Path) -> Iterator[Server]:
    if not installed(request.param, tmp_path):
        pytest.skip(f"{request.param} is not installed")
    config = workspace.folder / "fleet.toml"
    config.write_text(config.read_text().replace('engine = "auto"', f'engine = "{request.param}"'))
    started = Server(workspace.folder)
    with started.process:
        yield started
        if started.process.poll() is None:
            started.stop()


def enroll(workspace: Workspace, folder: Path, name: str) -> Device:
    made = run("enroll", name, "--out", str(folder / name), "--workspace", str(workspace.folder))
    return Device(Path(made["config"]))


def window(bundle: str, sequence: int) -> Window:
    return Window(
        model="digits",
        version="3",
        bundle=bundle,
        boot="boot",
        sequence=sequence,
        start=1.0,
        end=2.0,
        rows=7,
        calls=1,
        latency=LatencySketch(bins={1: 1}),
    )


def test_a_device_is_told_what_to_run_fetches_it_and_is_heard(
    server: Server, workspace: Workspace, database: Store, make_bundle: MakeBundle, tmp_path: Path
) -> None:
    publish(workspace, database, [make_bundle("3", 3)], now=time.time())
    device = enroll(workspace, tmp_path, "cam-1")
    chosen = run("assign", "digits", "--to", "all", "--workspace", str(workspace.folder))
    assert chosen["devices"] == ["cam-1"]

    updater = device.updater(tmp_path / "tuf")
    info = updater.get_targetinfo(ASSIGNERS_PATH)
    assert info is not None
    assigners = decode_assigners(Path(updater.download_target(info)).read_bytes())
    assignment = device.assignment(assigners.assigners[0])
    assert (assignment.fleet, assignment.device, assignment.sequence) == ("demo", "cam-1", 1)
    (desired,) = assignment.models

    info = updater.get_targetinfo(desired.release)
    assert info is not None
    release = decode_release(Path(updater.download_target(info)).read_bytes())
    assert release.bundle == desired.bundle
    for blob in release.blobs:
        content = b"".join(device.get("chunk", chunk) or b"" for chunk in blob.chunks)
        assert digest_bytes(content) == blob.digest

    device.send("status", encode(Status(state="online", boot="boot", agent="0.1.0")))
    running = Running(version="3", counter=3, target="cloud", bundle=desired.bundle)
    device.send("reported", sign(encode_signed(device.report(1, running)), REPORT_TYPE, [device.key]))
    (placement,) = until(lambda: database.placements.all(model="digits"), "the report is stored")
    assert placement.active == running
    for sequence in (1, 2, 2, 1):
        device.send("telemetry", encode(window(desired.bundle, sequence)))
    device.send("telemetry", encode(window(desired.bundle, 9)))
    until(lambda: [one for one in database.telemetry.all() if one.window.sequence == 9], "telemetry is stored")
    assert [one.window.sequence for one in database.telemetry.all()] == [1, 2, 9]

    (place,) = run("where", "digits", "--workspace", str(workspace.folder))
    assert (place["device"], place["active"]["version"], place["state"]) == ("cam-1", "3", "committed")
    with urllib.request.urlopen(server.addresses["api"] + "/api/v1/devices", timeout=SECONDS) as answer:  # noqa: S310 - our own
        assert json.load(answer)["items"][0]["online"]

    publish(workspace, database, [make_bundle("4", 4)], now=time.time())
    newer = device.assignment(assigners.assigners[0])
    assert (newer.sequence, newer.models[0].version) == (2, "4")
    device.close()

    again = Device(tmp_path / "cam-1" / "agent.toml")
    assert again.assignment(assigners.assigners[0]) == newer
    again.close()
    assert server.stop() == 0
    assert workspace.addresses() is None
    assert "Traceback" not in (workspace.folder / "serve.log").read_text()


def is_alive(pid: int) -> bool:
    """Whether the process runs; one that ended and that nobody has waited for does not."""
    try:
        return Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()[0] != "Z"
    except FileNotFoundError:
        return False


def test_a_workspace_has_one_server_and_the_broker_dies_with_it(server: Server, workspace: Workspace) -> None:
    second = subprocess.run(
        [*PROGRAM, "serve", "-w", str(workspace.folder)], capture_output=True, text=True, check=False
    )
    assert second.returncode == 2
    assert "runs already" in second.stderr
    addresses = workspace.addresses()
    assert addresses is not None
    assert addresses.pid == server.process.pid
    broker = server.broker()
    server.process.kill()
    server.process.wait()
    assert workspace.addresses() is None
    until(lambda: not is_alive(broker), "the broker has died with its server")


def test_the_next_server_listens_where_the_last_one_did(server: Server, workspace: Workspace, tmp_path: Path) -> None:
    device = enroll(workspace, tmp_path, "cam-1")
    device.close()
    assert server.stop() == 0
    after = Server(workspace.folder)
    with after.process:
        assert {key: after.addresses[key] for key in ("broker_port", "api")} == {
            key: server.addresses[key] for key in ("broker_port", "api")
        }
        again = Device(tmp_path / "cam-1" / "agent.toml")
        assert again.get("metadata", "1.root.json") == again.root
        again.close()
        assert after.stop() == 0


def test_a_report_with_another_key_is_refused_and_audited(
    server: Server, workspace: Workspace, database: Store, tmp_path: Path
) -> None:
    device = enroll(workspace, tmp_path, "cam-1")
    device.send("reported", sign(encode_signed(device.report(1, None)), REPORT_TYPE, [generate_key()]))
    until(lambda: [one for one in workspace.audit.entries() if one.action == "refuse-report"], "the refusal is audited")
    assert database.placements.all() == []
    device.close()
    assert server.stop() == 0


def test_garbage_on_every_topic_stops_nothing(
    server: Server, workspace: Workspace, database: Store, tmp_path: Path
) -> None:
    device = enroll(workspace, tmp_path, "cam-1")
    for channel in ("reported", "telemetry", "status", "get"):
        for payload in (b"", b"\xff" * 100, b"{}", b"\x80", b"[" * 10_000, os.urandom(1000)):
            device.send(channel, payload)
            device.client.publish(device_topic("demo", "stranger", channel), payload, qos=1)
    assert device.get("metadata", "../fleet.toml") is None
    assert device.get("metadata", "1.root.json") == device.root
    device.send("status", encode(Status(state="online", boot="boot")))
    until(lambda: database.devices.all()[0].online, "the device is seen after the garbage")
    device.close()
    assert server.stop() == 0


def test_a_broker_that_dies_is_started_again(server: Server, workspace: Workspace, tmp_path: Path) -> None:
    device = enroll(workspace, tmp_path, "cam-1")
    assert device.get("metadata", "1.root.json") == device.root
    device.close()
    os.kill(server.broker(), signal.SIGKILL)

    def reconnect() -> Device | None:
        try:
            return Device(tmp_path / "cam-1" / "agent.toml")
        except OSError:
            return None

    again = until(reconnect, "the broker listens again")
    log = workspace.folder / "serve.log"
    until(lambda: log.read_text().count("connected to the broker") == 2, "the server is connected again")
    assert "starting it again" in log.read_text()
    assert again.get("metadata", "1.root.json") == device.root
    again.close()
    assert server.stop() == 0
