# ruff: noqa: ANN401 - coremltools has no types
"""A pytest plugin that lets Apple's own tests of coremltools run where there is no Core ML.

coremltools ships its tests: each converts a torch module, a TensorFlow graph or a hand-built MIL program, and on a Mac
compares what Core ML predicts with what the framework, or the test's author, computed. Elsewhere it stops after the
conversion. With this plugin `MLModel.predict` is our evaluator, so that the comparison happens here, with Apple's
inputs, expectations and tolerances.

    PYMIL_TEST_TARGETS=mlprogram INCLUDE_MIL_FP32_UNIT_TESTS=1 ORACLE_CASES=8 \\
        python -m pytest -p tests.targets.coreml.oracle.as_core_ml --pyargs coremltools.converters.mil.mil.ops.tests

Of the tens of thousands of cases, ``ORACLE_CASES`` says how many of each test function are taken, evenly spread.
``ORACLE_REPORT`` names a file for the outcomes, ``ORACLE_RECORD`` a folder for small packages and their values.
"""

from __future__ import annotations

import json
import os
import shutil
from itertools import groupby
from pathlib import Path
from typing import TYPE_CHECKING, Any, NamedTuple

import coremltools
import numpy as np
import pytest
from coremltools import _deps
from coremltools.models import utils
from PIL import Image

from targets.coreml.evaluator import load_program

if TYPE_CHECKING:
    from numpy.typing import NDArray

    from targets.coreml.evaluator import Feature, Program

_NEWEST_MACOS = (15, 0)
_LUMINANCE = "L"
_MOST_BYTES = 12_000


def pytest_configure() -> None:
    """Before any of Apple's test modules is imported."""
    _deps._IS_MACOS = True
    utils._macos_version = lambda: _NEWEST_MACOS
    coremltools.models.MLModel.predict = _predict
    coremltools.models.MLModel.make_state = _make_state
    if "ORACLE_RECORD" in os.environ:
        _record(Path(os.environ["ORACLE_RECORD"]))


def _record(folder: Path) -> None:
    """Keep each small package whose values were as expected, with them, below `folder`."""
    from coremltools.converters.mil import testing_utils

    compare = testing_utils.compare_backend

    def recording(mlmodel: Any, input_key_values: Any, expected_outputs: Any, **options: Any) -> Any:
        predicted = compare(mlmodel, input_key_values, expected_outputs, **options)
        if options.get("dtype", "fp32") == "fp32" and options.get("state") is None and predicted:
            _keep(folder, mlmodel, input_key_values, expected_outputs)
        return predicted

    testing_utils.compare_backend = recording
    # Imported here, so that it finds the function above, and only where torch is.
    from coremltools.converters.mil.frontend.torch.test import testing_utils as of_torch

    convert = of_torch.convert_and_compare

    def converting(data: Any, module: Any, *rest: Any, **options: Any) -> Any:
        spec, mlmodel, inputs, predicted = convert(data, module, *rest, **options)
        backend = options.get("backend", ("", ""))
        if "fp32" in str(backend) and predicted is not None and not options.get("state"):
            copies = of_torch._copy_input_data(data if isinstance(data, (list, tuple)) else [data])
            computed = [each.detach().numpy() for each in of_torch._flatten([spec(*copies)])]
            names = [each.name for each in _program(mlmodel).outputs]
            _keep(folder, mlmodel, inputs, dict(zip(names, computed, strict=True)))
        return spec, mlmodel, inputs, predicted

    of_torch.convert_and_compare = converting


def _keep(folder: Path, mlmodel: Any, inputs: Any, expected: Any) -> None:
    if not all(isinstance(each, np.ndarray) for each in (*inputs.values(), *expected.values())):
        return
    size = sum(path.stat().st_size for path in Path(mlmodel.package_path).rglob("*") if path.is_file())
    if size + sum(each.nbytes for each in (*inputs.values(), *expected.values())) > _MOST_BYTES:
        return
    test = os.environ["PYTEST_CURRENT_TEST"].partition(" ")[0].partition("[")[0].split("/")[-1]
    name = test.replace(".py", "").replace("::", "-").strip("-")
    place = folder / name / str(len(list(folder.glob(f"{name}/*"))))
    shutil.copytree(mlmodel.package_path, place / "model.mlpackage")
    names = {each.name for each in _program(mlmodel).inputs}
    np.savez_compressed(
        place / "values.npz",
        **{f"input.{key}": value for key, value in inputs.items() if key in names},
        **{f"expected.{key}": value for key, value in expected.items()},
    )


