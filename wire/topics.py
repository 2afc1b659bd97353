"""The MQTT topics of protocol version 1, and back from a topic to what it is about.

At most 7 levels, so that AWS IoT and Azure Event Grid carry them too.
"""

from __future__ import annotations

import re
from typing import Literal, TypeAlias, cast, get_args

import msgspec

from wire.errors import WireError

PREFIX = "pt/v1"
PAYLOAD_LIMIT = 128_000
"""Largest payload of a message, in bytes: AWS IoT Core's limit is 128 KB."""

Channel: TypeAlias = Literal["desired", "reported", "telemetry", "status", "get", "data"]

NAME_PATTERN = r"^[a-z0-9](?:[a-z0-9._-]{0,62}[a-z0-9])?$(?!\n)"
"""Fleets, devices, models, versions, targets; the lookahead is for Python, whose ``$`` lets a last newline through."""

_NAME = re.compile(NAME_PATTERN)


class DeviceTopic(msgspec.Struct, frozen=True):
    """A topic below ``pt/v1/<fleet>/d/<device>``."""

    fleet: str
    device: str
    channel: Channel

    def __str__(self) -> str:
        return f"{PREFIX}/{self.fleet}/d/{self.device}/{self.channel}"


def device_topic(fleet: str, device: str, channel: Channel) -> str:
    """The topic of one device's channel.

    Raises:
        WireError: a name can't be an MQTT level.
    """
    for name in (fleet, device):
        if not _NAME.match(name):
            raise WireError(
                "wire.name", f"'{name[:200]}' is no name: expected lower-case letters, digits, '.', '_', '-'"
            )
    return str(DeviceTopic(fleet, device, channel))


def fleet_filter(fleet: str, channel: Channel) -> str:
    """The subscription to one channel of every device of a fleet."""
    return device_topic(fleet, "x", channel).replace("/d/x/", "/d/+/")


def parse_topic(topic: str) -> DeviceTopic:
    """What a topic is about.

    Raises:
        WireError: it is none of ours.
    """
    match topic.split("/"):
        case ["pt", "v1", fleet, "d", device, channel] if _NAME.match(fleet) and _NAME.match(device):
            if channel in get_args(Channel):
                return DeviceTopic(fleet, device, cast("Channel", channel))
    raise WireError("wire.topic", f"not a topic of this protocol: '{topic[:200]}'")
