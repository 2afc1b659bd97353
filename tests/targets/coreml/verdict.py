"""Whether the package that coreml makes of a case is right: loaded back and evaluated, by the strict rule."""

from __future__ import annotations

import shutil
from typing import TYPE_CHECKING, NamedTuple

import numpy as np

from targets._target import TargetError
from targets.coreml import Options
from targets.coreml._convert import lowered_model, write_model
from targets.coreml.evaluator import load_program
from tests.targets.coreml.oracle.choose import kernels

if TYPE_CHECKING:
    from pathlib import Path

    from numpy.typing import NDArray

    from targets.coreml._lowering import Lowered
    from tests.targets.operator_cases import Case

OPTIONS = Options(precision="float32")
_NARROWED = {"float64": "float32", "bool": "int32"}


class Verdict(NamedTuple):
    """`passed`, `refused` with a reason, or `wrong` with what is wrong."""

    kind: str
    reason: str
    operators: frozenset[tuple[str, str]] = frozenset()
    """Of MIL, that the program consists of, each with the operator set from which the evaluator's function serves."""


def verdict(case: Case, folder: Path) -> Verdict:
    """Refused by name, or written; and what was written, evaluated twice, against what must come out."""
    try:
        lowered = lowered_model(case.model, OPTIONS)
    except TargetError as error:
        return Verdict("refused", f"{error}")
    if lowered.findings:
        first = lowered.findings[0]
        return Verdict("refused" if first.node and first.reason else "wrong", f"{first.operator}: {first.reason}")
    package = write_model(lowered, OPTIONS, folder)
    try:
        program = load_program(package)
        given = _given(case, lowered)
        got, again = program.predict(given), program.predict(given)
    except TargetError as error:
        return Verdict("wrong", f"{error}")
    finally:
        shutil.rmtree(package)
    reason = _mistake(case, lowered, got, again)
    return Verdict("wrong" if reason else "passed", reason, kernels(program))


def _given(case: Case, lowered: Lowered) -> dict[str, NDArray[np.generic]]:
    return {
        feature.name: case.inputs[feature.source].astype(feature.dtype).reshape(feature.shape)
        for feature in lowered.inputs
    }


def _mistake(
    case: Case, lowered: Lowered, got: dict[str, NDArray[np.generic]], again: dict[str, NDArray[np.generic]]
) -> str:
    """What is wrong with the outputs of two runs; empty where nothing is."""
    if {feature.source for feature in lowered.outputs} != set(case.outputs):
        return f"outputs are {sorted(got)}, not {sorted(case.outputs)}"
    half = any(array.dtype == np.float16 for array in (*case.inputs.values(), *case.outputs.values()))
    tolerance = (1e-2, 1e-3) if half else (1e-3, 1e-5)
    for feature in lowered.outputs:
        name, result = feature.source, got[feature.name]
        if not np.array_equal(result, again[feature.name], equal_nan=result.dtype.kind == "f"):
            return f"{name} differs when run twice"
        if result.dtype != feature.dtype:
            return f"{name} is {result.dtype}, and declared as {feature.dtype}"
        if said := difference(result, case.outputs[name], tolerance):
            return f"{name} {said}"
    return ""


def difference(got: NDArray[np.generic], expected: NDArray[np.generic], tolerance: tuple[float, float]) -> str:
    """How an output differs from what it must be; empty where it is right. `tolerance` is rtol and atol."""
    kind = expected.dtype.name
    wanted = np.dtype(_NARROWED.get(kind, "int32" if expected.dtype.kind in "iu" else kind))
    if (got.shape, got.dtype) != (expected.shape, wanted):
        return f"is {got.dtype}{got.shape}, not {wanted}{expected.shape}"
    if expected.dtype.kind != "f":
        return "" if np.array_equal(got.astype(expected.dtype), expected) else "differs"
    rtol, atol = tolerance
    if np.allclose(got.astype(float), expected.astype(float), rtol=rtol, atol=atol, equal_nan=True):
        return ""
    return f"is off by {np.nanmax(np.abs(got.astype(float) - expected))}"
