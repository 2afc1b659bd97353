"""The door to `pack`: takes its subcommands together, and turns what goes wrong into lines and an exit code."""

from __future__ import annotations

import errno
import os
import sys
from typing import TYPE_CHECKING

import typer
from typer.exceptions import TyperException

from packager import console
from packager.commands import build, init, inspect, keys, plan, pull, push, schema, targets, verify
from packager.errors import ExitCode, PackError

if TYPE_CHECKING:
    from collections.abc import Sequence

_EPILOG = """\b
Exit codes: 0 ok, 1 bug in pack, 2 usage or configuration, 3 conversion,
4 gate, 5 signature, 6 network, 7 toolchain missing."""
_INTERRUPTED = 130
"""128 + SIGINT, as shells have it."""
_PIPE_CLOSED = 141
"""128 + SIGPIPE: what other programs exit with when the reader of their output has left."""
_NO_BUG = {errno.EACCES, errno.EPERM, errno.ENOSPC, errno.EROFS, errno.EDQUOT}
"""What a disk refuses, which the user can mend and we can't."""


def make_app() -> typer.Typer:
    """The command line of `pack`."""
    app = typer.Typer(
        name="pack",
        rich_markup_mode=None,
        pretty_exceptions_enable=False,
        suggest_commands=False,
        context_settings={"help_option_names": ["-h", "--help"], "max_content_width": 100},
    )
    app.callback(invoke_without_command=True, subcommand_metavar="[COMMAND]", epilog=_EPILOG)(build.pack)
    app.command("init")(init.init)
    app.command("plan")(plan.plan)
    app.command("inspect")(inspect.inspect)
    app.command("verify")(verify.verify)
    app.command("push")(push.push)
    app.command("pull")(pull.pull)
    app.add_typer(keys.make_app(), name="keys")
    app.command("targets")(targets.targets)
    app.command("schema")(schema.schema)
    return app


def main(arguments: Sequence[str] | None = None) -> int:
    """Run `pack` and return its exit code; `arguments` default to those of the process."""
    try:
        code = _run(arguments)
        sys.stdout.flush()
    except BrokenPipeError:
        # What is still buffered would be written, and fail again, when the interpreter ends.
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
        return _PIPE_CLOSED
    return code


def _run(arguments: Sequence[str] | None) -> int:
    try:
        code = make_app()(arguments, prog_name="pack", standalone_mode=False)
    except SystemExit as left:
        # Typer leaves so when it has completed a word for the shell, and, with 1, when stdout was closed.
        return _PIPE_CLOSED if left.code else ExitCode.OK
    except KeyboardInterrupt:
        return _interrupted()
    except Exception as error:  # noqa: BLE001 - the outermost loop: whatever was not foreseen is a bug, and said to be one
        return _failed(error)
    if code == _INTERRUPTED:
        return _interrupted()
    return int(code or ExitCode.OK)


def _interrupted() -> int:
    console.complain("interrupted, nothing was written for what was not finished", code="interrupted")
    return _INTERRUPTED


def _failed(error: Exception) -> int:
    if isinstance(error, PackError):
        console.complain(str(error), code=error.code, hint=error.hint)
        return error.exit_code
    if isinstance(error, TyperException):
        from packager.usage import explain_usage

        message, hint = explain_usage(error)
        console.complain(message, code="usage", hint=hint)
        return ExitCode.USAGE
    if isinstance(error, OSError) and error.errno in _NO_BUG:
        place = f" '{error.filename}'" if error.filename else ""
        console.complain(f"can't use{place}: {(error.strerror or '').lower()}", code="disk")
        return ExitCode.USAGE
    return _failed_below(error)


def _failed_below(error: Exception) -> int:
    """Errors of the libraries, which know nothing of exit codes; what is none of them is a bug."""
    from manifests.errors import LayoutError, ManifestError
    from targets._target import TargetError

    if not isinstance(error, ManifestError | TargetError):
        console.apologise(error)
        return ExitCode.BUG
    console.complain(str(error), code=error.code, hint=error.hint)
    if isinstance(error, TargetError):
        return ExitCode.CONVERSION
    return ExitCode.USAGE if isinstance(error, LayoutError) else ExitCode.SIGNATURE
