"""`pack plan`: what would be built, and what of it is in the cache."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING

from packager.commands.options import Folder, Form, Inputs, Model, Targets, open_project
from packager.console import Output, console
from packager.errors import ExitCode
from terminal.tables import table

if TYPE_CHECKING:
    from collections.abc import Sequence

    from packager.build import TargetPlan
    from packager.config import Project


def plan(
    *,
    target: Targets = None,
    model: Model = None,
    inputs: Inputs = None,
    folder: Folder = Path(),
    output: Form = Output.TEXT,
) -> int:
    """Say what would be built."""
    names = list(dict.fromkeys(target or ()))
    return show_plan(open_project(folder, model, names, inputs), names, output)


def show_plan(project: Project, names: Sequence[str], output: Output) -> int:
    """Print the plan; the exit code is returned."""
    from packager import build

    plans = build.plan(project, names)
    if output is Output.JSON:
        console.print_json({"targets": plans})
    elif output is Output.TAG:
        for entry in plans:
            console.print_line(entry.reference)
    else:
        _print_text(plans)
    return ExitCode.OK


def _print_text(plans: Sequence[TargetPlan]) -> None:
    rows = table("bundle", "to do", "in the cache")
    for entry in plans:
        todo = [step.step for step in entry.steps if not step.cached]
        done = [step.step for step in entry.steps if step.cached]
        rows.add_row(entry.reference, ", ".join(todo) or "nothing", ", ".join(done) or "nothing")
    console.print_result(rows)
