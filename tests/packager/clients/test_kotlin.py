from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING

import pytest

from tests.packager.clients.bundles import every_type, hostile_names
from tests.packager.clients.compiling import COMPUTED, INTERPRETED, PREPARED, needs, passes
from tests.packager.clients.literals import hexadecimal, kotlin_program, texts

if TYPE_CHECKING:
    from tests.packager.clients.conftest import Project, Write

DECLARATIONS = Path(__file__).parent / "declarations"


@needs("kotlinc", "java")
@pytest.mark.slow
@pytest.mark.timeout(900)
def test_clients_of_any_types_and_names_compile_and_pass(
    project: Project, served: str, write: Write, tmp_path: Path
) -> None:
    """One test for all: the compiler takes ten seconds to start."""
    folders = {
        "photoclient": project.client("kotlin", tmp_path / "client"),
        "anything2client": write(every_type("litert"), "kotlin"),
        "hostileclient": write(hostile_names(), "kotlin"),
    }
    known = texts()
    (tmp_path / "Literals.kt").write_text(kotlin_program(known))
    sources = [path for folder in folders.values() for path in sorted(folder.glob("*.kt"))]
    program = tmp_path / "clients.jar"
    said = passes(
        "kotlinc", "-include-runtime", "-d", program, *sources, tmp_path / "Literals.kt", DECLARATIONS / "Tflite.kt",
        at=tmp_path,
    )  # fmt: skip
    assert [line for line in said.splitlines() if ": warning: " in line and "Tflite.kt" not in line] == []

    def run(package: str, *options: str | Path) -> str:
        return passes("java", "-cp", program, f"{package}.GoldenTestKt", *options, at=folders[package])

    assert all(claim in run("photoclient", "--url", served) for claim in (PREPARED, INTERPRETED, COMPUTED))
    assert all(claim in run("anything2client") for claim in (PREPARED, INTERPRETED))
    assert PREPARED in run("hostileclient")
    assert passes("java", "-cp", program, "literals.LiteralsKt", at=tmp_path).split() == hexadecimal(known)
