"""No pass changes meaning: ONNX's node tests that onnxruntime computes right, through each pass and all together."""

from __future__ import annotations

from collections import Counter
from typing import TYPE_CHECKING

import pytest
from onnx.defs import get_all_schemas

from packager.errors import ConversionError
from packager.hub.form import Form
from packager.hub.pipeline import PASSES, prepare
from targets._target import Needs
from tests.packager.hub.node_cases import node_cases

if TYPE_CHECKING:
    from collections.abc import Callable

    import onnx

    from tests.packager.hub.node_cases import NodeCase

    Change = Callable[[onnx.ModelProto, NodeCase], onnx.ModelProto]

NEWEST = 28
FEWEST_CASES = 1550
"""Of 1,884 node tests; of the others onnxruntime has no operator, or numpy no type, or the results differ already."""


COMPOSITES = tuple(
    sorted(entry.name for entry in get_all_schemas() if entry.has_function or entry.has_context_dependent_function)
)
"""All operators that ONNX defines by others."""


def form(opset: tuple[int, int], case: NodeCase) -> Form:
    needs = Needs(
        opset=opset,
        ir_version=14,
        static_shapes=True,
        ml_operators=False,
        fused=False,
        recurrent=False,
        unrolled=16,
        decomposed=COMPOSITES,
    )
    return Form(needs=needs, free_dimensions=case.free_dimensions())


@pytest.fixture(scope="module")
def right() -> list[NodeCase]:
    """The cases that onnxruntime computes right as they are."""
    found = [case for case in node_cases() if not case.difference(case.model())]
    assert len(found) >= FEWEST_CASES
    return found


def outcome(case: NodeCase, change: Change) -> str:
    """``same``, ``refused``, ``unchanged``, ``not implemented`` by onnxruntime in that version, or what went wrong."""
    try:
        changed = change(case.model(), case)
    except ConversionError:
        return "refused"
    if changed.SerializeToString() == case.encoded:
        return "unchanged"
    difference = case.difference(changed)
    if difference.startswith("NotImplemented"):
        return "not implemented"
    return f"{case.name}: {difference}" if difference else "same"


def check(cases: list[NodeCase], change: Change, name: str, capsys: pytest.CaptureFixture[str]) -> None:
    outcomes = Counter(outcome(case, change) for case in cases)
    expected = ("same", "unchanged", "refused", "not implemented")
    wrong = [found for found in outcomes if found not in expected]
    with capsys.disabled():
        counted = ", ".join(f"{outcomes[found]} {found}" for found in expected)
        print(f"\n{name}: {len(cases)} cases: {counted}, {len(wrong)} changed")  # noqa: T201 - the count is the result
    assert not wrong


@pytest.mark.parametrize("step", tuple(dict.fromkeys(PASSES)), ids=lambda step: step.__name__.rpartition(".")[2])
def test_no_pass_changes_what_a_model_computes(
    right: list[NodeCase], step: object, capsys: pytest.CaptureFixture[str]
) -> None:
    check(right, lambda model, case: step.run(model, form((7, NEWEST), case)), step.__name__, capsys)


@pytest.mark.parametrize("version", [7, 9, 11, 12, 13, 15, 17, 19, 21, 23, 25])
def test_no_conversion_of_the_opset_changes_what_a_model_computes(
    right: list[NodeCase], version: int, capsys: pytest.CaptureFixture[str]
) -> None:
    from packager.hub import convert_opset

    check(
        right,
        lambda model, case: convert_opset.run(model, form((version, version), case)),
        f"to opset {version}",
        capsys,
    )


@pytest.mark.parametrize("opset", [(13, NEWEST), (17, 18)], ids=["as-it-is", "18"])
def test_the_whole_pipeline_does_not_change_what_a_model_computes(
    right: list[NodeCase], opset: tuple[int, int], capsys: pytest.CaptureFixture[str]
) -> None:
    check(
        right,
        lambda model, case: prepare(model, form(opset, case))[0],
        f"pipeline to opset {opset[0]} to {opset[1]}",
        capsys,
    )
