"""Whether the file that edge-arm makes of a case is right: executed by LiteRT, by the strict rule."""

from __future__ import annotations

from typing import TYPE_CHECKING, NamedTuple

import numpy as np

from agent.runtimes.litert import open_model
from targets._source.model import read_source
from targets._target import TargetError
from targets.edge_arm._file import serialized
from targets.edge_arm._lowering import lower
from targets.edge_arm._registry import REGISTRY

if TYPE_CHECKING:
    from pathlib import Path

    from numpy.typing import NDArray

    from tests.targets.operator_cases import Case


class Verdict(NamedTuple):
    """`passed`, `refused` with a reason, or `wrong` with what is wrong."""

    kind: str
    reason: str


def verdict(case: Case, folder: Path) -> Verdict:
    """Refused by name, or shipped; and what was shipped, run twice, against what must come out."""
    try:
        lowered = lower(read_source(case.model, REGISTRY.served()))
    except TargetError as error:
        return Verdict("refused", f"{error}")
    if lowered.findings:
        first = lowered.findings[0]
        return Verdict("refused" if first.node and first.reason else "wrong", f"{first.operator}: {first.reason}")
    path = folder / "model.tflite"
    path.write_bytes(serialized(lowered.graph))
    try:
        runtime = open_model(path, threads=1)
    except ValueError as error:
        return Verdict("wrong", f"{error}")
    try:
        got, again = runtime.run(case.inputs), runtime.run(case.inputs)
    except RuntimeError as error:
        return Verdict("wrong", f"{error}")
    runtime.close()
    reason = _mistake(case, got, again)
    return Verdict("wrong" if reason else "passed", reason)


def _mistake(case: Case, got: dict[str, NDArray[np.generic]], again: dict[str, NDArray[np.generic]]) -> str:
    """What is wrong with the outputs of two runs; empty where nothing is."""
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
