"""`pack explain`: every node that a target can't take, before anything is converted."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from packager.commands.options import Folder, Form, Inputs, Targets, open_project
from packager.console import Output, console
from packager.errors import ExitCode
from terminal.tables import indented, pairs

if TYPE_CHECKING:
    from collections.abc import Sequence

    from packager.config import Project
    from packager.jobs.explanation import Explained, Obstacle


def explain(
    model: Annotated[
        Path | None,
        typer.Argument(metavar="[MODEL]", show_default=False, help="A model's file or folder. Default: pack.toml's."),
    ] = None,
    *,
    target: Targets = None,
    inputs: Inputs = None,
    sarif: Annotated[
        Path | None,
        typer.Option("--sarif", metavar="FILE", show_default=False, help="Write the findings there too, as SARIF."),
    ] = None,
    folder: Folder = Path(),
    output: Form = Output.TEXT,
) -> int:
    """Say what stands between a model and targets.

    Every node that a target can't take is named, with the reason and what would help. Exits 3 when there is one.
    """
    from packager.explaining import explain as ask

    names = list(dict.fromkeys(target or ()))
    if model is not None and not names:
        from packager.registry import registrations

        names = list(registrations())
    project = open_project(folder, model, names, inputs)
    explained = ask(project, names)
    if sarif is not None:
        _write_sarif(sarif, explained, project)
    if output is Output.JSON:
        console.print_json({"model": project.model.source, "targets": explained})
    elif output is Output.TAG:
        for entry in explained:
            if not entry.obstacles:
                console.print_line(entry.target)
    else:
        _print_text(explained)
    return ExitCode.CONVERSION if any(entry.obstacles for entry in explained) else ExitCode.OK


def _write_sarif(path: Path, explained: Sequence[Explained], project: Project) -> None:
    from importlib.metadata import version

    import msgspec

    from packager.errors import ConfigError
    from packager.sarif import sarif_log

    log = sarif_log(explained, model=_uri(project), version=version("packtrain"))
    try:
        path.write_bytes(msgspec.json.format(msgspec.json.encode(log), indent=2) + b"\n")
    except OSError as error:
        raise ConfigError("usage", f"'{path}' can't be written: {str(error.strerror).lower()}") from error


def _uri(project: Project) -> str:
    """Where the model is, relative to the project where it stands inside: what code scanning asks for."""
    from urllib.parse import quote

    source = project.model.source
    if ":" in source:
        return source
    path = project.path(source).resolve()
    return quote(path.relative_to(project.folder).as_posix()) if path.is_relative_to(project.folder) else path.as_uri()


def _print_text(explained: Sequence[Explained]) -> None:
    from rich.text import Text

    for entry in explained:
        nodes = "1 node" if entry.nodes == 1 else f"{entry.nodes} nodes"
        blocked = [obstacle for obstacle in entry.obstacles if obstacle.node]
        if not entry.obstacles:
            console.print_result(Text.assemble((entry.target, "bold"), f": takes all of {nodes}"))
            continue
        what = f"{len(blocked)} of {nodes} can't be taken" if blocked else "can't take this model"
        console.print_result(Text.assemble((entry.target, "bold"), ": ", (what, "red")))
        console.print_result(indented(pairs(_rows(entry.obstacles))))


def _rows(obstacles: Sequence[Obstacle]) -> list[tuple[str, str]]:
    """One row a node; a hint that several nodes share is told once, after the last of them."""
    rows = []
    for index, obstacle in enumerate(obstacles):
        name = f"{obstacle.node} ({obstacle.operator})" if obstacle.node else obstacle.code
        rows.append((name, obstacle.reason))
        following = obstacles[index + 1].hint if index + 1 < len(obstacles) else ""
        if obstacle.hint and obstacle.hint != following:
            rows.append(("hint", obstacle.hint))
    return rows
