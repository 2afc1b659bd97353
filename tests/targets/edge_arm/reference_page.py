"""The reference page of edge-arm's operators, from the registry and from what the operator cases gave."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING

from targets._source.registry import NEWEST
from targets.edge_arm._registry import REGISTRY

if TYPE_CHECKING:
    from collections.abc import Mapping

    from targets._source.registry import Entry

PAGE = Path(__file__).parents[3] / "docs/reference/targets/edge-arm-operators.md"
_HEAD = """# Operators of `edge-arm`

This page is written by `make coverage-edge`, from the registry and from a run of ONNX's own operator tests; a test
holds it to both. [The target's page](edge-arm.md) says what they mean.

## What is served

An operator outside the table that ONNX defines by others (such as `Attention`, `AffineGrid`, `SoftmaxCrossEntropyLoss`)
is replaced by its definition first. What depends on constants alone is computed while the file is made, whatever the
operator.

| operator | versions |
|---|---|
"""
_CASES = """
## What is passed

The cases are ONNX's backend node tests that have a float input: `frozen` leaves one input live and makes the others
constants, `live` leaves every float input live. A case passes if the shipped file, executed by LiteRT, keeps names,
element types and layouts, gives the same in two calls, and is within rtol 1e-3 and atol 1e-5 of what is expected
(float16: 1e-2 and 1e-3; integers equal).

| cases | passed | refused by name | wrong |
|---|---|---|---|
"""
_MISSED = """
## What is not passed, and why

| reason | frozen | live |
|---|---|---|
"""


def rendered(counts: Mapping[str, Mapping[str, int]], missed: Mapping[str, Mapping[str, Mapping[str, str]]]) -> str:
    """The page. `counts` and `missed` go by the mode; `missed` then by the case."""
    operators = "".join(f"| `{name}` | {_versions(entries)} |\n" for name, entries in REGISTRY.served().items())
    cases = "".join(
        f"| {mode} | {count['passed']} of {count['total']} | {count['refused']} | {count['wrong']} |\n"
        for mode, count in counts.items()
    )
    return _HEAD + operators + _CASES + cases + _MISSED + "".join(_rows(missed))


def _versions(entries: tuple[Entry, ...]) -> str:
    first = min(entry.since for entry in entries)
    last = max(entry.until for entry in entries)
    return f"{first} to {'the newest' if last == NEWEST else last}"


def _rows(missed: Mapping[str, Mapping[str, Mapping[str, str]]]) -> list[str]:
    modes = list(missed)
    reasons = sorted({entry["reason"] for cases in missed.values() for entry in cases.values()})
    rows = []
    for reason in reasons:
        cells = []
        for mode in modes:
            names = sorted(name for name, entry in missed[mode].items() if entry["reason"] == reason)
            cells.append(" ".join(f"`{name.removeprefix('test_')}`" for name in names))
        rows.append(f"| {reason.replace('|', chr(92) + '|')} | {' | '.join(cells)} |\n")
    return rows
