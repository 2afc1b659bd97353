from __future__ import annotations

import shutil
from typing import TYPE_CHECKING

import pytest
import tree_sitter
import tree_sitter_swift
from hypothesis import given, settings
from hypothesis import strategies as st

from packager.clients.generation import write_texts
from packager.clients.languages._language import LanguageName, open_language
from tests.packager.clients.bundles import every_type, golden_of, hostile_names
from tests.packager.clients.compiling import passes
from tests.packager.clients.literals import swift_program, texts

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

    from tests.packager.clients.conftest import Project, Write

SWIFT = open_language(LanguageName.SWIFT)


def parse(source: str) -> tree_sitter.Node:
    parser = tree_sitter.Parser(tree_sitter.Language(tree_sitter_swift.language()))
    return parser.parse(source.encode()).root_node


def nodes(root: tree_sitter.Node) -> Iterator[tree_sitter.Node]:
    yield root
    for child in root.children:
        yield from nodes(child)


def problems(source: str) -> list[str]:
    """What the parser can't read."""
    return [
        f"{node.start_point}: {(node.text or b'')[:60]!r}"
        for node in nodes(parse(source))
        if node.is_error or node.is_missing
    ]


def all_problems(folder: Path) -> list[str]:
    return [problem for path in sorted(folder.rglob("*.swift")) for problem in problems(path.read_text())]


@pytest.mark.parametrize(
    ("before", "after"),
    [("{", ""), ("let ", "lett "), ('"\n', "\n"), ("func ", "fun "), (") throws ->", " throws ->"), ("case ", "cas ")],
)
def test_a_broken_file_is_caught(write: Write, before: str, after: str) -> None:
    source = next(write(every_type("coreml"), "swift").rglob("LocalBackend.swift")).read_text()
    assert problems(source) == []
    assert before in source
    assert problems(source.replace(before, after, 1)) != []


def test_a_client_of_every_type_parses(write: Write) -> None:
    folder = write(every_type("coreml"), "swift")
    assert len(list(folder.rglob("*.swift"))) == 6
    assert all_problems(folder) == []


def test_a_client_of_a_bundle_that_was_built_parses_and_knows_its_digests(project: Project, tmp_path: Path) -> None:
    folder = project.client("swift", tmp_path / "client")
    assert all_problems(folder) == []
    shipped = next(folder.rglob("model/model.onnx"))
    from manifests.digests import digest_file

    assert digest_file(shipped) in next(folder.rglob("PhotoModel.swift")).read_text()


def test_names_of_any_kind_break_nothing(write: Write) -> None:
    assert all_problems(write(hostile_names(), "swift")) == []


@settings(max_examples=10, deadline=None)
@given(st.lists(st.text(st.characters(codec="utf-8", exclude_characters="\0")), min_size=1, max_size=4, unique=True))
def test_no_name_opens_or_ends_what_it_stands_in(names: list[str]) -> None:
    bundle = hostile_names([name.replace("/", "_") for name in names][:1])
    for path, data in write_texts(bundle, SWIFT, golden_of(bundle), {}).files.items():
        if path.endswith("Model.swift"):
            assert problems(data.decode()) == []


def test_a_literal_interpolates_nothing_and_ends_where_it_should() -> None:
    known = texts()
    root = parse(swift_program(known))
    kinds = [node.type for node in nodes(root)]
    assert "ERROR" not in kinds
    assert "interpolated_expression" not in kinds
    assert kinds.count("line_string_literal") == len(known)
    assert kinds.count("property_declaration") == len(known)


def test_the_compiler_takes_what_needs_nothing_of_apple_where_there_is_one(write: Write) -> None:
    """No package of Debian has it, so that it may be missing even in CI."""
    compiler = shutil.which("swiftc")
    folder = write(every_type(), "swift")
    sources = sorted((folder / "Sources").rglob("*.swift"))
    assert len(sources) == 3
    if compiler:
        passes(compiler, "-typecheck", *sources, at=folder)
