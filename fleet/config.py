"""`fleet.toml` as frozen structs; an error names the field's path."""

from __future__ import annotations

import os
from typing import TYPE_CHECKING, Annotated, Literal, TypeAlias

import msgspec

from fleet.errors import FleetError
from manifests.section import Name

if TYPE_CHECKING:
    from pathlib import Path

Port: TypeAlias = Annotated[int, msgspec.Meta(ge=0, le=65535)]
"""0: the one that the last server had, or any that is free."""
Seconds: TypeAlias = Annotated[float, msgspec.Meta(gt=0)]
Rows: TypeAlias = Annotated[int, msgspec.Meta(ge=20)]
Share: TypeAlias = Annotated[float, msgspec.Meta(gt=0, le=1)]
Attempts: TypeAlias = Annotated[int, msgspec.Meta(ge=1, le=100)]
"""After so many the delivery has failed."""
Engine: TypeAlias = Literal["auto", "mosquitto", "nats", "external"]


class Table(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """What every table of the file has in common: frozen, and strict about its fields."""


class BrokerTable(Table, frozen=True, kw_only=True):
    """``[broker]``: the MQTT broker that the server starts, or one that runs elsewhere."""

    engine: Engine = "auto"
    """``auto``: mosquitto when it is installed, else nats. ``external``: nothing is started."""
    host: str = "127.0.0.1"
    """Where it listens; with ``external``, where it is."""
    port: Port = 1883


class ApiTable(Table, frozen=True, kw_only=True):
    """``[api]``: where HTTP is served."""

    host: str = "127.0.0.1"
    port: Port = 8420


class KeysTable(Table, frozen=True, kw_only=True):
    """``[keys]``: folders of the private keys, relative to the workspace."""

    offline: str = "keys/offline"
    """Root and targets: they vouch for what exists, and belong on another machine."""
    online: str = "keys/online"
    """Snapshot, timestamp and assigner: the server needs them."""


class RetentionTable(Table, frozen=True, kw_only=True):
    """``[retention]``: how long the database keeps what grows."""

    days: Annotated[float, msgspec.Meta(gt=0)] = 30.0
    """Telemetry windows and steps of updates that are older are deleted."""


class DriftTable(Table, frozen=True, kw_only=True):
    """``[drift]``: when a model's inputs count as changed."""

    interval: Seconds = 5.0
    """Seconds between two looks at the telemetry."""
    window: Seconds = 3600.0
    """Seconds of telemetry that are compared with the baseline at once, at most."""
    window_rows: Rows = 1000
    """Rows that are compared with the baseline at once, at least, unless `window` ends before."""
    minimum_rows: Rows = 200
    """Below this many rows there is no verdict."""
    psi: Annotated[float, msgspec.Meta(gt=0)] = 0.25
    """Population stability index, without chance's part, from which a feature counts as drifted."""
    share: Share = 0.1
    """Share of the features that must have drifted; always at least one."""
    cooldown: Seconds = 3600.0
    """Seconds after a retraining request in which no other is made for the same model."""


class CommandSink(Table, frozen=True, kw_only=True, tag_field="kind", tag="command"):
    """``[[sinks]]`` with ``kind = "command"``: a program that gets the request on its standard input."""

    command: Annotated[tuple[str, ...], msgspec.Meta(min_length=1)]
    """Program and arguments; no shell has a part in it. It runs in the workspace."""
    name: Name = "command"
    """Under which deliveries are remembered; unique among the sinks."""
    models: tuple[str, ...] = ()
    """Models whose requests it gets; empty: all."""
    timeout: Seconds = 3600.0
    """After which it is ended."""
    attempts: Attempts = 3


class WebhookSink(Table, frozen=True, kw_only=True, tag_field="kind", tag="webhook"):
    """``[[sinks]]`` with ``kind = "webhook"``: an address that gets the request as a CloudEvent."""

    url: Annotated[str, msgspec.Meta(pattern="^https?://")]
    name: Name = "webhook"
    """Under which deliveries are remembered; unique among the sinks."""
    models: tuple[str, ...] = ()
    """Models whose requests it gets; empty: all."""
    timeout: Seconds = 10.0
    """For its answer."""
    attempts: Attempts = 10
    token_file: str = ""
    """File, in the workspace unless absolute, whose content is sent as bearer token."""


Sink: TypeAlias = CommandSink | WebhookSink


class FleetConfig(Table, frozen=True, kw_only=True):
    """The whole file."""

    fleet: Name
    database: str = ""
    """SQLAlchemy URL; empty: ``fleet.db`` in the workspace."""
    broker: BrokerTable = BrokerTable()
    api: ApiTable = ApiTable()
    keys: KeysTable = KeysTable()
    retention: RetentionTable = RetentionTable()
    drift: DriftTable = DriftTable()
    sinks: tuple[Sink, ...] = ()


def read_config(path: Path) -> FleetConfig:
    """The configuration in `path`.

    Raises:
        FleetError: there is no such file, it is not TOML, or a field is wrong; the message names it.
    """
    try:
        data = path.read_bytes()
    except OSError as error:
        raise FleetError(
            "fleet.config", f"'{path}' can't be read: {error.strerror}", hint="pack-fleet init makes a workspace"
        ) from error
    try:
        config = msgspec.toml.decode(data, type=FleetConfig)
    except (msgspec.DecodeError, UnicodeDecodeError) as error:
        raise FleetError("fleet.config", f"'{path}' is not valid: {error}") from error
    names = [sink.name for sink in config.sinks]
    for name in sorted(set(names)):
        if names.count(name) > 1:
            raise FleetError(
                "fleet.config", f"'{path}' is not valid: two sinks are named '{name}'", hint="give each a `name`"
            )
    return config


def wants_colour() -> bool:
    """Whether the user lets a terminal be coloured: ``NO_COLOR`` (no-color.org) and ``TERM``."""
    return not os.environ.get("NO_COLOR") and os.environ.get("TERM") != "dumb"


def wants_traceback() -> bool:
    """Whether a bug shows its traceback: ``PACK_DEBUG``."""
    return os.environ.get("PACK_DEBUG", "") not in {"", "0"}
