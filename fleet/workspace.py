"""A workspace: the folder that holds one fleet's configuration, keys, repository, database and audit log."""

from __future__ import annotations

import fcntl
from contextlib import contextmanager
from typing import TYPE_CHECKING

import msgspec

from fleet.audit import AuditLog
from fleet.config import FleetConfig, read_config
from fleet.errors import FleetError, RefusedError
from manifests.durable import write_durably
from manifests.errors import UncheckableError
from manifests.signing import generate_key, public_pem, read_private_key, write_key

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator
    from pathlib import Path

    from securesystemslib.signer import CryptoSigner

    from fleet.store import Store
    from fleet.trust import OnlineSigners, Repository, Signers

CONFIG_NAME = "fleet.toml"
DEFAULT_FOLDER = "fleet"
"""Where `init` makes a workspace when it is not told, and where commands look for one below the current folder."""
PORTS_NAME = "ports.json"
OFFLINE_ROLES = ("root", "targets")
ONLINE_ROLES = ("snapshot", "timestamp", "assigner")

_CONFIG = """\
fleet = "{fleet}"

[broker]
engine = "auto"      # mosquitto when it is installed, else nats; external: one that runs elsewhere
host = "127.0.0.1"   # whoever reaches the broker can read telemetry, and forge it: see docs/reference/pack-fleet.md
port = {broker_port}          # 0: any that is free, and the same one ever after

[api]
host = "127.0.0.1"
port = {api_port}

[keys]
offline = "keys/offline"   # move this folder to another machine or a stick, and name the place here
online = "keys/online"

# [[sinks]]
# kind = "command"
# command = ["make", "retrain"]
"""


class Addresses(msgspec.Struct, frozen=True, kw_only=True):
    """Where a running server is reached."""

    engine: str
    broker_host: str
    broker_port: int
    api: str
    """URL of the HTTP API and the web pages."""
    pid: int


class Ports(msgspec.Struct, frozen=True, kw_only=True):
    """Where the last server listened; 0: none did. The next one listens there too where ``fleet.toml`` says 0."""

    broker: int = 0
    """Devices were enrolled with it."""
    api: int = 0


class Workspace:
    """The workspace in a folder."""

    def __init__(self, folder: Path) -> None:
        """Open it.

        Raises:
            FleetError: there is none, or its configuration is wrong.
        """
        self.folder = folder.resolve()
        self.config: FleetConfig = read_config(folder / CONFIG_NAME)

    @property
    def repository(self) -> Repository:
        """The TUF repository."""
        from fleet.trust import Repository

        return Repository(self.folder / "repository")

    @property
    def chunks(self) -> Path:
        """Where the chunks of all published bundles stand, by digest."""
        return self.folder / "repository" / "chunks"

    @property
    def audit(self) -> AuditLog:
        """The audit log."""
        return AuditLog(self.folder / "audit.jsonl")

    def open_store(self) -> Store:
        """The database.

        Raises:
            UnreachableError: it can't be opened.
            FleetError: a version with another schema made it.
        """
        from fleet.store import Store

        return Store(self.config.database or f"sqlite:///{self.folder / 'fleet.db'}")

    def signers(self) -> Signers:
        """The keys of all four roles.

        Raises:
            RefusedError: one is not here.
        """
        from fleet.trust import Signers

        online = self.online_signers()
        return Signers(
            root=self._offline("root"),
            targets=self._offline("targets"),
            snapshot=online.snapshot,
            timestamp=online.timestamp,
        )

    def targets_signer(self) -> CryptoSigner:
        """The key that vouches for releases.

        Raises:
            RefusedError: it is not here.
        """
        return self._offline("targets")

    def online_signers(self) -> OnlineSigners:
        """The keys that keep the repository fresh.

        Raises:
            RefusedError: one is not here.
        """
        from fleet.trust import OnlineSigners

        return OnlineSigners(snapshot=self._online("snapshot"), timestamp=self._online("timestamp"))

    def assigner(self) -> CryptoSigner:
        """The key that signs assignments.

        Raises:
            RefusedError: it is not here.
        """
        return self._online("assigner")

    @contextmanager
    def exclusive(self) -> Iterator[None]:
        """Keep other programs from publishing meanwhile."""
        with (self.folder / ".lock").open("w") as lock:
            fcntl.flock(lock, fcntl.LOCK_EX)
            yield

    @contextmanager
    def serving(self) -> Iterator[Callable[[Addresses], None]]:
        """Keep a second server away; what is yielded leaves word where this one is reached.

        Raises:
            FleetError: a server of this workspace runs already.
        """
        path = self.folder / "addresses.json"
        with (self.folder / ".serving").open("w") as lock:
            try:
                fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
            except BlockingIOError as error:
                raise FleetError("fleet.running", f"a server runs already for '{self.folder}'") from error
            try:
                yield lambda addresses: write_durably(path, msgspec.json.encode(addresses))
            finally:
                path.unlink(missing_ok=True)

    def addresses(self) -> Addresses | None:
        """Where the running server is reached; None: none runs, or it is not ready."""
        return self._read_addresses() if self.is_served() else None

    def _read_addresses(self) -> Addresses | None:
        try:
            return msgspec.json.decode((self.folder / "addresses.json").read_bytes(), type=Addresses)
        except FileNotFoundError:
            return None

    def is_served(self) -> bool:
        """Whether a server of this workspace runs, ready or not."""
        with (self.folder / ".serving").open("a") as lock:
            try:
                fcntl.flock(lock, fcntl.LOCK_SH | fcntl.LOCK_NB)
            except BlockingIOError:
                return True
        return False

    def ports(self) -> Ports:
        """Where the last server listened.

        Raises:
            FleetError: the file that says it is damaged.
        """
        path = self.folder / PORTS_NAME
        try:
            return msgspec.json.decode(path.read_bytes(), type=Ports)
        except FileNotFoundError:
            return Ports()
        except msgspec.DecodeError as error:
            raise FleetError(
                "fleet.ports",
                f"'{path}' is not valid: {error}",
                hint="remove it: the next server chooses anew, and devices with the old port don't find it",
            ) from error

    def keep_ports(self, ports: Ports) -> None:
        """Remember where this server listens, for the next one."""
        if ports != self.ports():
            write_durably(self.folder / PORTS_NAME, msgspec.json.encode(ports))

    def _offline(self, role: str) -> CryptoSigner:
        return _key(self.folder / self.config.keys.offline / f"{role}.key", role)

    def _online(self, role: str) -> CryptoSigner:
        return _key(self.folder / self.config.keys.online / f"{role}.key", role)


