from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING

import onnxruntime

from tests.packager.clients.bundles import every_type, hostile_names
from tests.packager.clients.compiling import COMPUTED, INTERPRETED, PREPARED, fails, needs, passes
from tests.packager.clients.literals import cpp_program, hexadecimal, texts

if TYPE_CHECKING:
    from tests.packager.clients.conftest import Project, Write

pytestmark = needs("g++")
DECLARATIONS = Path(__file__).parent / "declarations"
COMPILER = ("g++", "-std=c++17", "-Wall", "-Wextra", "-Werror", f"-I{DECLARATIONS}")


def compiled(folder: Path, *more: str | Path) -> Path:
    program = folder / "golden_test"
    passes(*COMPILER, "-o", program, folder / "golden_test.cpp", *more, at=folder)
    return program


def test_the_golden_test_passes_against_a_server_and_by_onnxruntime_itself(
    project: Project, served: str, tmp_path: Path
) -> None:
    folder = project.client("cpp", tmp_path / "client")
    (library,) = (Path(onnxruntime.__file__).parent / "capi").glob("libonnxruntime.so.*")
    libraries = tmp_path / "libraries"
    libraries.mkdir()
    (libraries / "libonnxruntime.so.1").symlink_to(library)
    program = compiled(folder, "-DPACKTRAIN_LOCAL", library, f"-Wl,-rpath,{libraries}")
    for place in (("--url", served), ("--model", "model")):
        said = passes(program, *place, at=folder)
        assert all(claim in said for claim in (PREPARED, INTERPRETED, COMPUTED))
    assert "no answer from 127.0.0.1:9" in fails(program, "--url", "http://127.0.0.1:9", at=folder)
    assert "404" in fails(program, "--url", f"{served}/elsewhere", at=folder)
    with (folder / "model" / "model.onnx").open("ab") as stream:
        stream.write(b"\0")
    assert "'model.onnx' is not what was shipped" in fails(program, "--model", "model", at=folder)


def test_the_backend_of_tensorflow_lite_fits_its_declarations(project: Project, tmp_path: Path) -> None:
    folder = project.client("cpp", tmp_path / "client", "edge-arm")
    passes(*COMPILER, "-fsyntax-only", "-DPACKTRAIN_LOCAL", "golden_test.cpp", at=folder)


def test_every_type_and_step_is_done_as_the_reference_does_it(write: Write) -> None:
    folder = write(every_type(), "cpp")
    said = passes(compiled(folder), at=folder)
    assert all(claim in said for claim in (PREPARED, INTERPRETED))


def test_names_and_texts_of_any_kind_break_nothing(write: Write) -> None:
    folder = write(hostile_names(), "cpp")
    passes(compiled(folder), at=folder)
    known = texts()
    (folder / "literals.cpp").write_text(cpp_program(known))
    passes(*COMPILER, "-o", "literals", "literals.cpp", at=folder)
    assert passes(folder / "literals", at=folder).split() == hexadecimal(known)
