"""`pack-fleet assign`."""

from __future__ import annotations

import time
from typing import TYPE_CHECKING, Annotated

import typer

from fleet.commands.options import Form, Place, open_store, open_workspace
from fleet.console import Output, console
from fleet.errors import FleetError

if TYPE_CHECKING:
    from fleet.store import Store
    from fleet.store.devices import Device


def assign(
    model: Annotated[
        str, typer.Argument(metavar="MODEL[:VERSION]", help="Without VERSION: the newest, now and later.")
    ],
    *,
    to: Annotated[
        str, typer.Option(metavar="SELECTOR", help="A device, 'all', or label=value; a comma joins what must all hold.")
    ],
    workspace: Place = None,
    output: Form = Output.TEXT,
) -> None:
    """Say which devices should run a model; of several that match a device, the last said holds."""
    name, _, version = model.partition(":")
    place = open_workspace(workspace)
    now = time.time()
    with open_store(place) as store:
        _check_release(store, name, version or None)
        chosen = _choose(store, to)
        store.wishes.add(name, version or None, to, now=now)
        _say_what_lacks(store, name, version or None, chosen)
    place.audit.append("assign", {"model": name, "version": version or "newest", "to": to}, now=now)
    if output is Output.JSON:
        document = {"model": name, "version": version or None, "to": to, "devices": [device.name for device in chosen]}
        console.print_json(document)
        return
    for device in chosen:
        console.print_line(device.name)


def _check_release(store: Store, name: str, version: str | None) -> None:
    versions = {row.version for row in store.releases.all(name)}
    if not versions or version not in {None, *versions}:
        known = ", ".join(sorted(versions)) or "none"
        raise FleetError(
            "fleet.release",
            f"no release of '{name}'" + (f" has version '{version}': published are {known}" if versions else ""),
            hint="pack-fleet publish makes one",
        )


def _choose(store: Store, selector: str) -> list[Device]:
    from fleet.rollouts import parse_selector

    parsed = parse_selector(selector)
    devices = store.devices.all()
    unknown = parsed.names - {device.name for device in devices}
    if unknown:
        raise FleetError(
            "fleet.device", f"no device '{min(unknown)}'", hint="pack-fleet devices lists them; labels are name=value"
        )
    return [device for device in devices if parsed.matches(device)]


def _say_what_lacks(store: Store, name: str, version: str | None, chosen: list[Device]) -> None:
    from fleet.rollouts import choose_release

    releases = store.releases.all(name)
    if not chosen:
        console.say("no device matches yet")
    for device in chosen:
        if choose_release(releases, name, version, device.targets) is None:
            console.say(f"{device.name}: no release for {', '.join(device.targets)} yet")
