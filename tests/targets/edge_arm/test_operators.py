"""What the emitter takes is right; what it does not take, it says."""

from __future__ import annotations

import re
from collections import Counter
from pathlib import Path
from typing import TYPE_CHECKING, Protocol

import numpy as np
import pytest

from agent.runtimes.litert import open_model
from targets.edge_arm._lowering import lower
from targets.edge_arm._registry import served
from targets.edge_arm._source import read_source

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

    import onnx
    from numpy.typing import NDArray


class Case(Protocol):
    name: str
    mode: str
    model: onnx.ModelProto
    inputs: dict[str, NDArray[np.generic]]
    outputs: dict[str, NDArray[np.generic]]


FROZEN_PASSED = 765
LIVE_PASSED = 305
"""What passed when this was written; fewer is a regression."""


def _failure(case: Case, folder: Path) -> str | None:
    """Why the shipped file is wrong; empty where it is right; None where the node is refused by name."""
    source = read_source(case.model, served())
    lowered = lower(source)
    if lowered.findings:
        assert all(finding.node and finding.reason for finding in lowered.findings)
        return None
    path = folder / "model.tflite"
    path.write_bytes(lowered.graph.serialize())
    runtime = open_model(path, threads=1)
    got, again = runtime.run(case.inputs), runtime.run(case.inputs)
    runtime.close()
    if set(got) != set(case.outputs):
        return f"outputs are {sorted(got)}, not {sorted(case.outputs)}"
    half = any(array.dtype == np.float16 for array in (*case.inputs.values(), *case.outputs.values()))
    tolerance = (1e-2, 1e-3) if half else (1e-3, 1e-5)
    for name, expected in case.outputs.items():
        if not np.array_equal(got[name], again[name], equal_nan=expected.dtype.kind == "f"):
            return f"{name} differs when run twice"
        if difference := _difference(got[name], expected, tolerance):
            return f"{name} {difference}"
    return ""


def _difference(got: NDArray[np.generic], expected: NDArray[np.generic], tolerance: tuple[float, float]) -> str:
    if (got.shape, got.dtype) != (expected.shape, expected.dtype):
        return f"is {got.dtype}{got.shape}, not {expected.dtype}{expected.shape}"
    if expected.dtype.kind != "f":
        return "" if np.array_equal(got, expected) else "differs"
    rtol, atol = tolerance
    if np.allclose(got, expected, rtol=rtol, atol=atol, equal_nan=True):
        return ""
    return f"is off by {np.nanmax(np.abs(got.astype(float) - expected))}"


def test_every_operator_case_is_either_right_or_refused_by_name(
    operator_cases: Iterator[Case], tmp_path: Path, record_property: Callable[[str, object], None]
) -> None:
    passed, refused, wrong = Counter(), Counter(), {}
    for case in operator_cases:
        failure = _failure(case, tmp_path)
        if failure is None:
            refused[case.mode] += 1
        elif failure:
            wrong[f"{case.name} ({case.mode})"] = failure
        else:
            passed[case.mode] += 1
    for mode in ("frozen", "live"):
        record_property(mode, passed[mode])
        print(f"{mode}: {passed[mode]} of {passed[mode] + refused[mode]} passed")  # noqa: T201 - the figure itself
    assert wrong == {}
    assert passed["frozen"] >= FROZEN_PASSED
    assert passed["live"] >= LIVE_PASSED


@pytest.mark.parametrize("name", ["Conv", "Gemm", "MatMul", "Softmax", "MaxPool", "BatchNormalization"])
def test_the_registry_serves_what_small_networks_are_made_of(name: str) -> None:
    assert name in served()


def test_the_reference_page_lists_exactly_the_operators_that_the_registry_serves() -> None:
    page = (Path(__file__).parents[3] / "docs/reference/targets/edge-arm.md").read_text()
    listed = page.split("The list:")[1].split("Of ONNX's own")[0]
    assert re.findall(r"`(\w+)`", listed) == list(served())
