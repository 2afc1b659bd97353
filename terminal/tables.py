"""The parts that a result for people is made of; rich is imported where one is made."""

from __future__ import annotations

from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Iterable, Sequence

    from rich.console import RenderableType
    from rich.table import Table


def table(*headings: str, right: Sequence[str] = ()) -> Table:
    """An empty table without lines; the columns named in `right` hold numbers."""
    from rich.table import Table

    made = Table(box=None, pad_edge=False, padding=(0, 2, 0, 0), header_style="dim")
    for heading in headings:
        made.add_column(heading, justify="right" if heading in right else "left", overflow="fold")
    return made


def pairs(rows: Iterable[tuple[str, RenderableType]]) -> Table:
    """A table of names and values without a heading; rows whose value is empty are left out."""
    from rich.table import Table

    made = Table(box=None, pad_edge=False, padding=(0, 2, 0, 0), show_header=False)
    made.add_column(style="dim", no_wrap=True)
    made.add_column(overflow="fold")
    for name, value in rows:
        if value != "":
            made.add_row(name, value)
    return made


def indented(part: RenderableType) -> RenderableType:
    """`part`, moved to the right below its heading."""
    from rich.padding import Padding

    return Padding(part, (0, 0, 0, 2))
