"""What the evaluator computes is what Apple's tests expect of Core ML.

The packages were written by Apple's converter; the values come from torch, TensorFlow or the authors of Apple's tests.
The whole suite, of which these are the smallest cases of each operator, is `make oracle-coreml`.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

import pytest

from targets.coreml._coremltools import part
from targets.coreml.evaluator import _registry
from tests.targets.coreml.oracle.choose import INLINE, compare
from tests.targets.coreml.oracle.held import RECORDED, held, unpacked

if TYPE_CHECKING:
    from pathlib import Path

TENSORFLOW = 60
"""Cases that TensorFlow's frontend of coremltools wrote: one of each of Apple's test classes."""


@pytest.mark.parametrize("archive", RECORDED, ids=lambda path: f"{path.parent.name}/{path.stem}")
def test_a_package_by_apple_evaluates_to_what_its_source_computes(archive: Path, tmp_path: Path) -> None:
    compare(unpacked(archive, tmp_path))


def test_sixty_kinds_of_cases_come_from_tensorflow() -> None:
    assert sum(path.parent.name == "tensorflow" for path in RECORDED) >= TENSORFLOW


def test_every_function_of_the_evaluator_is_held_against_apple_or_its_documentation(tmp_path: Path) -> None:
    known = {(name, each.since) for name, entries in _registry.operators().items() for each in entries}
    assert sorted(known - held(tmp_path)) == []


def test_every_operator_that_coremltools_can_write_is_known() -> None:
    names = set(part("converters.mil.mil.ops.registry").SSAOpRegistry.core_ops)
    evaluated = {*_registry.operators(), *INLINE}
    assert sorted(names - evaluated - {"_const_symbolic"}) == []
