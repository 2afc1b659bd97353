"""Ingest: what devices send becomes rows. Nothing that arrives is believed before it was checked, and nothing stops it.

Only what a device signed changes what is known of its models. Status and telemetry are not signed: the broker's access
control is what speaks for them.
"""

from __future__ import annotations

import re
from collections import Counter
from typing import TYPE_CHECKING

from manifests.errors import ManifestError
from manifests.signing import parse_public_key, verify
from wire.errors import WireError
from wire.messages import REPORT_TYPE, Report, Status, Window, decode, decode_signed
from wire.topics import NAME_PATTERN, parse_topic

if TYPE_CHECKING:
    from fleet.audit import AuditLog
    from fleet.store import Store
    from fleet.store.devices import Device

AUDIT_SECONDS = 60.0
"""Refused reports of one device are audited at most this often, so that nobody fills the disk with them."""
_NAME = re.compile(NAME_PATTERN)
_BOOT = re.compile(r"[A-Za-z0-9._-]{1,64}")
_AGENT_LENGTH = 64


class Ingest:
    """Takes messages, one at a time."""

    def __init__(self, fleet: str, store: Store, audit: AuditLog) -> None:
        self._fleet = fleet
        self._store = store
        self._audit = audit
        self._audited: dict[str, float] = {}
        self._released: dict[str, tuple[str, str]] = {}  # a release never changes, so it is read once
        self.counts: Counter[str] = Counter()
        """What became of the messages, by a stable name such as ``report.accepted``."""

    def take(self, topic: str, payload: bytes, *, now: float) -> None:
        """Store what a device sent; what can't be believed is counted and dropped."""
        try:
            outcome = self._take(topic, payload, now)
        except (WireError, ManifestError) as error:
            outcome = f"refused.{error.code}"
        self.counts[outcome] += 1

    def _take(self, topic: str, payload: bytes, now: float) -> str:
        about = parse_topic(topic)
        device = self._store.devices.find(about.device) if about.fleet == self._fleet else None
        if device is None:
            return "refused.unknown-device"
        if about.channel == "reported":
            return self._take_report(device, payload, now)
        if about.channel == "telemetry":
            return self._take_window(device, payload, now)
        if about.channel == "status":
            return self._take_status(device, payload, now)
        return "refused.channel"

    def _take_report(self, device: Device, payload: bytes, now: float) -> str:
        key = parse_public_key(device.public_key.encode(), name=device.name)
        try:
            report = decode_signed(verify(payload, REPORT_TYPE, [key]), Report)
        except (WireError, ManifestError) as error:
            self._audit_refusal(device.name, f"{error} [{error.code}]", now)
            raise
        if (report.fleet, report.device) != (self._fleet, device.name):
            self._audit_refusal(device.name, f"signed for '{report.fleet}/{report.device}'", now)
            return "refused.report-elsewhere"
        if not _is_plain(report):
            return "refused.report-names"
        return "report.accepted" if self._store.placements.note_report(report, now=now) else "report.repeated"

    def _take_window(self, device: Device, payload: bytes, now: float) -> str:
        window = decode(payload, Window)
        if not self._is_released(window):
            return "refused.unknown-bundle"
        if not _BOOT.fullmatch(window.boot) or window.end < window.start:
            return "refused.window"
        return "telemetry.accepted" if self._store.telemetry.add(device.name, window, now=now) else "telemetry.repeated"

    def _is_released(self, window: Window) -> bool:
        if window.bundle not in self._released:
            release = self._store.releases.find(window.bundle)
            if release is None:
                return False
            self._released[window.bundle] = (release.model, release.version)
        return self._released[window.bundle] == (window.model, window.version)

    def _take_status(self, device: Device, payload: bytes, now: float) -> str:
        status = decode(payload, Status)
        if not _BOOT.fullmatch(status.boot) or len(status.agent) > _AGENT_LENGTH:
            return "refused.status"
        self._store.devices.note_status(device.name, status, now=now)
        return "status.accepted"

    def _audit_refusal(self, device: str, reason: str, now: float) -> None:
        if now - self._audited.get(device, -AUDIT_SECONDS) >= AUDIT_SECONDS:
            self._audited[device] = now
            self._audit.append("refuse-report", {"device": device, "reason": reason}, now=now)


def _is_plain(report: Report) -> bool:
    """Whether its names are ones that every database takes."""
    names = [model.model for model in report.models]
    names += [name for step in report.steps for name in (step.model, step.version)]
    return (
        _BOOT.fullmatch(report.boot) is not None
        and len(report.inventory.agent) <= _AGENT_LENGTH
        and len(set(names[: len(report.models)])) == len(report.models)
        and all(_NAME.fullmatch(name) for name in names)
    )
