"""The tables. Times are Unix seconds by the server's clock unless a column says otherwise."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import msgspec
from sqlalchemy import (
    BigInteger,
    Boolean,
    Column,
    Double,
    Index,
    Integer,
    LargeBinary,
    MetaData,
    String,
    Table,
    Text,
    TypeDecorator,
    UniqueConstraint,
)

from manifests.manifest import BaselineSection
from wire.messages import Desired, Fault, Inventory, Running

if TYPE_CHECKING:
    from sqlalchemy import Dialect

SCHEMA_VERSION = 2
"""Grows with every change of a table: a column more is one that an older database lacks."""

NAME = String(64)
DIGEST = String(71)


class Encoded(TypeDecorator[Any]):
    """A value of one type, as JSON text; NULL is None."""

    impl = Text
    cache_ok = True

    def __init__(self, kind: object) -> None:
        super().__init__()
        self.kind = kind

    def process_bind_param(self, value: object, dialect: Dialect) -> str | None:  # noqa: ARG002 - SQLAlchemy's signature
        """What is stored."""
        return None if value is None else msgspec.json.encode(value).decode()

    def process_result_value(self, value: str | None, dialect: Dialect) -> Any:  # noqa: ANN401, ARG002 - SQLAlchemy's signature
        """What was stored."""
        return None if value is None else msgspec.json.decode(value, type=self.kind)


SCHEMA = MetaData()

counters = Table(
    "counters",
    SCHEMA,
    Column("name", NAME, primary_key=True),
    Column("value", BigInteger, nullable=False),
)
"""``schema``: version of the tables. ``changes``: grows with whatever may change an assignment."""

devices = Table(
    "devices",
    SCHEMA,
    Column("name", NAME, primary_key=True),
    Column("public_key", Text, nullable=False),
    Column("labels", Encoded(dict[str, str]), nullable=False),
    Column("targets", Encoded(tuple[str, ...]), nullable=False),
    Column("enrolled", Double, nullable=False),
    Column("online", Boolean, nullable=False),
    Column("seen", Double),
    Column("boot", NAME, nullable=False),
    Column("agent", NAME, nullable=False),
    Column("inventory", Encoded(Inventory)),
    Column("report_boot", NAME, nullable=False),
    Column("report_sequence", BigInteger, nullable=False),
    Column("past_boots", Encoded(tuple[str, ...]), nullable=False),
    Column("accepted", BigInteger, nullable=False),
)

releases = Table(
    "releases",
    SCHEMA,
    Column("bundle", DIGEST, primary_key=True),
    Column("model", NAME, nullable=False),
    Column("version", NAME, nullable=False),
    Column("target", NAME, nullable=False),
    Column("counter", BigInteger, nullable=False),
    Column("path", String(256), nullable=False),
    Column("size", BigInteger, nullable=False),
    Column("published", Double, nullable=False),
    Column("source", DIGEST, nullable=False),
    Column("labels", Encoded(tuple[str, ...]), nullable=False),
    Column("baseline", Encoded(BaselineSection)),
    UniqueConstraint("model", "version", "target"),
    UniqueConstraint("model", "target", "counter"),
)

wishes = Table(
    "wishes",
    SCHEMA,
    Column("id", Integer, primary_key=True, autoincrement=True),
    Column("model", NAME, nullable=False),
    Column("version", NAME),
    Column("selector", String(512), nullable=False),
    Column("created", Double, nullable=False),
)
"""What operators asked for with ``assign``; of those that match a device, the newest holds."""

assignments = Table(
    "assignments",
    SCHEMA,
    Column("device", NAME, primary_key=True),
    Column("sequence", BigInteger, nullable=False),
    Column("models", Encoded(tuple[Desired, ...]), nullable=False),
    Column("envelope", LargeBinary, nullable=False),
    Column("created", Double, nullable=False),
)
"""The newest assignment of each device, as it was signed."""

placements = Table(
    "placements",
    SCHEMA,
    Column("device", NAME, primary_key=True),
    Column("model", NAME, primary_key=True),
    Column("state", NAME, nullable=False),
    Column("active", Encoded(Running)),
    Column("next", Encoded(Running)),
    Column("fault", Encoded(Fault)),
    Column("since", Double, nullable=False),
    Column("updated", Double, nullable=False),
)
"""What runs where, by the devices' own reports."""

steps = Table(
    "steps",
    SCHEMA,
    Column("id", Integer, primary_key=True, autoincrement=True),
    Column("device", NAME, nullable=False),
    Column("model", NAME, nullable=False),
    Column("version", NAME, nullable=False),
    Column("bundle", DIGEST, nullable=False),
    Column("step", NAME, nullable=False),
    Column("fault", Encoded(Fault)),
    Column("seconds", Double, nullable=False),
    Column("time", Double, nullable=False),
    Column("received", Double, nullable=False),
    Index("steps_by_model", "model", "id"),
)
"""Every step of every update; ``time`` is by the device's clock."""

windows = Table(
    "windows",
    SCHEMA,
    Column("device", NAME, primary_key=True),
    Column("boot", NAME, primary_key=True),
    Column("sequence", BigInteger, primary_key=True),
    Column("model", NAME, nullable=False),
    Column("version", NAME, nullable=False),
    Column("bundle", DIGEST, nullable=False),
    Column("rows", BigInteger, nullable=False),
    Column("received", Double, nullable=False),
    Column("body", LargeBinary, nullable=False),
    Index("windows_by_bundle", "bundle", "received"),
    Index("windows_by_model", "model", "received"),
)
"""Telemetry; ``body`` is the `Window` in MessagePack."""

verdicts = Table(
    "verdicts",
    SCHEMA,
    Column("id", Integer, primary_key=True, autoincrement=True),
    Column("model", NAME, nullable=False),
    Column("version", NAME, nullable=False),
    Column("bundle", DIGEST, nullable=False),
    Column("device", NAME, nullable=False),
    Column("verdict", NAME, nullable=False),
    Column("score", Double, nullable=False),
    Column("rows", BigInteger, nullable=False),
    Column("details", Text, nullable=False),
    Column("decided", Double, nullable=False),
    Index("verdicts_by_bundle", "bundle", "id"),
)
"""What drift detection found; ``details`` is JSON of `fleet.drift`, ``device`` is empty for the whole fleet."""

requests = Table(
    "requests",
    SCHEMA,
    Column("id", Integer, primary_key=True, autoincrement=True),
    Column("cause", String(256), nullable=False, unique=True),
    Column("model", NAME, nullable=False),
    Column("version", NAME, nullable=False),
    Column("bundle", DIGEST, nullable=False),
    Column("score", Double, nullable=False),
    Column("body", Text, nullable=False),
    Column("created", Double, nullable=False),
    Index("requests_by_model", "model", "id"),
)
"""Retraining requests; ``cause`` is unique, so that one cause makes one request."""

deliveries = Table(
    "deliveries",
    SCHEMA,
    Column("cause", String(256), primary_key=True),
    Column("sink", NAME, primary_key=True),
    Column("state", NAME, nullable=False),
    Column("attempts", Integer, nullable=False),
    Column("due", Double, nullable=False),
    Column("message", Text, nullable=False),
    Column("updated", Double, nullable=False),
    Index("deliveries_by_state", "state", "due"),
)
"""How far each request has come with each sink."""
