"""Choose, among the cases that the plugin recorded, a few small ones for each operator, and keep them for CI.

    ORACLE_RECORD=/a/folder ... python -m pytest -p tests.targets.coreml.oracle.as_core_ml ...
    python -m tests.targets.coreml.oracle.choose /a/folder

Each becomes one file in ``recorded/``: the package that Apple's tools wrote, the inputs, and what torch, TensorFlow or
the author of Apple's test says that must come out.
"""

from __future__ import annotations

import sys
import zipfile
from collections import defaultdict
from pathlib import Path
from typing import TYPE_CHECKING

from targets.coreml.evaluator import load_program
from targets.coreml.evaluator._registry import entry

if TYPE_CHECKING:
    from collections.abc import Iterator

HERE = Path(__file__).parent / "recorded"
_EACH = 2
_INLINE = frozenset({"const", "cond", "while_loop", "read_state", "write_state"})
_EPOCH = (1980, 1, 1, 0, 0, 0)


def kernels(package: Path) -> frozenset[tuple[str, str]]:
    """The operators of a package's program, each with the operator set from which its function serves."""
    program = load_program(package)
    return frozenset(
        (each.operator, "ios15" if each.operator in _INLINE else entry(each.operator, program.opset).since)
        for each in program.operations()
    )


def _size(case: Path) -> int:
    return sum(path.stat().st_size for path in case.rglob("*") if path.is_file())


def _chosen(folder: Path) -> Iterator[Path]:
    cases = sorted((path.parent for path in folder.glob("*/*/values.npz")), key=lambda case: (_size(case), str(case)))
    taken: defaultdict[tuple[str, str], int] = defaultdict(int)
    for case in cases:
        found = kernels(case / "model.mlpackage")
        if any(taken[kernel] < _EACH for kernel in found):
            for kernel in found:
                taken[kernel] += 1
            yield case


def _store(case: Path, out: Path) -> None:
    with zipfile.ZipFile(out, "w", zipfile.ZIP_DEFLATED, compresslevel=9) as archive:
        for path in sorted(case.rglob("*")):
            if path.is_file():
                archive.writestr(zipfile.ZipInfo(str(path.relative_to(case)), _EPOCH), path.read_bytes())


if __name__ == "__main__":
    HERE.mkdir(exist_ok=True)
    for place in _chosen(Path(sys.argv[1])):
        _store(place, HERE / f"{place.parent.name}-{place.name}.zip")
