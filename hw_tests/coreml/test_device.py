"""What Core ML itself predicts, on the processor, the graphics processor and the Neural Engine, beside the evaluator.

Runs on a Mac with coremltools (`pip install packtrain[coreml]`), and prints a table of differences by compute unit:

    python -m pytest -s hw_tests/coreml
"""

from __future__ import annotations

import importlib.util
import platform
import zipfile
from pathlib import Path
from typing import TYPE_CHECKING, NamedTuple, get_args

import numpy as np
import pytest

from agent.runtimes.coreml import Units, open_package
from bench.real_models import MODELS, fetched
from targets.coreml.evaluator import load_program
from targets.coreml.evaluator.compare import relative_error

if TYPE_CHECKING:
    from collections.abc import Iterator

    from numpy.typing import NDArray

    Tensors = dict[str, NDArray[np.generic]]

pytestmark = [
    pytest.mark.skipif(platform.system() != "Darwin", reason="Core ML predicts on macOS alone"),
    pytest.mark.skipif(importlib.util.find_spec("coremltools") is None, reason="coremltools is not installed"),
]
RECORDED = Path(__file__).parents[2] / "tests" / "targets" / "coreml" / "oracle" / "recorded"
UNITS = get_args(Units)
LIMITS = {"CPU_ONLY": 1e-3, "CPU_AND_GPU": 2e-2, "CPU_AND_NE": 2e-2, "ALL": 2e-2}
"""All but the processor compute in float16 whatever the program says."""
SAMPLES = 43844


class Case(NamedTuple):
    name: str
    package: Path
    inputs: Tensors


@pytest.fixture(scope="session")
def cases(tmp_path_factory: pytest.TempPathFactory) -> list[Case]:
    """Every package that tests record, and that of basic-pitch."""
    return [*_recorded(tmp_path_factory.mktemp("recorded")), _basic_pitch()]


def _recorded(folder: Path) -> Iterator[Case]:
    for archive in sorted(RECORDED.rglob("*.zip")):
        place = folder / archive.parent.name / archive.stem
        with zipfile.ZipFile(archive) as opened:
            opened.extractall(place)
        package = place / "model.mlpackage"
        program = load_program(package)
        with np.load(place / "values.npz") as values:
            inputs = {each.name: values[f"input.{each.name}"].astype(each.dtype) for each in program.inputs}
        if not any(each.operator.startswith("random_") for each in program.operations()):
            yield Case(archive.stem, package, inputs)


def _basic_pitch() -> Case:
    (model,) = (model for model in MODELS if model.name == "basic-pitch")
    noise = np.random.default_rng(0).standard_normal((1, SAMPLES, 1)).astype(np.float32)
    return Case("basic-pitch", fetched(model).parent / "nmp.mlpackage", {"input_2": 0.1 * noise})


@pytest.fixture(scope="session")
def table(cases: list[Case]) -> Iterator[dict[str, dict[str, float]]]:
    """Errors by case and compute unit; printed at the end."""
    rows: dict[str, dict[str, float]] = {case.name: {} for case in cases}
    yield rows
    width = max(map(len, rows))
    print()  # noqa: T201 - the table is what this is run for
    print("case".ljust(width), *(unit.rjust(12) for unit in UNITS))  # noqa: T201 - likewise
    for name, row in rows.items():
        cells = (f"{row[unit]:12.2e}" if unit in row else "-".rjust(12) for unit in UNITS)
        print(name.ljust(width), *cells)  # noqa: T201 - likewise


@pytest.mark.parametrize("units", UNITS)
def test_core_ml_predicts_what_the_evaluator_computes(
    cases: list[Case], table: dict[str, dict[str, float]], units: Units
) -> None:
    beyond = []
    for case in cases:
        runtime = open_package(case.package, units=units)
        predicted = runtime.run(case.inputs)
        runtime.close()
        expected = load_program(case.package).predict(case.inputs)
        error = max(relative_error(predicted[name].reshape(value.shape), value) for name, value in expected.items())
        table[case.name][units] = error
        if not error <= LIMITS[units]:
            beyond.append(f"{case.name}: {error:.2e}")
    assert beyond == []
