"""The page about the life of an update shows the table that the agent runs by."""

from __future__ import annotations

import re
from pathlib import Path

from agent.lifecycle import RESTARTS, TABLE

PAGE = Path(__file__).parents[2] / "docs" / "concepts" / "life-of-an-update.md"


def render() -> str:
    rows = ["| state | event | next state | actions | because |", "|---|---|---|---|---|"]
    for (state, event), row in TABLE.items():
        actions = ", ".join(row.actions) or "none"
        rows.append(f"| {state} | {event} | {row.state} | {actions} | {row.why} |")
    return "\n".join(rows) + "\n"


def test_the_page_shows_the_table_of_the_code() -> None:
    found = re.search(r"<!-- table -->\n(.*)<!-- end of table -->", PAGE.read_text(), re.DOTALL)
    assert found is not None
    assert found.group(1) == render()


def test_the_page_says_how_often_a_state_is_taken_up_again() -> None:
    assert f"more than {RESTARTS} times" in PAGE.read_text()
