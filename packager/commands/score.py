"""`pack score`: a file of any size, scored by a bundle."""

from __future__ import annotations

import contextlib
import os
import sys
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from packager.commands.options import BundleName, Folder
from packager.console import Output, console, is_redrawn
from packager.errors import ExitCode

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

    from packager.scoring.running import Summary


def score(  # noqa: PLR0913 - each is an option of the command
    bundle: BundleName,
    *,
    source: Annotated[
        Path, typer.Option("--input", metavar="FILE", help="csv, npy, npz, parquet, arrow, or a folder of parquet.")
    ],
    target: Annotated[Path, typer.Option("--output", metavar="FILE", help="parquet, csv, arrow or npz.")],
    key: Annotated[list[Path], typer.Option("--key", metavar="KEY.pub", help="A public key to trust; repeatable.")],
    folder: Folder = Path(),
    column: Annotated[
        list[str] | None,
        typer.Option(
            "--column", metavar="NAME", show_default=False, help="A feature's column, in the model's order; repeatable."
        ),
    ] = None,
    keep: Annotated[
        list[str] | None,
        typer.Option("--keep", metavar="NAME", show_default=False, help="A column to copy to the output; repeatable."),
    ] = None,
    rows: Annotated[int, typer.Option(min=1, help="Rows of a part: what an interruption costs.")] = 65536,
    workers: Annotated[
        int | None, typer.Option(min=1, show_default=False, help="Processes. Default: one a core.")
    ] = None,
    cluster: Annotated[str, typer.Option(metavar="ADDRESS", show_default=False, help="dask://HOST:PORT.")] = "",
    form: Annotated[
        Output,
        typer.Option("--form", metavar="text|json|tag", show_default=False, help="Form of the result on stdout."),
    ] = Output.TEXT,
) -> int:
    """Score every row of a file, after checking the bundle's signature.

    An interrupted run goes on where it stopped. Rows that can't be scored are listed in FILE.errors.jsonl.
    """
    from manifests.signing import read_public_key
    from packager.config import STORE
    from packager.opening import open_bundle
    from packager.scoring.running import Order
    from packager.scoring.running import score as run

    order = Order(
        source=source,
        output=target,
        columns=tuple(column or ()),
        keep=tuple(keep or ()),
        rows=rows,
        workers=workers or len(os.sched_getaffinity(0)),
        cluster=cluster,
    )
    opened = open_bundle(bundle, folder / STORE, [read_public_key(path) for path in key], workers=1)
    try:
        with _progress() as told:
            summary = run(order, opened, told)
    finally:
        opened.close()
    _print(summary, target, form)
    return ExitCode.OK


@contextlib.contextmanager
def _progress() -> Iterator[Callable[[int, int | None], None]]:
    """Where stderr is a terminal, a line that is redrawn."""
    if not is_redrawn(sys.stderr):
        yield lambda _rows, _total: None
        return
    from rich.progress import BarColumn, MofNCompleteColumn, Progress, TimeRemainingColumn

    with Progress(
        BarColumn(),
        MofNCompleteColumn(),
        TimeRemainingColumn(),
        console=console.open_console(sys.stderr),
        transient=True,
    ) as display:
        task = display.add_task("", total=None)
        yield lambda rows, total: display.update(task, completed=rows, total=total)


def _print(summary: Summary, target: Path, form: Output) -> None:
    if form is Output.JSON:
        document = {"output": str(target), "rows": summary.rows, "failed": summary.failed, "resumed": summary.resumed}
        console.print_json(document)
        return
    if form is Output.TAG:
        console.print_line(str(target))
        return
    console.print_line(f"{target}: {summary.rows} rows")
    if summary.resumed:
        console.say(f"{summary.resumed} rows were there from an earlier run")
    if summary.failed:
        console.warn(f"{summary.failed} rows could not be scored", hint=f"see {target.name}.errors.jsonl")
