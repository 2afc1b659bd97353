"""The reference page of a target's operators, from its registry and from what the operator cases gave."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from targets._source.registry import NEWEST

if TYPE_CHECKING:
    from collections.abc import Mapping

    from targets._source.registry import Entry, Registry

_HEAD = """# Operators of `{name}`

This page is written by `make {command}`, from the registry and from a run of ONNX's own operator tests; a test
holds it to both. [The target's page]({name}.md) says what they mean.

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
constants, `live` leaves every float input live. {rule}

| cases | passed | refused by name | wrong |
|---|---|---|---|
"""
_MISSED = """
## What is not passed, and why

| reason | frozen | live |
|---|---|---|
"""


def rendered(
    name: str,
    command: str,
    rule: str,
    registry: Registry[Any],
    results: tuple[Mapping[str, Mapping[str, int]], Mapping[str, Mapping[str, Mapping[str, str]]]],
) -> str:
    """The page of target `name`. `rule` says when a case passes.

    `results` are counts by the mode, and what was missed, by the mode and then by the case.
    """
    counts, missed = results
    operators = "".join(f"| `{entry}` | {_versions(entries)} |\n" for entry, entries in registry.served().items())
    cases = "".join(
        f"| {mode} | {count['passed']} of {count['total']} | {count['refused']} | {count['wrong']} |\n"
        for mode, count in counts.items()
    )
    head = _HEAD.format(name=name, command=command)
    return head + operators + _CASES.format(rule=rule) + cases + _MISSED + "".join(_rows(missed))


def _versions(entries: tuple[Entry[Any], ...]) -> str:
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
