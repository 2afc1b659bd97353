"""The door to `pack`: takes its subcommands together, and says which errors end it how."""

from __future__ import annotations

from typing import TYPE_CHECKING

from packager.commands import (
    build,
    client,
    container,
    deploy_files,
    explain,
    init,
    inspect,
    keys,
    plan,
    pull,
    push,
    schema,
    score,
    serve,
    targets,
    toolchain,
    verify,
)
from packager.console import console
from packager.errors import ExitCode, PackError
from terminal.program import Program, open_app, run

if TYPE_CHECKING:
    from collections.abc import Sequence

    import typer

    from terminal.program import CodedError

_EPILOG = """\b
Exit codes: 0 ok, 1 bug in pack, 2 usage or configuration, 3 conversion,
4 gate, 5 signature, 6 network, 7 toolchain missing."""


def make_app() -> typer.Typer:
    """The command line of `pack`."""
    app = open_app("pack")
    app.callback(invoke_without_command=True, subcommand_metavar="[COMMAND]", epilog=_EPILOG)(build.pack)
    app.command("init")(init.init)
    app.command("plan")(plan.plan)
    app.command("explain")(explain.explain)
    app.command("inspect")(inspect.inspect)
    app.command("verify")(verify.verify)
    app.command("push")(push.push)
    app.command("pull")(pull.pull)
    app.command("serve")(serve.serve)
    app.command("score")(score.score)
    app.command("client")(client.client)
    app.command("container")(container.container)
    app.command("deploy-files")(deploy_files.deploy_files)
    app.add_typer(keys.make_app(), name="keys")
    app.command("targets")(targets.targets)
    app.add_typer(toolchain.make_app(), name="toolchain")
    app.command("schema")(schema.schema)
    return app


def main(arguments: Sequence[str] | None = None) -> int:
    """Run `pack` and return its exit code; `arguments` default to those of the process."""
    program = Program(
        name="pack",
        make_app=make_app,
        console=console,
        errors=PackError,
        exit_codes=_exit_codes,
        debug_variable="PACK_DEBUG",
        wants_traceback=_wants_traceback,
        interrupted="interrupted, nothing was written for what was not finished",
        words_meant={
            "build": "pack without a command builds",
            "help": "pack --help",
            "version": "pack --version",
        },
    )
    return run(program, arguments)


def _exit_codes() -> Sequence[tuple[type[CodedError], int]]:
    from manifests.errors import LayoutError, ManifestError
    from targets._target import TargetError

    return (
        (TargetError, ExitCode.CONVERSION),
        (LayoutError, ExitCode.USAGE),
        (ManifestError, ExitCode.SIGNATURE),
    )


def _wants_traceback() -> bool:
    from packager.config import read_environment

    return read_environment().debug
