"""Which operators of MIL are held against Apple: by a recorded case, or by a formula of its documentation."""

from __future__ import annotations

import zipfile
from pathlib import Path

from targets.coreml.evaluator import load_program
from tests.targets.coreml.evaluator.test_formulas import CITED
from tests.targets.coreml.oracle.choose import kernels

RECORDED = sorted((Path(__file__).parent / "recorded").rglob("*.zip"))


def unpacked(archive: Path, folder: Path) -> Path:
    """A recorded case, unpacked below `folder`."""
    place = folder / archive.parent.name / archive.stem
    with zipfile.ZipFile(archive) as opened:
        opened.extractall(place)
    return place


def held(folder: Path) -> frozenset[tuple[str, str]]:
    """Each operator that is held against Apple, with the operator set from which its function serves.

    The recorded cases are unpacked below `folder`.
    """
    found = set(CITED)
    for archive in RECORDED:
        found |= kernels(load_program(unpacked(archive, folder) / "model.mlpackage"))
    return frozenset(found)
