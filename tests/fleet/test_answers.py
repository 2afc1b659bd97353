from __future__ import annotations

from typing import TYPE_CHECKING, Literal

import pytest
from hypothesis import given
from hypothesis import strategies as st

from fleet.answers import answer, chunk_path
from manifests.digests import digest_bytes
from wire.chunks import PART_BYTES, Answer
from wire.messages import PARTS_LIMIT, Get

if TYPE_CHECKING:
    from pathlib import Path

Kind = Literal["metadata", "target", "chunk"]
KINDS: tuple[Kind, ...] = ("metadata", "target", "chunk")


@pytest.fixture
def repository(tmp_path: Path) -> Path:
    folder = tmp_path / "repository"
    for place in ("metadata", "targets/releases/digits/3", "chunks/ab"):
        (folder / place).mkdir(parents=True)
    (tmp_path / "secret.json").write_text("secret")
    (folder / "metadata" / "secret.json").write_text("secret")
    return folder


def ask(repository: Path, kind: Kind, name: str) -> tuple[str, bytes | None]:
    got, content, status = Answer("1"), None, ""
    for data in answer(repository, Get(id="1", kind=kind, name=name)):
        status = data.status
        content = got.add(data) if status == "ok" else None
    return status, content


def test_each_kind_is_answered_from_its_place(repository: Path) -> None:
    chunk = b"x" * 70_000
    digest = digest_bytes(chunk)
    path = chunk_path(repository / "chunks", digest)
    path.parent.mkdir(exist_ok=True)
    path.write_bytes(chunk)
    prefix = "0" * 64
    (repository / "metadata" / "2.root.json").write_bytes(b"root")
    (repository / "metadata" / "timestamp.json").write_bytes(b"timestamp")
    (repository / "targets" / "releases" / "digits" / "3" / f"{prefix}.edge-arm.json").write_bytes(b"release")
    assert ask(repository, "metadata", "2.root.json") == ("ok", b"root")
    assert ask(repository, "metadata", "timestamp.json") == ("ok", b"timestamp")
    assert ask(repository, "target", f"releases/digits/3/{prefix}.edge-arm.json") == ("ok", b"release")
    assert ask(repository, "chunk", digest) == ("ok", chunk)


def test_a_large_file_comes_in_parts(repository: Path) -> None:
    content = bytes(range(256)) * (PART_BYTES // 128)
    (repository / "metadata" / "1.targets.json").write_bytes(content)
    assert ask(repository, "metadata", "1.targets.json") == ("ok", content)


def test_a_file_larger_than_an_answer_is_refused(repository: Path) -> None:
    (repository / "metadata" / "1.targets.json").write_bytes(bytes(PART_BYTES * PARTS_LIMIT + 1))
    assert ask(repository, "metadata", "1.targets.json") == ("refused", None)


def test_what_is_not_there_is_missing(repository: Path) -> None:
    assert ask(repository, "metadata", "9.root.json") == ("missing", None)
    assert ask(repository, "chunk", "sha256:" + "0" * 64) == ("missing", None)


@pytest.mark.parametrize(
    ("kind", "name"),
    [
        ("metadata", "../secret.json"),
        ("metadata", "secret.json"),
        ("metadata", "/etc/passwd"),
        ("metadata", "1.root.json\n"),
        ("metadata", "01.root.json"),
        ("target", "../../secret.json"),
        ("target", f"../{'0' * 64}.secret.json"),
        ("target", f"releases/../../{'0' * 64}.x.json"),
        ("target", f"releases//{'0' * 64}.x.json"),
        ("target", "releases/digits/3/edge-arm.json"),
        ("chunk", "sha256:../../secret.json"),
        ("chunk", "sha256:" + "A" * 64),
        ("chunk", "0" * 64),
    ],
)
def test_a_name_that_no_file_may_have_is_refused(repository: Path, kind: Kind, name: str) -> None:
    assert ask(repository, kind, name) == ("refused", None)


@given(st.sampled_from(KINDS), st.text(max_size=100) | st.text("./ab0:", max_size=100))
def test_no_name_leads_out_of_the_repository(tmp_path_factory: pytest.TempPathFactory, kind: Kind, name: str) -> None:
    folder = tmp_path_factory.getbasetemp() / "empty"
    assert ask(folder, kind, name)[0] in {"refused", "missing"}
