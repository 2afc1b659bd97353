"""The options that several commands take."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Annotated, TypeAlias

import typer

from packager.console import Output

if TYPE_CHECKING:
    from collections.abc import Sequence

    from packager.config import Project


def complete_target(incomplete: str) -> list[tuple[str, str]]:
    """The targets that start so, with what they are: for the shell."""
    from packager.availability import targets_available

    return [(entry.name, entry.summary) for entry in targets_available() if entry.name.startswith(incomplete)]


Folder: TypeAlias = Annotated[
    Path, typer.Option("--folder", "-C", metavar="DIR", show_default=False, help="Folder of pack.toml. Default: here.")
]
Form: TypeAlias = Annotated[
    Output,
    typer.Option("--output", "-o", metavar="text|json|tag", show_default=False, help="Form of the result on stdout."),
]
BundleName: TypeAlias = Annotated[
    str,
    typer.Argument(
        metavar="BUNDLE",
        show_default=False,
        help="A reference such as digits:3@edge-arm, or a digest; in another store: oci:PATH[:REFERENCE].",
    ),
]
Targets: TypeAlias = Annotated[
    list[str] | None,
    typer.Option(
        "--target",
        "-t",
        metavar="NAME",
        autocompletion=complete_target,
        help="Target to build for; repeatable. Default: all.",
    ),
]
Model: TypeAlias = Annotated[
    Path | None,
    typer.Option("--model", "-m", metavar="PATH", help="First look at a model, without pack.toml."),
]

Inputs: TypeAlias = Annotated[
    list[str] | None,
    typer.Option(
        "--input",
        "-i",
        metavar="NAME.FIELD=VALUE",
        help="With --model, a field of [model.inputs], such as sr.value=16000; repeatable.",
    ),
]


def open_project(
    folder: Path, model: Path | None, targets: Sequence[str], inputs: Sequence[str] | None = None
) -> Project:
    """The project in `folder`, or one made up for `model`.

    Raises:
        ConfigError: there is none, something in it is wrong, or it has not all of `targets`.
    """
    from packager.config import load_project, project_for_model
    from packager.errors import ConfigError
    from packager.registry import find_target
    from terminal.usage import suggest

    if model is not None:
        return project_for_model(model, targets, inputs=inputs or (), folder=folder)
    if inputs:
        raise ConfigError(
            "usage", "--input goes with --model alone", hint="write it into pack.toml, as a table [model.inputs.NAME]"
        )
    project = load_project(folder)
    for name in targets:
        if name not in project.targets:
            hint = suggest(name, project.targets)
            if not hint:
                find_target(name)
                hint = f"add a table [targets.{name}]"
            raise ConfigError(
                "config.targets",
                f"pack.toml has no target '{name}': expected one of {', '.join(project.targets)}",
                hint=hint,
            )
    return project
