"""`pack-fleet serve`."""

from __future__ import annotations

from typing import TYPE_CHECKING

from fleet.commands.options import Form, Place, open_workspace
from fleet.console import Output, console

if TYPE_CHECKING:
    from fleet.workspace import Addresses


def serve(*, workspace: Place = None, output: Form = Output.TEXT) -> None:
    """Run the broker and the server until SIGTERM; one line on stdout says when and where devices are served."""
    import asyncio
    import time

    from fleet.serve import serve as serve_fleet

    def announce(addresses: Addresses) -> None:
        if output is Output.JSON:
            console.print_json_line(addresses)
        else:
            broker = f"{addresses.engine} at {addresses.broker_host}:{addresses.broker_port}"
            console.print_line(f"ready: {broker}, {addresses.api}")

    place = open_workspace(workspace)
    if not place.config.sinks:
        console.say("no [[sinks]] in fleet.toml: drift is shown, and nobody is asked for a retraining")
    asyncio.run(serve_fleet(place, announce=announce, say=console.say, clock=time.time))
