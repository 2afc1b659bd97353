"""The door to `pack-fleet`: takes its subcommands together, and turns what goes wrong into lines and an exit code."""

from __future__ import annotations

import errno
import os
import sys
from typing import TYPE_CHECKING, Annotated

import typer
from typer.exceptions import TyperException

from fleet import console
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
from fleet.errors import FleetError
from fleet.usage import explain_usage
from manifests.errors import LayoutError, ManifestError

if TYPE_CHECKING:
    from collections.abc import Sequence

OK, BUG, USAGE, SIGNATURE = 0, 1, 2, 5
_INTERRUPTED = 130
"""128 + SIGINT, as shells have it."""
_PIPE_CLOSED = 141
"""128 + SIGPIPE: what other programs exit with when the reader of their output has left."""
_NO_BUG = {errno.EACCES, errno.EPERM, errno.ENOSPC, errno.EROFS, errno.EDQUOT}
"""What a disk refuses, which the user can mend and we can't."""


def make_app() -> typer.Typer:
    """The command line of `pack-fleet`."""
    app = typer.Typer(
        name="pack-fleet",
        rich_markup_mode=None,
        pretty_exceptions_enable=False,
        context_settings={"help_option_names": ["-h", "--help"], "max_content_width": 100},
    )
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
    try:
        code = _run(arguments)
        sys.stdout.flush()
    except BrokenPipeError:
        # What is still buffered would be written, and fail again, when the interpreter ends.
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
        return _PIPE_CLOSED
    return code


def _root(
    context: typer.Context,
    *,
    version: Annotated[bool, typer.Option("--version", help="Print the version.")] = False,
) -> int:
    """Publish signed bundles to a fleet of devices, say what runs where, and hear what the models saw."""
    if version:
        from importlib.metadata import version as version_of

        console.print_line(version_of("packtrain"))
    elif context.invoked_subcommand is None:
        console.say(context.get_help())
        return USAGE
    return OK


def _run(arguments: Sequence[str] | None) -> int:
    try:
        code = make_app()(arguments, prog_name="pack-fleet", standalone_mode=False)
    except BrokenPipeError:
        raise
    except KeyboardInterrupt:
        return _INTERRUPTED
    except Exception as error:  # noqa: BLE001 - the outermost loop: whatever was not foreseen is a bug, and said to be one
        return _failed(error)
    return int(code or OK)


def _failed(error: Exception) -> int:
    if isinstance(error, FleetError):
        console.complain(str(error), code=error.code, hint=error.hint)
        return error.exit_code
    if isinstance(error, ManifestError):
        console.complain(str(error), code=error.code, hint=error.hint)
        return USAGE if isinstance(error, LayoutError) else SIGNATURE
    if isinstance(error, TyperException):
        message, hint = explain_usage(error)
        console.complain(message, code="usage", hint=hint)
        return USAGE
    if isinstance(error, OSError) and error.errno in _NO_BUG:
        place = f" '{error.filename}'" if error.filename else ""
        console.complain(f"can't use{place}: {(error.strerror or '').lower()}", code="disk")
        return USAGE
    console.apologise(error)
    return BUG
