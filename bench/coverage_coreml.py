"""How many of ONNX's operator cases coreml passes, and every one that it does not, with the reason.

    python -m bench.coverage_coreml [PATTERN]

With a pattern, only the cases whose names match it. Without one, writes bench/results/coverage-coreml.json and the
reference page.
"""

from __future__ import annotations

import re
import sys
import tempfile
import time
from collections import Counter
from pathlib import Path

from bench.measure import write_results
from tests.targets.coreml.reference_page import PAGE, rendered
from tests.targets.coreml.verdict import verdict
from tests.targets.operator_cases import operator_cases

MODES = ("frozen", "live")


def main(pattern: str) -> int:
    """Print and write; the exit code is 1 if any case is wrong without saying so."""
    missed: dict[str, dict[str, dict[str, str]]] = {mode: {} for mode in MODES}
    counts: Counter[tuple[str, str]] = Counter()
    slow: list[tuple[float, str]] = []
    with tempfile.TemporaryDirectory() as folder:
        for case in operator_cases():
            if not re.search(pattern, case.name):
                continue
            before = time.process_time()
            kind, reason = verdict(case, Path(folder))
            slow.append((time.process_time() - before, f"{case.name} ({case.mode})"))
            counts[case.mode, kind] += 1
            if kind != "passed":
                missed[case.mode][case.name] = {"verdict": kind, "reason": reason}
    figures = {mode: _figures(counts, mode) for mode in MODES}
    _show(figures, missed, max(slow, default=(0.0, "")), sum(seconds for seconds, _ in slow))
    if not pattern:
        PAGE.write_text(rendered(figures, missed))
        write_results("coverage-coreml", {"counts": figures, "missed": missed}, ["onnx", "coremltools", "numpy"])
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


if __name__ == "__main__":
    sys.exit(main(sys.argv[1] if len(sys.argv) > 1 else ""))
