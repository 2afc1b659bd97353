"""Choose, among the cases that the plugin recorded, a few small ones, and keep them for CI.

    ORACLE_RECORD=/a/folder ... python -m pytest -p tests.targets.coreml.oracle.as_core_ml ...
    python -m tests.targets.coreml.oracle.choose operators /a/folder /another
    python -m tests.targets.coreml.oracle.choose tensorflow /a/third

``operators`` keeps the smallest case that adds an operator of MIL; ``tensorflow`` the smallest of each of Apple's test
classes. Each becomes one file in ``recorded/``, or in a folder of it: the package that Apple's tools wrote, the inputs,
and what torch, TensorFlow or the author of Apple's test says that must come out.
"""

from __future__ import annotations

import sys
import zipfile
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np

from targets.coreml.evaluator import load_program
from targets.coreml.evaluator._registry import entry

if TYPE_CHECKING:
    from collections.abc import Iterator

    from targets.coreml.evaluator import Program

HERE = Path(__file__).parent / "recorded"
INLINE = frozenset({"const", "cond", "while_loop", "read_state", "write_state"})
_EPOCH = (1980, 1, 1, 0, 0, 0)


def kernels(program: Program) -> frozenset[tuple[str, str]]:
    """The operators of a program, each with the operator set from which its function serves."""
    return frozenset(
        (each.operator, "ios15" if each.operator in INLINE else entry(each.operator, program.opset).since)
        for each in program.operations()
    )


def compare(case: Path) -> None:
    """Hold what the evaluator computes for a case against what its source says.

    Raises:
        AssertionError: an output is missing, or another one.
    """
    with np.load(case / "values.npz") as values:
        inputs = {name.partition(".")[2]: values[name] for name in values.files if name.startswith("input.")}
        expected = {name.partition(".")[2]: values[name] for name in values.files if name.startswith("expected.")}
    program = load_program(case / "model.mlpackage")
    results = program.predict({each.name: inputs[each.name].astype(each.dtype) for each in program.inputs})
    assert expected.keys() <= results.keys(), f"no outputs {sorted(expected.keys() - results.keys())}"
    for name, value in expected.items():
        np.testing.assert_allclose(
            results[name].astype(np.float64), value.astype(np.float64), rtol=1e-4, atol=1e-4, err_msg=name
        )


def _is_right(case: Path) -> bool:
    """Whether it agrees within our tolerance: Apple's may be wider."""
    try:
        compare(case)
    except AssertionError:
        return False
    return True


def _size(case: Path) -> int:
    return sum(path.stat().st_size for path in case.rglob("*") if path.is_file())


def _by_operator(folders: list[Path]) -> Iterator[Path]:
    """The smallest case that adds an operator, those of the first folder before those of the next."""
    covered: set[tuple[str, str]] = set()
    for folder in folders:
        for case in _smallest_first(folder):
            found = kernels(load_program(case / "model.mlpackage"))
            if not found <= covered and _is_right(case):
                covered |= found
                yield case


def _by_class(folders: list[Path]) -> Iterator[Path]:
    """The smallest case of each test class that is within our tolerance."""
    seen: set[str] = set()
    for folder in folders:
        for case in _smallest_first(folder):
            name = case.parent.name.rpartition("-")[0]
            if name not in seen and _is_right(case):
                seen.add(name)
                yield case


def _smallest_first(folder: Path) -> list[Path]:
    cases = (path.parent for path in folder.glob("*/*/values.npz"))
    return sorted(cases, key=lambda case: (_size(case), str(case)))


def _store(case: Path, out: Path) -> None:
    with zipfile.ZipFile(out, "w", zipfile.ZIP_DEFLATED, compresslevel=9) as archive:
        for path in sorted(case.rglob("*")):
            if path.is_file():
                archive.writestr(zipfile.ZipInfo(str(path.relative_to(case)), _EPOCH), path.read_bytes())


if __name__ == "__main__":
    kind, *given = sys.argv[1:]
    where, choose = {"operators": (HERE, _by_operator), "tensorflow": (HERE / "tensorflow", _by_class)}[kind]
    where.mkdir(exist_ok=True)
    for old in where.glob("*.zip"):
        old.unlink()
    for place in choose([Path(each) for each in given]):
        _store(place, where / f"{place.parent.name}-{place.name}.zip")
