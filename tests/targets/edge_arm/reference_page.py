"""The reference page of edge-arm's operators."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING

from targets.edge_arm._registry import REGISTRY
from tests.targets import operator_page

if TYPE_CHECKING:
    from collections.abc import Mapping

PAGE = Path(__file__).parents[3] / "docs/reference/targets/edge-arm-operators.md"
_RULE = """A case passes if the shipped file, executed by LiteRT, keeps names,
element types and layouts, gives the same in two calls, and is within rtol 1e-3 and atol 1e-5 of what is expected
(float16: 1e-2 and 1e-3; integers equal)."""


def rendered(counts: Mapping[str, Mapping[str, int]], missed: Mapping[str, Mapping[str, Mapping[str, str]]]) -> str:
    """The page. `counts` and `missed` go by the mode; `missed` then by the case."""
    return operator_page.rendered("edge-arm", "coverage-edge", _RULE, REGISTRY, (counts, missed))
