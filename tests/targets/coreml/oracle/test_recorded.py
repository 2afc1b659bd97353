"""What the evaluator computes is what Apple's tests expect of Core ML.

The packages were written by Apple's converter; the values come from torch, TensorFlow or the authors of Apple's tests.
The whole suite, of which these are the smallest cases of each operator, is `make oracle-coreml`.
"""

from __future__ import annotations

import zipfile
from pathlib import Path

import pytest

from targets.coreml._coremltools import part
from targets.coreml.evaluator import _registry
from tests.targets.coreml.evaluator.test_formulas import CITED
from tests.targets.coreml.oracle.choose import INLINE, compare, kernels

RECORDED = sorted((Path(__file__).parent / "recorded").glob("*.zip"))


@pytest.mark.parametrize("archive", RECORDED, ids=lambda path: path.stem)
def test_a_package_by_apple_evaluates_to_what_its_source_computes(archive: Path, tmp_path: Path) -> None:
    with zipfile.ZipFile(archive) as opened:
        opened.extractall(tmp_path)
    compare(tmp_path)


def test_every_function_of_the_evaluator_is_held_against_apple_or_its_documentation(tmp_path: Path) -> None:
    covered: set[tuple[str, str]] = set()
    for archive in RECORDED:
        with zipfile.ZipFile(archive) as opened:
            opened.extractall(tmp_path / archive.stem)
        covered |= kernels(tmp_path / archive.stem / "model.mlpackage")
    known = {(name, each.since) for name, entries in _registry.operators().items() for each in entries}
    assert sorted(known - covered - CITED) == []


def test_every_operator_that_coremltools_can_write_is_known() -> None:
    names = set(part("converters.mil.mil.ops.registry").SSAOpRegistry.core_ops)
    evaluated = {*_registry.operators(), *INLINE}
    assert sorted(names - evaluated - {"_const_symbolic"}) == []
