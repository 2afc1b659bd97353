"""The door to `pack-fleet`: takes its subcommands together, and says which errors end it how."""

from __future__ import annotations

from typing import TYPE_CHECKING, Annotated

import typer

from fleet.commands import (
    assign,
    audit,
    devices,
    enroll,
    init,
    publish,
    releases,
    renew,
    requests,
    serve,
    trust,
    where,
)
from fleet.console import console
from fleet.errors import FleetError
from terminal.program import OK, USAGE, Program, open_app, run

if TYPE_CHECKING:
    from collections.abc import Sequence

    from terminal.program import CodedError

_SIGNATURE = 5


def make_app() -> typer.Typer:
    """The command line of `pack-fleet`."""
    app = open_app("pack-fleet")
    app.callback(invoke_without_command=True)(_root)
    app.command("init")(init.init)
    app.command("trust")(trust.trust)
    app.command("enroll")(enroll.enroll)
    app.command("publish")(publish.publish)
    app.command("assign")(assign.assign)
    app.command("serve")(serve.serve)
    app.command("devices")(devices.devices)
    app.command("where")(where.where)
    app.command("releases")(releases.releases)
    app.command("requests")(requests.requests)
    app.command("renew")(renew.renew)
    app.add_typer(audit.make_app(), name="audit")
    return app


def main(arguments: Sequence[str] | None = None) -> int:
    """Run `pack-fleet` and return its exit code; `arguments` default to those of the process."""
    program = Program(
        name="pack-fleet",
        make_app=make_app,
        console=console,
        errors=FleetError,
        exit_codes=_exit_codes,
        debug_variable="PACK_DEBUG",
        wants_traceback=_wants_traceback,
    )
    return run(program, arguments)


def _root(
    context: typer.Context,
    *,
    version: Annotated[bool, typer.Option("--version", help="Print the version.")] = False,
) -> int:
    """Publish signed bundles to a fleet of devices, say what runs where, and hear what the models saw."""
    if version:
        from importlib.metadata import version as version_of

        console.print_line(f"pack-fleet {version_of('packtrain')}")
    elif context.invoked_subcommand is None:
        console.say(context.get_help())
        return USAGE
    return OK


def _exit_codes() -> Sequence[tuple[type[CodedError], int]]:
    from manifests.errors import LayoutError, ManifestError

    return ((LayoutError, USAGE), (ManifestError, _SIGNATURE))


def _wants_traceback() -> bool:
    from fleet.config import wants_traceback

    return wants_traceback()
