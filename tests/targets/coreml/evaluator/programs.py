# ruff: noqa: ANN401 - coremltools has no types
"""Small packages, written by coremltools from MIL programs, for tests of the evaluator."""

from __future__ import annotations

import shutil
import warnings
from typing import TYPE_CHECKING, Any

from targets.coreml._coremltools import coremltools, part

if TYPE_CHECKING:
    from pathlib import Path


def builder() -> Any:
    """coremltools' builder of MIL programs."""
    return part("converters.mil").Builder


def types() -> Any:
    """MIL's types."""
    return part("converters.mil.mil").types


def target(system: str) -> Any:
    """The deployment target of that name, such as ``iOS17``."""
    return getattr(coremltools().target, system)


def saved(folder: Path, program: Any, *, system: str = "iOS17", **options: Any) -> Path:
    """Where the package of a program was written."""
    ct = coremltools()
    options.setdefault("compute_precision", ct.precision.FLOAT32)
    # It leaves its temporary folder to the garbage collector, which warns.
    with warnings.catch_warnings(action="ignore", category=ResourceWarning):
        model = ct.convert(
            program,
            convert_to="mlprogram",
            minimum_deployment_target=target(system),
            skip_model_load=True,
            pass_pipeline=ct.PassPipeline.EMPTY,
            **options,
        )
    out = folder / "model.mlpackage"
    if out.exists():
        shutil.rmtree(out)
    model.save(str(out))
    return out


def sum_of_two(folder: Path, *, system: str = "iOS17", **options: Any) -> Path:
    """A package that adds two float32 vectors of three, and doubles the sum."""
    mb = builder()
    specs = [mb.TensorSpec(shape=(3,), dtype=types().fp32) for _ in range(2)]

    @mb.program(input_specs=specs, opset_version=target(system))
    def program(a: Any, b: Any) -> Any:
        return mb.mul(x=mb.add(x=a, y=b, name="total"), y=2.0, name="y")

    return saved(folder, program, system=system, **options)
