"""The messages: structs, their encoding, and their bounds.

What is signed (assignment, report) is JSON inside a DSSE envelope, which the programs make and open; the rest is
MessagePack, so that bytes need no base64. Unknown fields are ignored: a newer peer may say more.
"""

from __future__ import annotations

from typing import Annotated, Literal, TypeAlias, TypeVar

import msgspec

from wire.errors import WireError
from wire.sketches import LatencySketch
from wire.topics import NAME_PATTERN, PAYLOAD_LIMIT

ASSIGNMENT_TYPE = "application/vnd.packtrain.assignment.v1+json"
"""DSSE payload type of an `Assignment`."""
REPORT_TYPE = "application/vnd.packtrain.report.v1+json"
"""DSSE payload type of a `Report`."""

SIGNED_LIMIT = 92_000
"""Largest JSON that `encode_signed` makes, in bytes: base64 and two signatures still fit into `PAYLOAD_LIMIT`."""
PARTS_LIMIT = 86
"""Most parts of one answer: 8 MB, the largest piece of metadata."""

Name: TypeAlias = Annotated[str, msgspec.Meta(pattern=NAME_PATTERN)]
"""As in the manifest: safe as a path part and as an MQTT level."""
Digest: TypeAlias = Annotated[str, msgspec.Meta(pattern=r"^sha256:[0-9a-f]{64}$(?!\n)")]
Count: TypeAlias = Annotated[int, msgspec.Meta(ge=0, le=2**53)]
"""At most what JSON and a database's integer hold exactly."""
Time: TypeAlias = Annotated[float, msgspec.Meta(ge=0, le=253_402_300_799)]
"""Unix time in seconds, until the end of the year 9999: what a calendar can show. NaN is no time."""
Duration: TypeAlias = Annotated[float, msgspec.Meta(ge=0, le=1e9)]
"""Seconds."""

State: TypeAlias = Literal[
    "empty", "downloading", "staged", "testing", "activated", "committed", "rolling-back", "failed"
]
"""Where a model stands on a device; the agent's lifecycle table says what follows what."""


class Message(msgspec.Struct, frozen=True, kw_only=True, omit_defaults=True):
    """What every message has in common."""


class Desired(Message, frozen=True, kw_only=True):
    """One model that a device should run."""

    model: Name
    version: Name
    counter: Count
    target: Name
    bundle: Digest
    release: Annotated[str, msgspec.Meta(max_length=512)]
    """TUF target path of the release record."""


class Assignment(Message, frozen=True, kw_only=True):
    """What a device should run, all of it; sent retained on ``desired``, signed by an assigner."""

    fleet: Name
    device: Name
    sequence: Count
    """Grows with every assignment to this device; a device refuses one that is older than what it has."""
    models: tuple[Desired, ...]


class RuntimeInventory(Message, frozen=True, kw_only=True):
    """One runtime on the device."""

    kind: str
    version: str


class Inventory(Message, frozen=True, kw_only=True):
    """What the device is."""

    agent: str
    """Version of packtrain."""
    architecture: str
    """As ``uname -m`` prints it."""
    python: str
    targets: tuple[str, ...]
    """Targets it takes, the preferred first."""
    runtimes: tuple[RuntimeInventory, ...]
    disk_free_bytes: Count
    labels: dict[str, str] = {}


class Fault(Message, frozen=True, kw_only=True):
    """Why a step failed."""

    code: str
    message: str
    hint: str = ""


class Step(Message, frozen=True, kw_only=True):
    """One step of an update, as it ended."""

    model: str
    version: str
    bundle: Digest
    step: Literal[
        "assignment", "compatibility", "metadata", "download", "stage", "self-test", "activate", "health", "commit",
        "roll-back",
    ]  # fmt: skip
    fault: Fault | None = None
    """None: it succeeded."""
    seconds: Duration = 0.0
    time: Time
    """Unix time of its end by the device's clock, which may be wrong."""


class Running(Message, frozen=True, kw_only=True):
    """A bundle in a slot."""

    version: str
    counter: Count
    target: str
    bundle: Digest


class ModelState(Message, frozen=True, kw_only=True):
    """One model on the device."""

    model: str
    state: State
    active: Running | None = None
    next: Running | None = None
    """What is being brought in."""
    fault: Fault | None = None
    """Of the last update that failed; cleared when one succeeds."""


