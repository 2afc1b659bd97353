from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING
from urllib.parse import unquote, urlsplit

import pytest
from markdown_it import MarkdownIt

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable

    from markdown_it.token import Token

ROOT = Path(__file__).parents[2]
PAGES = [ROOT / "README.md", *sorted((ROOT / "docs").rglob("*.md"))]
LINKING = [
    *PAGES,
    *(ROOT / name for name in ("CHANGELOG.md", "CONTRIBUTING.md", "SECURITY.md", "manifests/SPEC.md")),
    *sorted((ROOT / "tests").rglob("README.md")),
]


def name(page: Path) -> str:
    return str(page.relative_to(ROOT))


@pytest.mark.parametrize("page", PAGES, ids=name)
def test_every_block_of_a_page_runs(page: Path, run_page: Callable[[Path], None]) -> None:
    run_page(page)


def links(tokens: Iterable[Token]) -> Iterable[str]:
    for token in tokens:
        if token.type == "link_open":
            yield str(token.attrs["href"])
        elif token.type == "image":
            yield str(token.attrs["src"])
        yield from links(token.children or ())


@pytest.mark.parametrize("page", LINKING, ids=name)
def test_every_relative_link_leads_to_a_file(page: Path) -> None:
    targets = [urlsplit(link) for link in links(MarkdownIt("commonmark").parse(page.read_text()))]
    broken = [
        target.path
        for target in targets
        if not target.scheme and target.path and not (page.parent / unquote(target.path)).exists()
    ]
    assert broken == []