def pytest_collection_modifyitems(config: pytest.Config, items: list[pytest.Item]) -> None:
    """Take some cases of each test function, the same in every run."""
    most = int(os.environ.get("ORACLE_CASES", "0"))
    if not most:
        return
    chosen: list[pytest.Item] = []
    for _, group in groupby(items, key=lambda item: item.nodeid.partition("[")[0]):
        every = list(group)
        # Those in float32 have the closer tolerance.
        cases = [case for case in every if "fp32" in case.nodeid] or every
        step = max(1, len(cases) / most)
        chosen += [cases[int((place + 0.5) * step)] for place in range(min(most, len(cases)))]
    kept = {id(item) for item in chosen}
    config.hook.pytest_deselected(items=[item for item in items if id(item) not in kept])
    items[:] = chosen


class Outcome(NamedTuple):
    """What became of one of Apple's tests."""

    test: str
    verdict: str
    reason: str
    evaluated: bool
    """Whether the evaluator was asked for a prediction."""


_OUTCOMES: list[Outcome] = []
_ASKED: set[str] = set()


def pytest_runtest_logreport(report: pytest.TestReport) -> None:
    """Note each test's outcome, for the report."""
    if report.when != "call" and report.outcome == "passed":
        return
    verdict = "expected failure" if hasattr(report, "wasxfail") else report.outcome
    crash = getattr(report.longrepr, "reprcrash", None)
    reason = crash.message.strip().partition("\n")[0] if crash and verdict == "failed" else ""
    _OUTCOMES.append(Outcome(report.nodeid.strip(":"), verdict, reason, report.nodeid in _ASKED))


def pytest_sessionfinish() -> None:
    """Write the report to the file that ``ORACLE_REPORT`` names."""
    if "ORACLE_REPORT" in os.environ:
        Path(os.environ["ORACLE_REPORT"]).write_text(json.dumps([each._asdict() for each in _OUTCOMES]))


class _State(dict[str, Any]):
    """What `MLState` is on a Mac."""


def _program(model: Any) -> Program:
    if not hasattr(model, "_evaluated"):
        model._evaluated = load_program(Path(model.package_path), getattr(model, "function_name", None) or "")
    return model._evaluated


def _make_state(model: Any) -> _State:
    return _State(_program(model).new_state())


def _predict(model: Any, data: Any, state: _State | None = None) -> Any:
    _ASKED.add(os.environ["PYTEST_CURRENT_TEST"].rpartition(" ")[0])
    if isinstance(data, list):
        return [_predict(model, each, state) for each in data]
    if not model.is_package:
        pytest.skip("a neural network, no program")
    program = _program(model)
    given = {each.name: _tensor(data[each.name], each) for each in program.inputs if each.name in data}
    results = program.predict(given, state=state)
    described = {each.name: each.type.WhichOneof("Type") for each in model.get_spec().description.output}
    return {name: _as_core_ml(value, described.get(name, "")) for name, value in results.items()}


def _tensor(value: Any, feature: Feature) -> NDArray[Any]:
    if isinstance(value, Image.Image):
        pixels = np.asarray(value.convert(_LUMINANCE if feature.colour.startswith("gray") else "RGB"))
        pixels = pixels[np.newaxis] if pixels.ndim == 2 else pixels.transpose(2, 0, 1)
        if feature.colour == "BGR":
            pixels = pixels[::-1]
        return pixels[np.newaxis].astype(feature.dtype)
    # Core ML converts multi-arrays to what the model wants.
    return np.asarray(value).astype(feature.dtype)


def _as_core_ml(value: NDArray[Any], kind: str) -> Any:
    if kind in {"int64Type", "stringType"}:
        return value.item()
    # Core ML has no multi-array without an axis.
    return np.atleast_1d(value)
