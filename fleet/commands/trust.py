"""`pack-fleet trust`."""

from __future__ import annotations

import time
from pathlib import Path
from typing import Annotated

import typer

from fleet.commands.options import Place, open_workspace
from fleet.console import console


def trust(
    key: Annotated[Path, typer.Argument(metavar="KEY.pub", help="A public key, as pack keys generate writes it.")],
    *,
    name: Annotated[str, typer.Option(help="Whose it is, for the audit log.")] = "",
    workspace: Place = None,
) -> None:
    """Accept bundles signed with this key, on publishing and on every device."""
    from fleet.publish import trust_packer

    console.print_line(trust_packer(open_workspace(workspace), key, name=name, now=time.time()))
