"""`pack init`: a project to start from."""

from __future__ import annotations

import re
from pathlib import Path
from typing import Annotated

import typer

from packager.commands.options import Form
from packager.console import Output, console
from packager.errors import ConfigError, ExitCode


def init(
    folder: Annotated[Path, typer.Argument(metavar="[FOLDER]", show_default=False, help="Default: here.")] = Path(),
    *,
    name: Annotated[
        str | None,
        typer.Option("--name", metavar="NAME", show_default=False, help="The model. Default: the folder's name."),
    ] = None,
    output: Form = Output.TEXT,
) -> int:
    """Start a project: pack.toml, training, CI.

    What it writes runs as it stands: python train.py && pack.
    """
    from packager.scaffold.project import write_project

    chosen = _model_name(folder.resolve().name) if name is None else name
    if chosen != _model_name(chosen):
        raise ConfigError(
            "init.name",
            f"'{chosen}' can't name a model: expected lower-case letters, digits and '._-'",
            hint=f"--name {_model_name(chosen)}",
        )
    written = write_project(folder, chosen)
    if output is Output.JSON:
        console.print_json({"name": chosen, "files": [str(path) for path in written]})
        return ExitCode.OK
    for path in written:
        console.print_line(str(path))
    if output is Output.TEXT:
        place = "" if folder.resolve() == Path.cwd() else f"cd {folder} && "
        console.say(f"next: {place}python train.py && pack")
    return ExitCode.OK


def _model_name(text: str) -> str:
    """The name that is nearest to `text` among those that a model may have."""
    return re.sub(r"[^a-z0-9._-]+", "-", text.lower()).strip("-._")[:64].rstrip("-._") or "my-model"
