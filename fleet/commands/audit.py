"""`pack-fleet audit`."""

from __future__ import annotations

from typing import Annotated

import typer

from fleet.commands.options import Form, Place, open_workspace, show_time
from fleet.console import Output, console


def make_app() -> typer.Typer:
    """The commands below ``audit``."""
    app = typer.Typer(help="Show and check who did what when.", rich_markup_mode=None)
    app.command("show")(show)
    app.command("verify")(verify)
    return app


def show(*, workspace: Place = None, output: Form = Output.TEXT) -> None:
    """List all entries, the oldest first."""
    entries = list(open_workspace(workspace).audit.entries())
    if output is Output.JSON:
        console.print_json(entries)
        return
    console.print_table(
        ("time", "actor", "action", "details"),
        [
            (
                show_time(entry.time),
                entry.actor,
                entry.action,
                " ".join(f"{name}={value}" for name, value in entry.details.items()),
            )
            for entry in entries
        ],
    )


def verify(
    *,
    known: Annotated[
        str | None,
        typer.Option(
            metavar="DIGEST", show_default=False, help="An entry that must still be there, from an earlier run."
        ),
    ] = None,
    workspace: Place = None,
    output: Form = Output.TEXT,
) -> None:
    """Check that no entry was changed, removed or inserted; print the digest of the last, to be kept elsewhere."""
    count, digest = open_workspace(workspace).audit.verify(known=known)
    if output is Output.JSON:
        console.print_json({"entries": count, "last": digest})
        return
    console.say(f"{count} entries, none was changed")
    console.print_line(digest)
