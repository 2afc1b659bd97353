"""`pack targets`: what can be built for, and whether this machine can."""

from __future__ import annotations

from typing import TYPE_CHECKING

from packager.commands.options import Form
from packager.console import Output, console
from packager.errors import ExitCode
from terminal.tables import pairs

if TYPE_CHECKING:
    from collections.abc import Iterable

    from packager.availability import Availability


def targets(*, output: Form = Output.TEXT) -> int:
    """List the targets and their toolchains.

    Says which toolchains are here, and how to get the others.
    """
    from packager.availability import targets_available

    found = targets_available()
    if output is Output.JSON:
        console.print_json({"targets": [_document(entry) for entry in found]})
    elif output is Output.TAG:
        for entry in found:
            console.print_line(entry.name)
    else:
        _print_text(found)
    return ExitCode.OK


def _document(entry: Availability) -> dict[str, object]:
    return {
        "name": entry.name,
        "summary": entry.summary,
        "available": entry.available,
        "distributions": entry.distributions,
        "executables": entry.executables,
        "extra": entry.extra,
        "hint": entry.hint,
    }


def _print_text(found: Iterable[Availability]) -> None:
    from rich.text import Text

    rows = pairs(())
    for entry in found:
        rows.add_row(Text(entry.name, style="bold not dim"), entry.summary)
        here = [f"{name} {version}" for name, version in entry.distributions.items() if version is not None]
        here += [name for name, present in entry.executables.items() if present]
        missing = [name for name, version in entry.distributions.items() if version is None]
        missing += [name for name, present in entry.executables.items() if not present]
        state = Text("ready", style="green") if entry.available else Text("not here", style="yellow")
        rows.add_row("", state.append(f": {', '.join(missing or here)}", style="default"))
        if entry.hint:
            rows.add_row("", f"to get it: {entry.hint}")
    console.print_result(rows)
