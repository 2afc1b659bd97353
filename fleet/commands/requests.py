"""`pack-fleet requests`."""

from __future__ import annotations

from typing import Annotated

import typer

from fleet.commands.options import Form, Place, open_store, open_workspace, show_time
from fleet.console import Output, console


def requests(
    model: Annotated[str | None, typer.Argument(metavar="[MODEL]", show_default=False)] = None,
    *,
    workspace: Place = None,
    output: Form = Output.TEXT,
) -> None:
    """List the retraining requests, the newest first, and how their deliveries went."""
    from fleet.views import view_request

    with open_store(open_workspace(workspace)) as store:
        rows = store.retraining.requests(model)
        deliveries = store.retraining.deliveries([row.cause for row in rows])
        views = [view_request(row, deliveries) for row in rows]
    if output is Output.JSON:
        console.print_json(views)
        return
    console.print_table(
        ("model", "version", "score", "created", "deliveries"),
        [
            (
                view.model,
                view.version,
                f"{view.score:.2f}",
                show_time(view.created),
                ", ".join(f"{one.sink}: {one.state}" for one in view.deliveries) or "no sink",
            )
            for view in views
        ],
    )
