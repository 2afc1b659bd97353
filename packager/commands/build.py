"""`pack` itself: build what ``pack.toml`` asks for."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from packager.commands.options import Folder, Form, Inputs, Model, Targets, open_project
from packager.console import Output, console
from packager.errors import ConfigError, ExitCode, SignatureError

if TYPE_CHECKING:
    from collections.abc import Sequence

    from securesystemslib.signer import CryptoSigner

    from packager.config import Project


def _print_version(asked: bool) -> None:  # noqa: FBT001 - typer calls it with the option's value
    """Answer before anything else is looked at."""
    if asked:
        from importlib.metadata import version

        console.print_line(f"pack {version('packtrain')}")
        raise typer.Exit


def pack(  # noqa: PLR0913 - each parameter is an option of the command line
    context: typer.Context,
    *,
    target: Targets = None,
    model: Model = None,
    inputs: Inputs = None,
    folder: Folder = Path(),
    output: Form = Output.TEXT,
    dry_run: Annotated[bool, typer.Option("--dry-run", help="Say what would be built, and build nothing.")] = False,
    jobs: Annotated[
        int,
        typer.Option(
            "--jobs", "-j", min=0, metavar="N", show_default=False, help="Targets built at once; 0: one a CPU."
        ),
    ] = 0,
    keep_going: Annotated[
        bool, typer.Option("--keep-going", "-k", help="Build the other targets after one fails.")
    ] = False,
    unsigned: Annotated[bool, typer.Option("--unsigned", help="Build without a signing key.")] = False,
    version: Annotated[  # noqa: ARG001 - its callback has answered
        bool, typer.Option("--version", is_eager=True, callback=_print_version, help="Print the version.")
    ] = False,
) -> int:
    """Turn a model into signed bundles, one for each target of pack.toml.

    Without a COMMAND, pack builds.
    """
    if context.invoked_subcommand is not None:
        _refuse_stray_options(context)
        return ExitCode.OK
    names = list(dict.fromkeys(target or ()))
    project = open_project(folder, model, names, inputs)
    if dry_run:
        from packager.commands.plan import show_plan

        return show_plan(project, names, output)
    return _build(
        project, names, output, jobs=jobs, keep_going=keep_going, signer=_signer(project, model, unsigned=unsigned)
    )


def _build(
    project: Project,
    names: Sequence[str],
    output: Output,
    *,
    jobs: int,
    keep_going: bool,
    signer: CryptoSigner | None,
) -> int:
    from packager.build import build
    from packager.outcomes import report
    from packager.progress import show_progress

    with show_progress() as progress:
        outcomes = build(project, names, jobs=jobs, keep_going=keep_going, progress=progress, signer=signer)
    return report(
        project, names or list(project.targets), outcomes, output, key=signer.public_key.keyid if signer else None
    )


def _signer(project: Project, model: Path | None, *, unsigned: bool) -> CryptoSigner | None:
    """The project's signing key; None where bundles are to stay unsigned.

    Raises:
        SignatureError: there is no key, or it can't be read.
    """
    from manifests.errors import UncheckableError
    from manifests.signing import read_private_key
    from packager.config import default_key, signing_passphrase

    if unsigned:
        return None
    path = project.signing_key
    if not path.exists():
        if model is not None:
            console.warn(f"the bundle stays unsigned: no signing key at '{path}'", hint="pack keys generate makes one")
            return None
        command = "pack keys generate" if path == default_key() else f"pack keys generate {path}"
        raise SignatureError(
            "signature.no-key",
            f"no signing key at '{path}'",
            hint=f"{command} makes one; --unsigned builds without",
        )
    passphrase = signing_passphrase()
    try:
        return read_private_key(path, passphrase=passphrase)
    except UncheckableError as error:
        hint = error.hint if passphrase else "if it has a passphrase, put that into PACK_SIGNING_PASSPHRASE"
        raise SignatureError(error.code, str(error), hint=hint) from error


def _refuse_stray_options(context: typer.Context) -> None:
    """An option before the command would be lost without a word.

    Raises:
        ConfigError: there is one.
    """
    for parameter in context.command.params:
        given = parameter.name and context.params.get(parameter.name) not in (None, parameter.default, ())
        if given and context.params[parameter.name] != parameter.default:
            name = parameter.opts[0]
            raise ConfigError(
                "usage",
                f"{name} stands before '{context.invoked_subcommand}', where it has no effect",
                hint=f"if the command takes it: pack {context.invoked_subcommand} {name} ...",
            )
