"""What the emitter takes is right; what it does not take, it says."""

from __future__ import annotations

import re
from collections import Counter
from pathlib import Path
from typing import TYPE_CHECKING

import pytest

from targets.edge_arm._registry import served
from tests.targets.edge_arm.verdict import verdict
from tests.targets.operator_cases import operator_cases

if TYPE_CHECKING:
    from collections.abc import Callable


FROZEN_PASSED = 765
LIVE_PASSED = 305
"""What passed when this was written; fewer is a regression."""


def test_every_operator_case_is_either_right_or_refused_by_name(
    tmp_path: Path, record_property: Callable[[str, object], None]
) -> None:
    counts: Counter[tuple[str, str]] = Counter()
    wrong = {}
    for case in operator_cases():
        kind, reason = verdict(case, tmp_path)
        counts[case.mode, kind] += 1
        if kind == "wrong":
            wrong[f"{case.name} ({case.mode})"] = reason
    for mode in ("frozen", "live"):
        record_property(mode, counts[mode, "passed"])
    assert wrong == {}
    assert counts["frozen", "passed"] >= FROZEN_PASSED
    assert counts["live", "passed"] >= LIVE_PASSED


@pytest.mark.parametrize("name", ["Conv", "Gemm", "MatMul", "Softmax", "MaxPool", "BatchNormalization"])
def test_the_registry_serves_what_small_networks_are_made_of(name: str) -> None:
    assert name in served()


def test_the_reference_page_lists_exactly_the_operators_that_the_registry_serves() -> None:
    page = (Path(__file__).parents[3] / "docs/reference/targets/edge-arm.md").read_text()
    listed = page.split("The list:")[1].split("Of ONNX's own")[0]
    assert re.findall(r"`(\w+)`", listed) == list(served())
