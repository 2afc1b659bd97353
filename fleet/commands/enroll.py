"""`pack-fleet enroll`."""

from __future__ import annotations

import time
from enum import StrEnum
from pathlib import Path
from typing import Annotated

import typer

from fleet.commands.options import Form, Place, open_store, open_workspace
from fleet.console import Output, console
from fleet.errors import FleetError


class Health(StrEnum):
    """What decides whether an activated bundle stays."""

    APPLICATION = "application"
    SELF_TEST = "self-test"


def enroll(  # noqa: PLR0913 - each parameter is an option of the command line
    device: Annotated[str, typer.Argument(metavar="DEVICE", help="Its name: lower-case letters, digits, . _ -")],
    *,
    out: Annotated[
        Path | None, typer.Option(metavar="DIR", show_default=False, help="Folder to write. Default: its name.")
    ] = None,
    target: Annotated[
        list[str] | None,
        typer.Option(
            "--target", "-t", show_default=False, help="What it can run, the preferred first. Default: cloud."
        ),
    ] = None,
    label: Annotated[
        list[str] | None, typer.Option("--label", "-l", metavar="NAME=VALUE", help="For selectors of assign.")
    ] = None,
    state: Annotated[str, typer.Option(metavar="DIR", help="Where its agent keeps its state.")] = "state",
    broker: Annotated[
        str,
        typer.Option(
            metavar="HOST:PORT", show_default=False, help="Where it finds the broker. Default: this server's."
        ),
    ] = "",
    health: Annotated[Health, typer.Option(help="What keeps a new bundle: its application, or its self-test.")] = (
        Health.APPLICATION
    ),
    telemetry_interval: Annotated[float, typer.Option(min=0.1, metavar="SECONDS", help="One telemetry window.")] = 60.0,
    key: Annotated[
        Path | None, typer.Option(metavar="KEY.pub", show_default=False, help="A key that the device made itself.")
    ] = None,
    workspace: Place = None,
    output: Form = Output.TEXT,
) -> None:
    """Add a device: write its agent.toml, its key and its root of trust."""
    from fleet.enrollment import DEFAULT_TARGETS, Enrollment
    from fleet.enrollment import enroll as enroll_device

    place = open_workspace(workspace)
    enrollment = Enrollment(
        device=device,
        targets=tuple(target or DEFAULT_TARGETS),
        labels=dict(_pair(text) for text in label or ()),
        state=state,
        broker=_address(broker) if broker else None,
        health=health.value,
        interval=telemetry_interval,
        public_key=key,
    )
    with open_store(place) as store:
        path = enroll_device(place, store, enrollment, out or Path(device), now=time.time())
        released = {row.target for row in store.releases.all()}
    missing = [name for name in enrollment.targets if name not in released]
    if missing:
        console.say(f"no release is for {' or '.join(missing)} yet: such a one is assigned once it is published")
    if output is Output.JSON:
        console.print_json({"device": device, "config": str(path)})
    else:
        console.print_line(str(path))


def _pair(text: str) -> tuple[str, str]:
    name, equals, value = text.partition("=")
    if not (name and equals and value) or "," in text:
        raise FleetError("fleet.label", f"'{text}' is no label: expected NAME=VALUE without a comma")
    return name, value


def _address(text: str) -> tuple[str, int]:
    host, _, port = text.rpartition(":")
    if not host or not port.isdecimal():
        raise FleetError("fleet.broker-address", f"'{text}' is no address: expected HOST:PORT")
    return host, int(port)