class Report(Message, frozen=True, kw_only=True):
    """State and inventory, signed by the device; sent on ``reported``."""

    fleet: Name
    device: Name
    boot: str
    """Drawn anew whenever the agent starts."""
    sequence: Count
    """Grows with each report of one boot."""
    time: Time
    assignment: Count
    """Sequence of the newest assignment that was accepted; 0: none."""
    inventory: Inventory
    models: tuple[ModelState, ...] = ()
    steps: tuple[Step, ...] = ()
    """Since the last report."""


class Status(Message, frozen=True, kw_only=True):
    """Birth (``online``) and will (``offline``); sent retained on ``status``."""

    state: Literal["online", "offline"]
    boot: str
    agent: str = ""


class FeatureCounts(Message, frozen=True, kw_only=True):
    """Counts of one feature in the bins of the bundle's baseline."""

    name: str
    counts: tuple[Count, ...]
    missing: Count = 0
    """Values that are NaN; they are in no bin."""


class Window(Message, frozen=True, kw_only=True):
    """What one model saw and did in one stretch of time; sent on ``telemetry``."""

    model: str
    version: str
    bundle: Digest
    boot: str
    sequence: Count
    """With `boot`: names the window, so that one that arrives twice counts once."""
    start: Time
    end: Time
    rows: Count
    calls: Count
    errors: dict[str, Count] = {}
    """Name of the exception to how many calls raised it."""
    latency: LatencySketch
    """Of the calls, in seconds."""
    features: tuple[FeatureCounts, ...] = ()
    predictions: tuple[Count, ...] = ()
    """One count a label, as in the bundle's baseline."""
    dropped: Count = 0
    """Windows that the device had to give up before this one because its spool was full."""


class Get(Message, frozen=True, kw_only=True):
    """A request for metadata or a chunk; sent on ``get``."""

    id: Annotated[str, msgspec.Meta(max_length=64)]
    kind: Literal["metadata", "target", "chunk"]
    name: Annotated[str, msgspec.Meta(max_length=512)]
    """Metadata: file name, such as ``2.root.json``. Target: TUF target path with its hash prefix. Chunk: digest."""


class Data(Message, frozen=True, kw_only=True):
    """A part of the answer to a `Get`; sent on ``data``."""

    id: Annotated[str, msgspec.Meta(max_length=64)]
    status: Literal["ok", "missing", "refused"]
    part: Count = 0
    parts: Annotated[int, msgspec.Meta(ge=1, le=PARTS_LIMIT)] = 1
    payload: bytes = b""


Received = TypeVar("Received", bound=Message)


def encode(message: Message) -> bytes:
    """The MessagePack form of an unsigned message.

    Raises:
        WireError: it is larger than a broker carries.
    """
    payload = msgspec.msgpack.encode(message)
    _check_size(payload, PAYLOAD_LIMIT)
    return payload


def decode(payload: bytes, kind: type[Received]) -> Received:
    """The unsigned message in `payload`.

    Raises:
        WireError: too large, or not such a message.
    """
    _check_size(payload, PAYLOAD_LIMIT)
    try:
        return msgspec.msgpack.decode(payload, type=kind)
    except (msgspec.DecodeError, UnicodeDecodeError, RecursionError) as error:
        raise WireError("wire.message", f"not a {kind.__name__}: {error}") from error


def encode_signed(message: Assignment | Report) -> bytes:
    """The JSON that goes into a DSSE envelope.

    Raises:
        WireError: its envelope would be larger than a broker carries.
    """
    payload = msgspec.json.encode(message)
    _check_size(payload, SIGNED_LIMIT)
    return payload


def decode_signed(payload: bytes, kind: type[Received]) -> Received:
    """The message in the payload of a DSSE envelope that was verified.

    Raises:
        WireError: too large, or not such a message.
    """
    _check_size(payload, PAYLOAD_LIMIT)
    try:
        return msgspec.json.decode(payload, type=kind)
    except (msgspec.DecodeError, UnicodeDecodeError, RecursionError) as error:
        raise WireError("wire.message", f"not a {kind.__name__}: {error}") from error


def _check_size(payload: bytes, limit: int) -> None:
    if len(payload) > limit:
        raise WireError("wire.size", f"payload is too large: expected at most {limit} bytes, got {len(payload)}")
