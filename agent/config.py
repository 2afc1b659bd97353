"""``agent.toml``: what a device is told when it is enrolled; and the environment, which is read here alone."""

from __future__ import annotations

import os
import tomllib
from pathlib import Path
from typing import Annotated, Literal

import msgspec

from agent.errors import ConfigError
from manifests.section import Name, Section

DEFAULT_STATE = "/var/lib/pack-agent"

Positive = Annotated[float, msgspec.Meta(gt=0)]


class TlsSection(Section, frozen=True, kw_only=True):
    """``[broker.tls]``: PEM files."""

    ca: Path
    certificate: Path | None = None
    key: Path | None = None


class BrokerSection(Section, frozen=True, kw_only=True):
    """``[broker]``: where the fleet's broker listens."""

    host: str
    port: Annotated[int, msgspec.Meta(ge=1, le=65535)]
    username: str | None = None
    password_file: Path | None = None
    keepalive: Annotated[int, msgspec.Meta(ge=5, le=3600)] = 30
    """Seconds."""
    tls: TlsSection | None = None


class HealthSection(Section, frozen=True, kw_only=True):
    """``[health]``: what decides whether an activated bundle stays."""

    timeout: Positive = 60.0
    """Seconds that attached applications have to show that the bundle serves them."""
    policy: Literal["application", "self-test"] = "application"
    """``self-test``: a bundle that passed its self-test is committed as soon as it is active."""


class TelemetrySection(Section, frozen=True, kw_only=True):
    """``[telemetry]``: what applications record."""

    interval: Positive = 60.0
    """Seconds that one window covers."""
    spool_bytes: Annotated[int, msgspec.Meta(ge=4096)] = 4 << 20
    """Size of the spool; when it is full the oldest windows go."""


class AgentConfig(Section, frozen=True, kw_only=True):
    """The whole file. Paths are relative to the file's folder."""

    device: Name
    fleet: Name
    state: Path
    targets: Annotated[tuple[Name, ...], msgspec.Meta(min_length=1)]
    """Targets that the device takes, the preferred first."""
    key: Path
    """Ed25519 private key, PEM."""
    root: Path
    """TUF root metadata that came with the enrolment."""
    broker: BrokerSection
    health: HealthSection = HealthSection()
    telemetry: TelemetrySection = TelemetrySection()
    labels: dict[str, str] = msgspec.field(default_factory=dict)


def read_config(path: Path) -> AgentConfig:
    """The configuration in `path`.

    Raises:
        ConfigError: it can't be read, or a field is missing, unknown or wrong; the message names the field's path.
    """
    try:
        document = tomllib.loads(path.read_text(encoding="utf-8"))
    except OSError as error:
        raise ConfigError(
            "config.file", f"'{path}' can't be read: {error.strerror}", hint="pack-fleet enroll writes one"
        ) from error
    except ValueError as error:
        raise ConfigError("config.toml", f"'{path}' is not TOML: {error}") from error
    folder = path.absolute().parent

    def locate(kind: type, value: object) -> object:
        if kind is Path and isinstance(value, str):
            return folder / value
        raise TypeError(f"Expected `str`, got `{type(value).__name__}`")

    try:
        return msgspec.convert(document, AgentConfig, dec_hook=locate)
    except msgspec.ValidationError as error:
        raise ConfigError("config.field", f"'{path}' is not valid: {error}") from error


def check_identity(config: AgentConfig) -> None:
    """Refuse a device that could neither sign reports nor know whom to trust; the key itself is read by who signs.

    Raises:
        ConfigError: key or root of trust can't be read, or is none.
    """
    for field, path, start in (("key", config.key, b"-----BEGIN"), ("root", config.root, b"{")):
        try:
            with path.open("rb") as file:
                begun = file.read(len(start))
        except OSError as error:
            raise ConfigError(
                f"config.{field}",
                f"'{field}': '{path}' can't be read: {(error.strerror or '').lower()}",
                hint="pack-fleet enroll writes one",
            ) from error
        if begun != start:
            expected = "a private key as PEM" if field == "key" else "TUF root metadata"
            raise ConfigError(
                f"config.{field}", f"'{field}': '{path}' is not {expected}", hint="pack-fleet enroll writes one"
            )


def default_state() -> Path:
    """The state folder that an application uses when it names none: ``PACK_AGENT_STATE``, else the system's."""
    return Path(os.environ.get("PACK_AGENT_STATE") or DEFAULT_STATE)


def notify_socket() -> str:
    """Address of the service manager's notification socket; empty where there is none (sd_notify(3))."""
    return os.environ.get("NOTIFY_SOCKET", "")


def serial_port() -> str:
    """Where a board with an FPGA hangs, such as ``/dev/ttyUSB0``: ``PACK_AGENT_SERIAL_PORT``; empty: nowhere."""
    return os.environ.get("PACK_AGENT_SERIAL_PORT", "")