def create_workspace(folder: Path, fleet: str, *, broker_port: int, api_port: int, now: float) -> Workspace:
    """A new workspace with new keys.

    Raises:
        FleetError: the folder holds something already, or the name is none.
    """
    from fleet.trust import Repository, Signers, utc
    from manifests.release import Assigners

    if folder.exists() and any(folder.iterdir()):
        raise FleetError("fleet.workspace", f"'{folder}' is not empty", hint="name another folder: pack-fleet init DIR")
    config = _CONFIG.format(fleet=fleet, broker_port=broker_port, api_port=api_port)
    try:
        msgspec.toml.decode(config, type=FleetConfig)
    except msgspec.ValidationError as error:
        raise FleetError(
            "fleet.name", f"'{fleet}' is no name: expected lower-case letters, digits, '.', '_', '-'"
        ) from error
    keys = {
        role: _make_key(folder / "keys" / place / f"{role}.key")
        for place, roles in (("offline", OFFLINE_ROLES), ("online", ONLINE_ROLES))
        for role in roles
    }
    assigners = Assigners(assigners=(public_pem(keys["assigner"].public_key),), packers=())
    signers = Signers(
        root=keys["root"], targets=keys["targets"], snapshot=keys["snapshot"], timestamp=keys["timestamp"]
    )
    Repository.create(folder / "repository", signers, assigners, now=utc(now))
    (folder / "repository" / "chunks").mkdir()
    write_durably(folder / CONFIG_NAME, config.encode())
    workspace = Workspace(folder)
    workspace.open_store().close()
    workspace.audit.append("init", {"fleet": fleet}, now=now)
    return workspace


def find_workspace(start: Path) -> Workspace:
    """The workspace in `start`, or in its folder ``fleet``, or in one of those of a folder above.

    Raises:
        FleetError: there is none, or its configuration is wrong.
    """
    for folder in (start, *start.resolve().parents):
        for place in (folder, folder / DEFAULT_FOLDER):
            if (place / CONFIG_NAME).is_file():
                return Workspace(place)
    raise FleetError(
        "fleet.workspace",
        f"no workspace in '{start}' or above it",
        hint="pack-fleet init makes one; --workspace DIR names one elsewhere",
    )


def _make_key(path: Path) -> CryptoSigner:
    path.parent.mkdir(parents=True, exist_ok=True, mode=0o700)
    signer = generate_key()
    write_key(signer, path)
    return signer


def _key(path: Path, role: str) -> CryptoSigner:
    try:
        return read_private_key(path)
    except UncheckableError as error:
        raise RefusedError(
            "fleet.key",
            f"no key for the {role} role: {error}",
            hint="bring the folder of its keys here, or name its place in [keys] of fleet.toml",
        ) from error
