"""From telemetry to verdicts, and from verdicts to at most one retraining request a cause.

A cause is an episode of drift of one version of a model: it begins with the first drifted verdict on any of the
version's bundles, and ends when every bundle that drifted was found stable again. The cause's name is the request's key
in the database, so neither a restart nor a second server asks twice.
"""

from __future__ import annotations

import asyncio
from datetime import UTC, datetime
from typing import TYPE_CHECKING, Literal

import msgspec

from fleet.drift import DEVICES_SHOWN, Details, DeviceScore, Limits, Measure, judge, merge_windows
from fleet.store.retraining import RequestRow, VerdictRow

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Sequence

    from fleet.config import DriftTable, FleetConfig, Sink
    from fleet.store import Store
    from fleet.store.releases import ReleaseRow
    from fleet.store.telemetry import StoredWindow
    from manifests.manifest import BaselineSection

EVENT_TYPE = "dev.packtrain.retraining.requested.v1"
WINDOWS_LIMIT = 5000
"""Windows of one verdict, at most: what waits beyond them is judged at the next look."""


class RequestData(msgspec.Struct, frozen=True, kw_only=True):
    """What a retraining request says."""

    model: str
    version: str
    bundle: str
    target: str
    score: float
    threshold: float
    rows: int
    features: tuple[Measure, ...]
    """The worst, the worst first."""
    predictions: Measure | None
    start: float
    """Unix time of the first row that was counted, by the server's clock."""
    end: float
    devices: tuple[DeviceScore, ...]
    """The worst, the worst first."""


class CloudEvent(msgspec.Struct, frozen=True, kw_only=True):
    """A retraining request as a CloudEvent (CloudEvents 1.0.2)."""

    specversion: Literal["1.0"] = "1.0"
    id: str
    """The cause: with `source` it is unique, and the same when the event is sent again (3.1.1)."""
    source: str
    type: str = EVENT_TYPE
    time: str
    subject: str
    datacontenttype: str = "application/json"
    data: RequestData


def drifting_since(history: Iterable[tuple[str, str, float]]) -> float | None:
    """When the episode began in which a version is, by its verdicts (bundle, verdict, time), the oldest first.

    None: it is in none. A verdict of too few rows neither begins nor ends one.
    """
    drifting: set[str] = set()
    since = None
    for bundle, verdict, decided in history:
        if verdict == "drifted":
            since = decided if not drifting else since
            drifting.add(bundle)
        elif verdict == "stable":
            drifting.discard(bundle)
    return since if drifting else None


def name_cause(model: str, version: str, since: float) -> str:
    """The name of the episode of that version that began at that Unix time."""
    return f"{model}:{version}:{round(since * 1000)}"


def is_due(details: DriftTable, *, rows: int, first: float, now: float) -> bool:
    """Whether what waits is to be judged: there are rows enough, or they waited long enough."""
    return rows >= details.window_rows or now - first >= details.window


def assess(baseline: BaselineSection, windows: Sequence[StoredWindow], limits: Limits) -> Details:
    """The verdict on these windows, which must not be empty, and on each device's part of them."""
    current = merge_windows(baseline, (stored.window for stored in windows))
    devices = []
    for device in sorted({stored.device for stored in windows}):
        own = merge_windows(baseline, (stored.window for stored in windows if stored.device == device))
        verdict = judge(baseline, own, limits)
        devices.append(DeviceScore(device=device, rows=own.rows, kind=verdict.kind, score=verdict.score))
    devices.sort(key=lambda found: (-found.score, found.device))
    return Details(
        start=windows[0].received,
        end=windows[-1].received,
        windows=len(windows),
        ignored=current.ignored,
        verdict=judge(baseline, current, limits),
        devices=tuple(devices[:DEVICES_SHOWN]),
    )


def describe_request(fleet: str, release: ReleaseRow, details: Details, cause: str, *, now: float) -> CloudEvent:
    """The event that asks for a retraining."""
    verdict = details.verdict
    return CloudEvent(
        id=cause,
        source=f"urn:packtrain:fleet:{fleet}",
        time=datetime.fromtimestamp(now, UTC).isoformat().replace("+00:00", "Z"),
        subject=f"{release.model}:{release.version}",
        data=RequestData(
            model=release.model,
            version=release.version,
            bundle=release.bundle,
            target=release.target,
            score=verdict.score,
            threshold=verdict.threshold,
            rows=verdict.rows,
            features=verdict.features,
            predictions=verdict.predictions,
            start=details.start,
            end=details.end,
            devices=details.devices,
        ),
    )


def look(store: Store, config: FleetConfig, *, now: float) -> list[VerdictRow]:
    """The verdicts on what came since the last look, stored, with the requests that follow from them.

    Judged are the bundles that devices run by their own reports, as soon as enough rows wait. A bundle without a
    baseline is never judged.
    """
    ends = {row.bundle: _read_details(row).end for row in store.retraining.latest_verdicts() if not row.device}
    active = {found.active.bundle for found in store.figures.in_use() if found.active}
    found = []
    for bundle in sorted(active):
        after = ends.get(bundle, 0.0)
        waiting = store.telemetry.waiting(bundle, after=after)
        if waiting.first is None or not is_due(config.drift, rows=waiting.rows, first=waiting.first, now=now):
            continue
        release, baseline = store.releases.find(bundle), store.releases.baseline(bundle)
        if release is None or baseline is None:
            continue
        windows = store.telemetry.after(bundle, after=after, limit=WINDOWS_LIMIT)
        details = assess(baseline, windows, _limits(config.drift))
        found.append(_note_verdict(store, release, details, now=now))
        if details.verdict.kind == "drifted":
            _request(store, config, release, details, now=now)
    return found


async def watch_drift(store: Store, config: FleetConfig, *, clock: Callable[[], float]) -> None:
    """Look at the telemetry every `[drift] interval` seconds, until cancelled."""
    while True:
        await asyncio.to_thread(look, store, config, now=clock())
        await asyncio.sleep(config.drift.interval)


def _limits(table: DriftTable) -> Limits:
    return Limits(threshold=table.psi, share=table.share, minimum_rows=table.minimum_rows)


def _read_details(row: VerdictRow) -> Details:
    return msgspec.json.decode(row.details, type=Details)


def _note_verdict(store: Store, release: ReleaseRow, details: Details, *, now: float) -> VerdictRow:
    row = VerdictRow(
        model=release.model,
        version=release.version,
        bundle=release.bundle,
        verdict=details.verdict.kind,
        score=details.verdict.score,
        rows=min(details.verdict.rows, 2**53),  # devices may claim more than a database counts
        details=msgspec.json.encode(details).decode(),
        decided=now,
    )
    store.retraining.add_verdict(row)
    return row


def _request(store: Store, config: FleetConfig, release: ReleaseRow, details: Details, *, now: float) -> None:
    newest = store.retraining.requests(release.model, limit=1)
    if newest and now - newest[0].created < config.drift.cooldown:
        return
    since = drifting_since(store.retraining.history(release.model, release.version))
    if since is None:
        return
    cause = name_cause(release.model, release.version, since)
    event = describe_request(config.fleet, release, details, cause, now=now)
    request = RequestRow(
        cause=cause,
        model=release.model,
        version=release.version,
        bundle=release.bundle,
        score=details.verdict.score,
        body=msgspec.json.encode(event).decode(),
        created=now,
    )
    store.retraining.add_request(request, [sink.name for sink in config.sinks if takes(sink, release.model)])


def takes(sink: Sink, model: str) -> bool:
    """Whether requests about that model go to that sink."""
    return not sink.models or model in sink.models
