"""Who should run what. Pure: devices, wishes and releases in, desired models out."""

from __future__ import annotations

from typing import TYPE_CHECKING

import msgspec

from fleet.errors import FleetError
from wire.messages import Desired

if TYPE_CHECKING:
    from collections.abc import Iterable, Mapping, Sequence

    from fleet.store.devices import Device
    from fleet.store.releases import ReleaseRow
    from fleet.store.wishes import Wish

EVERY_DEVICE = "all"


class Selector(msgspec.Struct, frozen=True):
    """Chooses devices: by name, by labels, or all of them. Every term must hold."""

    names: frozenset[str]
    labels: frozenset[tuple[str, str]]

    def matches(self, device: Device) -> bool:
        """Whether the device is chosen."""
        return self.names <= {device.name} and self.labels <= set(device.labels.items())


def parse_selector(text: str) -> Selector:
    """The selector written as ``all``, a device's name, or ``label=value``; a comma means "and".

    Raises:
        FleetError: a term is empty.
    """
    names, labels = set(), set()
    for term in (part.strip() for part in text.split(",")):
        label, equals, value = term.partition("=")
        if not label or (equals and not value):
            raise FleetError(
                "fleet.selector",
                f"'{text}' is no selector: expected a device, 'all', or label=value, got '{term}'",
                hint="a comma joins terms that must all hold: site=north,camera=wide",
            )
        if equals:
            labels.add((label, value))
        elif term != EVERY_DEVICE:
            names.add(term)
    return Selector(frozenset(names), frozenset(labels))


def resolve(
    devices: Iterable[Device],
    wishes: Sequence[Wish],
    releases: Iterable[ReleaseRow],
    previous: Mapping[str, tuple[Desired, ...]],
) -> dict[str, tuple[Desired, ...]]:
    """What each device should run, by model; devices that no wish matches should run nothing.

    For one model the newest wish that matches a device holds. The bundle is that for the first of the device's
    targets that has one: of the wished version, else of the highest counter. Where there is none, what `previous`
    says of the model stays: a wish that can't be met takes nothing away.
    """
    shelf = list(releases)
    chosen = [(wish, parse_selector(wish.selector)) for wish in sorted(wishes, key=lambda wish: wish.id)]
    resolved = {}
    for device in devices:
        holding = {wish.model: wish for wish, selector in chosen if selector.matches(device)}
        before = {desired.model: desired for desired in previous.get(device.name, ())}
        models = (
            choose_release(shelf, model, wish.version, device.targets) or before.get(model)
            for model, wish in sorted(holding.items())
        )
        resolved[device.name] = tuple(desired for desired in models if desired is not None)
    return resolved


def last_asked(device: Device, wishes: Iterable[Wish]) -> float:
    """When the newest wish that matches the device was stated, in Unix time; 0 where none does."""
    return max((wish.created for wish in wishes if parse_selector(wish.selector).matches(device)), default=0.0)


def choose_release(
    releases: Iterable[ReleaseRow], model: str, version: str | None, targets: Sequence[str]
) -> Desired | None:
    """The release of `model` for the first of `targets` that has one; None: none has."""
    candidates = [row for row in releases if row.model == model and version in (None, row.version)]
    for target in targets:
        fitting = [row for row in candidates if row.target == target]
        if fitting:
            row = max(fitting, key=lambda row: row.counter)
            return Desired(
                model=row.model,
                version=row.version,
                counter=row.counter,
                target=row.target,
                bundle=row.bundle,
                release=row.path,
            )
    return None
