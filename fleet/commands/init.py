"""`pack-fleet init`."""

from __future__ import annotations

import time
from pathlib import Path
from typing import Annotated

import typer

from fleet.commands.options import Form
from fleet.console import Output, console


def init(
    folder: Annotated[Path, typer.Argument(metavar="[DIR]", show_default=False, help="Default: fleet.")] = Path(
        "fleet"
    ),
    *,
    name: Annotated[str, typer.Option("--fleet", help="Name of the fleet; it stands in every topic.")] = "main",
    broker_port: Annotated[int, typer.Option(min=0, max=65535, help="Port of the broker; 0: any free one.")] = 1883,
    api_port: Annotated[int, typer.Option(min=0, max=65535, help="Port of the HTTP API; 0: any free one.")] = 8420,
    output: Form = Output.TEXT,
) -> None:
    """Make a workspace: configuration, keys, trust metadata, database."""
    from fleet.workspace import create_workspace

    made = create_workspace(folder, name, broker_port=broker_port, api_port=api_port, now=time.time())
    console.say(f"keys of the offline roles are in '{folder / 'keys' / 'offline'}': move them to another machine")
    console.say("next: pack-fleet trust KEY.pub, with the public key that pack signs with")
    if output is Output.JSON:
        console.print_json({"workspace": str(made.folder), "fleet": name})
    else:
        console.print_line(str(made.folder))
