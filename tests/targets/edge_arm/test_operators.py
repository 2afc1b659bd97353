"""What the emitter takes is right; what it does not take, it says."""

from __future__ import annotations

from collections import Counter
from typing import TYPE_CHECKING

import pytest

from targets.edge_arm._registry import REGISTRY
from tests.targets.edge_arm.reference_page import PAGE, rendered
from tests.targets.edge_arm.verdict import verdict
from tests.targets.operator_cases import operator_cases

if TYPE_CHECKING:
    from collections.abc import Callable

    from tests.targets.edge_arm.verdict import Verdict

    Verdicts = dict[str, dict[str, Verdict]]


FROZEN_PASSED = 935
LIVE_PASSED = 407
"""What passed when this was written; fewer is a regression."""


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


def test_the_reference_page_says_what_is_served_and_why_each_other_case_is_not_passed(verdicts: Verdicts) -> None:
    missed = {
        mode: {name: each._asdict() for name, each in cases.items() if each.kind != "passed"}
        for mode, cases in verdicts.items()
    }
    assert PAGE.read_text() == rendered(_counts(verdicts), missed), "run make coverage-edge"


@pytest.mark.parametrize("name", ["Conv", "Gemm", "MatMul", "Softmax", "MaxPool", "BatchNormalization"])
def test_the_registry_serves_what_small_networks_are_made_of(name: str) -> None:
    assert name in REGISTRY.served()
