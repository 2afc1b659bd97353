"""What the evaluator computes is what Apple's tests expect of Core ML.

The packages were written by Apple's converter; the values come from torch, TensorFlow or the authors of Apple's tests.
The whole suite, of which these are the smallest cases of each operator, is `make oracle-coreml`.
"""

from __future__ import annotations

import zipfile
from pathlib import Path

import numpy as np
import pytest

from targets.coreml.evaluator import _registry, load_program
from tests.targets.coreml.oracle.choose import kernels

RECORDED = sorted((Path(__file__).parent / "recorded").glob("*.zip"))


@pytest.mark.parametrize("archive", RECORDED, ids=lambda path: path.stem)
def test_a_package_by_apple_evaluates_to_what_its_source_computes(archive: Path, tmp_path: Path) -> None:
    with zipfile.ZipFile(archive) as opened:
        opened.extractall(tmp_path)
    with np.load(tmp_path / "values.npz") as values:
        inputs = {name.partition(".")[2]: values[name] for name in values.files if name.startswith("input.")}
        expected = {name.partition(".")[2]: values[name] for name in values.files if name.startswith("expected.")}
    program = load_program(tmp_path / "model.mlpackage")
    given = {each.name: inputs[each.name].astype(each.dtype) for each in program.inputs}
    results = program.predict(given)
    assert expected.keys() <= results.keys()
    for name, value in expected.items():
        np.testing.assert_allclose(
            results[name].astype(np.float64), value.astype(np.float64), rtol=1e-4, atol=1e-4, err_msg=name
        )


def test_every_function_of_the_evaluator_is_held_against_apple(tmp_path: Path) -> None:
    covered: set[tuple[str, str]] = set()
    for archive in RECORDED:
        with zipfile.ZipFile(archive) as opened:
            opened.extractall(tmp_path / archive.stem)
        covered |= kernels(tmp_path / archive.stem / "model.mlpackage")
    known = {(name, each.since) for name, entries in _registry.operators().items() for each in entries}
    assert sorted(known - covered) == []
