"""What the frontend takes is right; what it does not take, it says."""

from __future__ import annotations

import json
from collections import Counter
from pathlib import Path
from typing import TYPE_CHECKING

import pytest

from targets.coreml._registry import REGISTRY
from tests.targets.coreml.oracle.held import held
from tests.targets.coreml.reference_page import PAGE, rendered
from tests.targets.coreml.verdict import verdict
from tests.targets.operator_cases import operator_cases

if TYPE_CHECKING:
    from collections.abc import Callable

    from tests.targets.coreml.verdict import Verdict

    Verdicts = dict[str, dict[str, Verdict]]


FROZEN_PASSED = 921
LIVE_PASSED = 400
"""What passed when this was written; fewer is a regression."""
PEERS = Path(__file__).parents[3] / "bench/results/coreml-peers.json"
EMITTED = 90
"""Operators of MIL that the cases make the frontend emit, at least."""


@pytest.fixture(scope="module")
def verdicts(tmp_path_factory: pytest.TempPathFactory) -> Verdicts:
    folder = tmp_path_factory.mktemp("operators")
    found: Verdicts = {"frozen": {}, "live": {}}
    for case in operator_cases():
        found[case.mode][case.name] = verdict(case, folder)
    return found


def _counts(verdicts: Verdicts) -> dict[str, dict[str, int]]:
    counts = {}
    for mode, cases in verdicts.items():
        kinds = Counter(each.kind for each in cases.values())
        counts[mode] = {kind: kinds[kind] for kind in ("passed", "refused", "wrong")} | {"total": len(cases)}
    return counts


def test_every_operator_case_is_either_right_or_refused_by_name(
    verdicts: Verdicts, record_property: Callable[[str, object], None]
) -> None:
    wrong = {
        f"{name} ({mode})": each.reason
        for mode, cases in verdicts.items()
        for name, each in cases.items()
        if each.kind == "wrong"
    }
    assert wrong == {}
    passed = {mode: count["passed"] for mode, count in _counts(verdicts).items()}
    for mode, count in passed.items():
        record_property(mode, count)
    assert passed["frozen"] >= FROZEN_PASSED
    assert passed["live"] >= LIVE_PASSED


def test_every_mil_operator_that_is_emitted_is_held_against_apple_or_its_documentation(
    verdicts: Verdicts, tmp_path: Path
) -> None:
    emitted = {each for cases in verdicts.values() for case in cases.values() for each in case.operators}
    assert len(emitted) > EMITTED
    assert sorted(emitted - held(tmp_path)) == []


def test_what_other_converters_get_wrong_without_a_word_is_right_here_or_refused_by_name(verdicts: Verdicts) -> None:
    wrong = json.loads(PEERS.read_text())["figures"]["wrong"]
    cases = {case for peer in wrong.values() for case in peer}
    kinds = Counter(verdicts[mode][name].kind for mode, _, name in (case.partition("-") for case in cases))
    assert set(kinds) <= {"passed", "refused"}
    assert kinds["passed"] > 0.9 * len(cases)


def test_the_reference_page_says_what_is_served_and_why_each_other_case_is_not_passed(verdicts: Verdicts) -> None:
    missed = {
        mode: {
            name: {"verdict": each.kind, "reason": each.reason} for name, each in cases.items() if each.kind != "passed"
        }
        for mode, cases in verdicts.items()
    }
    assert PAGE.read_text() == rendered(_counts(verdicts), missed), "run `make coverage-coreml`"


def test_every_registered_operator_says_what_it_computes() -> None:
    silent = [
        name
        for name, entries in REGISTRY.served().items()
        for entry in entries
        if not (getattr(entry.emit, "func", entry.emit).__doc__ or "").strip() and not hasattr(entry.emit, "func")
    ]
    assert silent == []
