"""`pack-fleet where`."""

from __future__ import annotations

from typing import Annotated

import typer

from fleet.commands.options import Form, Place, open_store, open_workspace, show_time, warn_unserved
from fleet.console import Output, console
from fleet.errors import FleetError


def where(
    model: Annotated[str, typer.Argument(metavar="MODEL")], *, workspace: Place = None, output: Form = Output.TEXT
) -> None:
    """Show on which devices a model is, which version runs, and what went wrong."""
    from fleet.views import view_placement

    place = open_workspace(workspace)
    with open_store(place) as store:
        if not store.releases.all(model):
            raise FleetError("fleet.release", f"no release of '{model}'", hint="pack-fleet releases lists them")
        warn_unserved(place, store)
        assigned = store.wishes.assigned()
        views = [
            view_placement(placement, assigned[placement.device].models if placement.device in assigned else ())
            for placement in store.placements.all(model=model)
        ]
    if output is Output.JSON:
        console.print_json(views)
        return
    console.print_table(
        ("device", "runs", "target", "state", "since", "assigned", "fault"),
        [
            (
                view.device,
                view.active.version if view.active else "-",
                view.active.target if view.active else "-",
                view.state,
                show_time(view.since),
                view.assigned or "-",
                f"{view.fault.code}: {view.fault.message}" if view.fault else "",
            )
            for view in views
        ],
    )
