"""`pack toolchain`: environments for frameworks that are not installed beside packtrain."""

from __future__ import annotations

from typing import TYPE_CHECKING, Annotated

import typer

from packager.commands.options import Form
from packager.console import Output, console
from packager.errors import ExitCode

if TYPE_CHECKING:
    from packager.toolchains.environments import Environment
    from packager.toolchains.locks import Lock


def complete_name(incomplete: str) -> list[str]:
    """The toolchains that start so: for the shell."""
    from packager.toolchains.locks import lock_names

    return [name for name in lock_names() if name.startswith(incomplete)]


Name = Annotated[
    str,
    typer.Argument(
        metavar="NAME", show_default=False, autocompletion=complete_name, help="Such as torch; pack toolchain list."
    ),
]
Names = Annotated[
    list[str],
    typer.Argument(
        metavar="NAME...", show_default=False, autocompletion=complete_name, help="Such as torch; pack toolchain list."
    ),
]


def make_app() -> typer.Typer:
    """The commands below ``pack toolchain``."""
    app = typer.Typer(
        help="Install, list or remove the environments of heavy frameworks.",
        rich_markup_mode=None,
        add_completion=False,
        suggest_commands=False,
        subcommand_metavar="COMMAND",
    )
    app.callback()(_toolchain)
    app.command("install")(install)
    app.command("list")(list_all)
    app.command("remove")(remove)
    return app


def _toolchain() -> None:
    """Install, list or remove the environments of heavy frameworks."""


def install(names: Names, *, output: Form = Output.TEXT) -> int:
    """Make a toolchain's environment, with pip and from locked versions.

    Nothing is done where it is there already. pip's own configuration (indexes, wheels, proxies) counts.
    """
    from packager.config import toolchains_folder
    from packager.toolchains.installation import install as install_toolchain
    from packager.toolchains.locks import open_lock

    locks = [open_lock(name) for name in names]
    installed = [install_toolchain(lock, toolchains_folder(), console.say) for lock in locks]
    if output is Output.JSON:
        documents = [_document(lock, entry) for lock, entry in zip(locks, installed, strict=True)]
        console.print_json({"toolchains": documents})
    else:
        for entry in installed:
            console.print_line(str(entry.folder) if output is Output.TEXT else entry.name)
    return ExitCode.OK


def list_all(*, output: Form = Output.TEXT) -> int:
    """List the toolchains, and whether their environments are here."""
    from packager.config import toolchains_folder
    from packager.toolchains.environments import list_environments
    from packager.toolchains.locks import lock_names, open_lock

    locks = [open_lock(name) for name in lock_names()]
    found = list_environments(toolchains_folder())
    current = {(entry.name, entry.lock): entry for entry in found}
    rows = [(lock, current.pop((lock.name, lock.digest), None)) for lock in locks]
    outdated = list(current.values())
    if output is Output.JSON:
        documents = [_document(lock, entry) for lock, entry in rows]
        console.print_json({"toolchains": documents, "outdated": [str(entry.folder) for entry in outdated]})
    elif output is Output.TAG:
        for lock, entry in rows:
            if entry is not None:
                console.print_line(lock.name)
    else:
        _print_text(rows, outdated)
    return ExitCode.OK


def remove(name: Name, *, output: Form = Output.TEXT) -> int:
    """Remove a toolchain's environments, those of older locks too."""
    from packager.config import toolchains_folder
    from packager.toolchains.environments import remove_environments

    removed = [str(folder) for folder in remove_environments(name, toolchains_folder())]
    if output is Output.JSON:
        console.print_json({"removed": removed})
    else:
        for folder in removed:
            console.print_line(folder)
        if not removed:
            console.say(f"nothing of '{name}' is installed")
    return ExitCode.OK


def _document(lock: Lock, environment: Environment | None) -> dict[str, object]:
    return {
        "name": lock.name,
        "summary": lock.summary,
        "lock": lock.digest,
        "folder": str(environment.folder) if environment else None,
        "python": environment.python if environment else None,
        "distributions": environment.distributions if environment else {},
    }


def _print_text(rows: list[tuple[Lock, Environment | None]], outdated: list[Environment]) -> None:
    from rich.text import Text

    from terminal.tables import pairs

    table = pairs(())
    for lock, environment in rows:
        table.add_row(Text(lock.name, style="bold not dim"), lock.summary)
        if environment is None:
            table.add_row("", f"not here; to get it: pack toolchain install {lock.name}")
        else:
            table.add_row("", str(environment.folder))
    for environment in outdated:
        table.add_row(environment.name, f"of another version of packtrain: {environment.folder}")
    console.print_result(table)
