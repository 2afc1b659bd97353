"""Enrolment: a device gets a name, a key and what it needs to find and to trust its fleet."""

from __future__ import annotations

import re
from pathlib import Path
from typing import TYPE_CHECKING

import msgspec

from fleet.errors import FleetError
from fleet.rollouts import EVERY_DEVICE
from manifests.durable import write_durably
from manifests.signing import generate_key, public_pem, read_public_key, write_key
from wire.errors import WireError
from wire.topics import NAME_PATTERN, device_topic

if TYPE_CHECKING:
    from fleet.store import Store
    from fleet.workspace import Workspace

DEFAULT_TARGETS = ("cloud",)
KEEPALIVE = 30

_CONFIG = """\
device = {device}
fleet = {fleet}
state = {state}
targets = [{targets}]   # what it can run, the preferred first
key = "device.key"
root = "root.json"

[broker]
host = {host}
port = {port}
keepalive = {keepalive}

[health]
timeout = 60.0
policy = "{health}"   # application: it must show that the new bundle serves it; self-test: the golden samples suffice

[telemetry]
interval = {interval}
spool_bytes = 4194304

[labels]
{labels}"""


class Enrollment(msgspec.Struct, frozen=True, kw_only=True):
    """What a new device is told."""

    device: str
    targets: tuple[str, ...] = DEFAULT_TARGETS
    labels: dict[str, str] = {}
    state: str = "state"
    """Folder of the agent's state; relative to the configuration."""
    broker: tuple[str, int] | None = None
    """Host and port; None: where the server of this workspace listens."""
    health: str = "application"
    interval: float = 60.0
    """Seconds of one telemetry window."""
    public_key: Path | None = None
    """Of a key that the device made itself; None: one is made here, beside the configuration."""


def enroll(workspace: Workspace, store: Store, enrollment: Enrollment, folder: Path, *, now: float) -> Path:
    """Write ``agent.toml``, ``root.json`` and ``device.key`` into `folder` and register the device; the first's path.

    Raises:
        FleetError: a name is none, the device's is taken, the folder is used, or the broker's port is not known.
        UncheckableError: the given public key can't be read.
    """
    device = enrollment.device
    try:
        device_topic(workspace.config.fleet, device, "desired")
    except WireError as error:
        raise FleetError("fleet.device", str(error)) from error
    for target in enrollment.targets:
        if not re.match(NAME_PATTERN, target):
            raise FleetError(
                "fleet.target",
                f"'{target}' is no name of a target: expected lower-case letters, digits, '.', '_', '-'",
                hint="pack targets lists them",
            )
    if device == EVERY_DEVICE or store.devices.find(device):
        raise FleetError("fleet.device", f"device name '{device}' is taken", hint="choose another name")
    host, port = enrollment.broker or _broker(workspace)
    path = folder / "agent.toml"
    if path.exists() or (folder / "device.key").exists():
        raise FleetError("fleet.folder", f"'{folder}' holds a device already", hint="name another folder with --out")
    folder.mkdir(parents=True, exist_ok=True)
    if enrollment.public_key is not None:
        key = read_public_key(enrollment.public_key)
    else:
        signer = generate_key()
        write_key(signer, folder / "device.key")
        key = signer.public_key
    write_durably(folder / "root.json", workspace.repository.root_bytes())
    text = _CONFIG.format(
        device=_quoted(device),
        fleet=_quoted(workspace.config.fleet),
        state=_quoted(enrollment.state),
        targets=", ".join(_quoted(target) for target in enrollment.targets),
        host=_quoted(host),
        port=port,
        keepalive=KEEPALIVE,
        health=enrollment.health,
        interval=enrollment.interval,
        labels="".join(f"{_quoted(name)} = {_quoted(value)}\n" for name, value in sorted(enrollment.labels.items())),
    )
    write_durably(path, text.encode())
    store.devices.enroll(device, public_pem(key), targets=enrollment.targets, labels=enrollment.labels, now=now)
    workspace.audit.append("enroll", {"device": device, "key": key.keyid}, now=now)
    return path


def _broker(workspace: Workspace) -> tuple[str, int]:
    running = workspace.addresses()
    table = workspace.config.broker
    host, port = (
        (running.broker_host, running.broker_port)
        if running
        else (table.host, table.port or (0 if table.engine == "external" else workspace.ports().broker))
    )
    if host == "0.0.0.0" or not port:  # noqa: S104 - nothing is bound here
        raise FleetError(
            "fleet.broker-address",
            f"what devices call the broker is not known: it listens at {host}:{port or 'any free port'}",
            hint="name it with --broker HOST:PORT"
            if port
            else "start pack-fleet serve first, or use --broker HOST:PORT",
        )
    return host, port


def _quoted(text: str) -> str:
    # A JSON string is a TOML basic string.
    return msgspec.json.encode(text).decode()
