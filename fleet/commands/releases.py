"""`pack-fleet releases`."""

from __future__ import annotations

from typing import Annotated

import typer

from fleet.commands.options import Form, Place, open_store, open_workspace, show_time
from fleet.console import Output, console


def releases(
    model: Annotated[str | None, typer.Argument(metavar="[MODEL]", show_default=False)] = None,
    *,
    workspace: Place = None,
    output: Form = Output.TEXT,
) -> None:
    """List what was published, the newest of each model and target first."""
    from fleet.views import view_release

    with open_store(open_workspace(workspace)) as store:
        views = [view_release(row) for row in store.releases.all(model)]
    if output is Output.JSON:
        console.print_json(views)
        return
    console.print_table(
        ("model", "version", "target", "counter", "bytes", "published", "bundle"),
        [
            (
                view.model,
                view.version,
                view.target,
                str(view.counter),
                str(view.size),
                show_time(view.published),
                view.bundle[:19],
            )
            for view in views
        ],
    )
