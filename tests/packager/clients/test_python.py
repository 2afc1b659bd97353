from __future__ import annotations

import ast
import os
import subprocess
import sys
from typing import TYPE_CHECKING

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from packager.clients.languages._language import LanguageName, open_language
from tests.packager.clients.bundles import every_type, hostile_names
from tests.packager.clients.compiling import fails, passes

if TYPE_CHECKING:
    from pathlib import Path

    from tests.packager.clients.conftest import Project, Write

PYTHON = open_language(LanguageName.PYTHON)
TEST = (sys.executable, "-W", "error", "-m", "unittest", "-v", "test_golden")
STEPS = (
    f"{TEST[-1]}.GoldenTest.test_inputs_are_prepared_as_declared",
    f"{TEST[-1]}.GoldenTest.test_outputs_are_interpreted_as_declared",
)


@pytest.mark.parametrize("target", ["cloud", "edge-arm"])
def test_the_golden_test_passes_with_the_devices_runtime(project: Project, tmp_path: Path, target: str) -> None:
    folder = project.client("python", tmp_path / "client", target)
    said = passes(*TEST, at=folder)
    assert "skipped" not in said
    assert "Ran 3 tests" in said


def test_the_golden_test_passes_against_a_server(project: Project, served: str, tmp_path: Path) -> None:
    folder = project.client("python", tmp_path / "client", "cloud")
    (folder / "model" / "model.onnx").unlink()
    ran = subprocess.run(TEST, cwd=folder, env=os.environ | {"PACK_SERVE_URL": served}, check=False, timeout=60)
    assert ran.returncode == 0


def test_a_model_that_was_changed_is_not_opened(project: Project, tmp_path: Path) -> None:
    folder = project.client("python", tmp_path / "client")
    with (folder / "model" / "model.onnx").open("ab") as stream:
        stream.write(b"\0")
    assert "is not what was shipped" in fails(*TEST, at=folder)


def test_a_runtime_that_is_not_here_skips_the_model_alone(write: Write) -> None:
    said = passes(*TEST, at=write(every_type("coreml"), "python"))
    assert "OK (skipped=1)" in said


def test_an_application_gets_labels_by_name_and_is_told_what_does_not_fit(project: Project, tmp_path: Path) -> None:
    folder = project.client("python", tmp_path / "client")
    program = """
import numpy as np
from photo_client import ClientError, PhotoInputs, PhotoModel
model = PhotoModel.open("model")
outputs = model.predict(PhotoInputs(x=np.full((2, 8, 8, 3), 200, np.uint8)))
assert outputs.scores.shape == (2, 3)
assert abs(outputs.scores.sum(axis=1) - 1).max() < 1e-6
assert [len(row) for row in outputs.scores_classes] == [2, 2]
assert {found.label for row in outputs.scores_classes for found in row} <= {"cat", "dog", "bird"}
for wrong, reason in (
    (np.zeros((1, 8, 8, 3), np.float32), "expected uint8, got float32"),
    (np.zeros((1, 8, 8, 4), np.uint8), "axis 3: expected 3, got 4"),
    (np.zeros((8, 8, 3), np.uint8), "expected 4 axes"),
):
    try:
        model.predict(PhotoInputs(x=wrong))
    except ClientError as error:
        assert reason in str(error), error
    else:
        raise AssertionError(reason)
"""
    passes(sys.executable, "-c", program, at=folder)


def test_every_type_and_step_is_done_as_the_reference_does_it(write: Write) -> None:
    passes(*TEST[:-1], *STEPS, at=write(every_type(), "python"))


def test_names_of_any_kind_break_nothing(write: Write) -> None:
    passes(*TEST[:-1], *STEPS, at=write(hostile_names(), "python"))


@settings(deadline=None)
@given(st.text())
def test_a_literal_is_the_text(text: str) -> None:
    assert ast.literal_eval(PYTHON.literal(text)) == text


@settings(deadline=None)
@given(st.text())
def test_a_comment_ends_no_docstring(text: str) -> None:
    from packager.clients.naming import one_line

    module = ast.parse(f'"""{PYTHON.comment(one_line(text))}"""\n')
    assert ast.get_docstring(module, clean=False) == one_line(text)
