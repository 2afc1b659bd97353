from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING

import pytest

from tests.packager.clients.bundles import every_type, hostile_names
from tests.packager.clients.compiling import COMPUTED, INTERPRETED, PREPARED, fails, needs, passes
from tests.packager.clients.literals import csharp_program, hexadecimal, texts

if TYPE_CHECKING:
    from tests.packager.clients.conftest import Project, Write

pytestmark = needs("mcs", "mono")
DECLARATIONS = Path(__file__).parent / "declarations"


def compiled(folder: Path, *more: str | Path) -> tuple[str, Path]:
    """The command that runs the golden test; without `more` the backend for this process is left out.

    Comments are read too: those that are no XML are errors. That not every method has one (1591) is none.
    """
    sources = [path for path in sorted(folder.glob("*.cs")) if more or path.name != "LocalBackend.cs"]
    program = folder / "golden_test.exe"
    comments = ("-doc:comments.xml", "-nowarn:1591")
    passes("mcs", "-warnaserror", *comments, f"-out:{program}", *sources, *more, at=folder)
    return "mono", program


def test_the_golden_test_passes_against_a_server(project: Project, served: str, tmp_path: Path) -> None:
    folder = project.client("csharp", tmp_path / "client")
    said = passes(*compiled(folder), "--url", served, at=folder)
    assert all(claim in said for claim in (PREPARED, INTERPRETED, COMPUTED))


def test_a_server_that_is_not_there_is_said(project: Project, tmp_path: Path) -> None:
    folder = project.client("csharp", tmp_path / "client")
    assert "no answer from http://127.0.0.1:9/" in fails(*compiled(folder), "--url", "http://127.0.0.1:9", at=folder)


@pytest.mark.parametrize(("kind", "library"), [("onnxruntime", "OnnxRuntime.cs"), ("winml", "WindowsML.cs")])
def test_the_backend_fits_the_librarys_declarations(write: Write, kind: str, library: str) -> None:
    folder = write(every_type(kind), "csharp")
    compiled(folder, "-define:PACKTRAIN_LOCAL", DECLARATIONS / library)


def test_every_type_and_step_is_done_as_the_reference_does_it(write: Write) -> None:
    folder = write(every_type(), "csharp")
    said = passes(*compiled(folder), at=folder)
    assert all(claim in said for claim in (PREPARED, INTERPRETED))


def test_a_golden_vector_that_was_changed_is_told(project: Project, tmp_path: Path) -> None:
    folder = project.client("csharp", tmp_path / "client")
    vectors = bytearray((folder / "golden.bin").read_bytes())
    vectors[0] ^= 0x40
    (folder / "golden.bin").write_bytes(vectors)
    assert "not as expected: 1 elements of 'x'" in fails(*compiled(folder), at=folder)


def test_names_of_any_kind_break_nothing(write: Write) -> None:
    folder = write(hostile_names(), "csharp")
    passes(*compiled(folder), at=folder)


def test_a_literal_is_the_text(tmp_path: Path) -> None:
    known = texts()
    (tmp_path / "Literals.cs").write_text(csharp_program(known))
    passes("mcs", "-out:literals.exe", "Literals.cs", at=tmp_path)
    assert passes("mono", "literals.exe", at=tmp_path).split() == hexadecimal(known)
