"""Options that several commands take."""

from __future__ import annotations

import time
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, TypeAlias

import typer

from fleet.console import Output, console

if TYPE_CHECKING:
    from collections.abc import Iterator

    from fleet.store import Store
    from fleet.workspace import Workspace

Place: TypeAlias = Annotated[
    Path | None,
    typer.Option(
        "--workspace",
        "-w",
        metavar="DIR",
        envvar="PACK_FLEET_WORKSPACE",
        show_default=False,
        help="The workspace. Default: this folder, its folder 'fleet', or one of those above.",
    ),
]
Form: TypeAlias = Annotated[Output, typer.Option("--output", "-o", help="Form of the result.")]


def open_workspace(place: Path | None) -> Workspace:
    """The workspace that was named, or the one found from here.

    Raises:
        FleetError: there is none.
    """
    from fleet.workspace import Workspace, find_workspace

    return find_workspace(Path()) if place is None else Workspace(place)


@contextmanager
def open_store(workspace: Workspace) -> Iterator[Store]:
    """The workspace's database, closed at the end."""
    store = workspace.open_store()
    try:
        yield store
    finally:
        store.close()


def warn_unserved(workspace: Workspace, store: Store) -> bool:
    """Whether no server of the workspace runs; then people are told how old what they see is."""
    if workspace.is_served():
        return False
    newest = max((device.seen for device in store.devices.all() if device.seen is not None), default=None)
    heard = "no device was ever heard of" if newest is None else f"devices were last heard of at {show_time(newest)}"
    console.say(f"no server runs for this workspace: {heard}")
    return True


def show_time(seconds: float | None) -> str:
    """A time of day in this machine's zone, for people."""
    return "never" if seconds is None else time.strftime("%Y-%m-%d %H:%M:%S", time.localtime(seconds))
