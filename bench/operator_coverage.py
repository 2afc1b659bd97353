"""How many of ONNX's operator cases a target passes, and every one that it does not, with the reason."""

from __future__ import annotations

import re
import tempfile
import time
from collections import Counter
from pathlib import Path
from typing import TYPE_CHECKING, NamedTuple

from bench.measure import write_results
from tests.targets.operator_cases import operator_cases

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence

    from tests.targets.operator_cases import Case

MODES = ("frozen", "live")


class Measured(NamedTuple):
    """What is measured, and where it is written."""

    results: str
    page: Path
    rendered: Callable[[dict[str, dict[str, int]], dict[str, dict[str, dict[str, str]]]], str]
    verdict: Callable[[Case, Path], Sequence[object]]
    """Begins with a word and a reason: ``passed``, ``refused`` or ``wrong``."""
    distributions: list[str]


def cover(measured: Measured, pattern: str) -> int:
    """Print, and without a pattern write results and page; the exit code is 1 if a case is wrong without saying so."""
    missed: dict[str, dict[str, dict[str, str]]] = {mode: {} for mode in MODES}
    counts: Counter[tuple[str, str]] = Counter()
    slow: list[tuple[float, str]] = []
    with tempfile.TemporaryDirectory() as folder:
        for case in operator_cases():
            if not re.search(pattern, case.name):
                continue
            before = time.process_time()
            kind, reason = (str(part) for part in measured.verdict(case, Path(folder))[:2])
            slow.append((time.process_time() - before, f"{case.name} ({case.mode})"))
            counts[case.mode, kind] += 1
            if kind != "passed":
                missed[case.mode][case.name] = {"verdict": kind, "reason": reason}
    figures = {mode: _figures(counts, mode) for mode in MODES}
    _show(figures, missed, max(slow, default=(0.0, "")), sum(seconds for seconds, _ in slow))
    if not pattern:
        measured.page.write_text(measured.rendered(figures, missed))
        write_results(measured.results, {"counts": figures, "missed": missed}, measured.distributions)
    return int(any(figure["wrong"] for figure in figures.values()))


def _figures(counts: Counter[tuple[str, str]], mode: str) -> dict[str, int]:
    kinds = {kind: counts[mode, kind] for kind in ("passed", "refused", "wrong")}
    return {**kinds, "total": sum(kinds.values())}


def _show(
    figures: dict[str, dict[str, int]],
    missed: dict[str, dict[str, dict[str, str]]],
    slowest: tuple[float, str],
    seconds: float,
) -> None:
    for mode, cases in missed.items():
        for name, entry in sorted(cases.items()):
            print(f"{mode:6} {entry['verdict']:7} {name}: {entry['reason']}")
    for mode, figure in figures.items():
        print(f"{mode}: {figure['passed']}/{figure['total']} passed, {figure['wrong']} wrong")
    print(f"{seconds:.1f} CPU seconds; the slowest: {slowest[1]} with {slowest[0]:.2f}")
