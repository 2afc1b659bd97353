"""What the HTTP API says of devices, models, releases, drift, requests: structs of its own, apart from the tables."""

from __future__ import annotations

from typing import TYPE_CHECKING, Generic, TypeVar

import msgspec

from fleet.drift import Details, DeviceScore, Measure
from wire.messages import Fault

if TYPE_CHECKING:
    from collections.abc import Iterable

    from fleet.store.devices import Device
    from fleet.store.placements import Placement, StepRow
    from fleet.store.releases import ReleaseRow
    from fleet.store.retraining import DeliveryRow, RequestRow, VerdictRow
    from wire.messages import Desired, Running


class View(msgspec.Struct, frozen=True, kw_only=True):
    """What every answer has in common."""


Item = TypeVar("Item")


class Page(View, Generic[Item], frozen=True, kw_only=True):
    """A part of a list."""

    items: list[Item]
    next: int | None
    """The `offset` of the next page; null: this is the last."""


class Health(View, frozen=True, kw_only=True):
    """That the server answers, and its database too."""

    status: str
    fleet: str


class BundleView(View, frozen=True, kw_only=True):
    """A bundle on a device."""

    version: str
    target: str
    bundle: str


class PlacementView(View, frozen=True, kw_only=True):
    """One model on one device."""

    device: str
    model: str
    state: str
    active: BundleView | None
    """What runs, by the device's own report."""
    next: BundleView | None
    """What is being brought in."""
    assigned: str | None
    """The version that the device was told to run."""
    fault: Fault | None
    since: float
    """Unix time at which state or active bundle last changed."""


class DeviceView(View, frozen=True, kw_only=True):
    """One device."""

    name: str
    online: bool
    seen: float | None
    """Unix time at which anything last came from it."""
    enrolled: float
    labels: dict[str, str]
    targets: tuple[str, ...]
    agent: str
    architecture: str
    models: list[PlacementView]


class StepView(View, frozen=True, kw_only=True):
    """One step of an update."""

    model: str
    version: str
    step: str
    fault: Fault | None
    seconds: float
    received: float


class DeviceDetail(View, frozen=True, kw_only=True):
    """One device, and how its last updates went."""

    device: DeviceView
    steps: list[StepView]
    """The newest first."""


class VersionView(View, frozen=True, kw_only=True):
    """One version of a model for one target."""

    version: str
    target: str
    devices: int
    """How many run it."""


class ModelView(View, frozen=True, kw_only=True):
    """One model."""

    name: str
    newest: str | None
    """The version that was published last."""
    versions: list[VersionView]
    """Those that run somewhere, the most used first."""
    waiting: int
    """Devices on which nothing of it is active."""


class ReleaseView(View, frozen=True, kw_only=True):
    """One published bundle."""

    model: str
    version: str
    target: str
    counter: int
    bundle: str
    size: int
    published: float


class DriftView(View, frozen=True, kw_only=True):
    """One verdict."""

    model: str
    version: str
    target: str
    bundle: str
    verdict: str
    score: float
    threshold: float
    rows: int
    start: float
    end: float
    decided: float
    moved: int
    """How many features moved, of `measured`."""
    measured: int
    features: tuple[Measure, ...]
    predictions: Measure | None
    devices: tuple[DeviceScore, ...]


class DeliveryView(View, frozen=True, kw_only=True):
    """How far a request has come with one sink."""

    sink: str
    state: str
    attempts: int
    due: float
    message: str
    updated: float


class RequestView(View, frozen=True, kw_only=True):
    """One retraining request."""

    id: str
    model: str
    version: str
    bundle: str
    score: float
    created: float
    deliveries: list[DeliveryView]


def view_bundle(running: Running | None) -> BundleView | None:
    """The bundle in a slot, as the API shows it."""
    if running is None:
        return None
    return BundleView(version=running.version, target=running.target, bundle=running.bundle)


def view_placement(placement: Placement, assigned: Iterable[Desired]) -> PlacementView:
    """A placement beside what its device was told to run."""
    wanted = [desired.version for desired in assigned if desired.model == placement.model]
    return PlacementView(
        device=placement.device,
        model=placement.model,
        state=placement.state,
        active=view_bundle(placement.active),
        next=view_bundle(placement.next),
        assigned=wanted[0] if wanted else None,
        fault=placement.fault,
        since=placement.since,
    )


def view_device(device: Device, models: list[PlacementView]) -> DeviceView:
    """A device and what runs on it; its keys are not shown."""
    return DeviceView(
        name=device.name,
        online=device.online,
        seen=device.seen,
        enrolled=device.enrolled,
        labels=device.labels,
        targets=device.targets,
        agent=device.agent,
        architecture=device.inventory.architecture if device.inventory else "",
        models=models,
    )


def view_step(row: StepRow) -> StepView:
    """A step of an update."""
    return StepView(
        model=row.model,
        version=row.version,
        step=row.step,
        fault=row.fault,
        seconds=row.seconds,
        received=row.received,
    )


def view_release(row: ReleaseRow) -> ReleaseView:
    """A release."""
    return ReleaseView(
        model=row.model,
        version=row.version,
        target=row.target,
        counter=row.counter,
        bundle=row.bundle,
        size=row.size,
        published=row.published,
    )


def view_verdict(row: VerdictRow, target: str) -> DriftView:
    """A verdict on a bundle for that target, with its details."""
    details = msgspec.json.decode(row.details, type=Details)
    return DriftView(
        model=row.model,
        version=row.version,
        target=target,
        bundle=row.bundle,
        verdict=row.verdict,
        score=row.score,
        threshold=details.verdict.threshold,
        rows=row.rows,
        start=details.start,
        end=details.end,
        decided=row.decided,
        moved=details.verdict.moved,
        measured=details.verdict.measured,
        features=details.verdict.features,
        predictions=details.verdict.predictions,
        devices=details.devices,
    )


def view_request(row: RequestRow, deliveries: Iterable[DeliveryRow]) -> RequestView:
    """A request and its deliveries, picked from those of several requests."""
    own = [
        DeliveryView(
            sink=delivery.sink,
            state=delivery.state,
            attempts=delivery.attempts,
            due=delivery.due,
            message=delivery.message,
            updated=delivery.updated,
        )
        for delivery in deliveries
        if delivery.cause == row.cause
    ]
    return RequestView(
        id=row.cause,
        model=row.model,
        version=row.version,
        bundle=row.bundle,
        score=row.score,
        created=row.created,
        deliveries=own,
    )
