"""Where a package's program first departs from what it was made of."""

from __future__ import annotations

import re
from typing import TYPE_CHECKING, Any

import msgspec
import numpy as np

if TYPE_CHECKING:
    from collections.abc import Container, Mapping

    import onnx

    from targets._target import Arrays
    from targets.coreml.evaluator._loading import Program
    from targets.coreml.evaluator._types import Array

_UNUSABLE = re.compile(r"[^a-zA-Z0-9_]")
"""What a name in a Core ML program can't hold; it becomes an underscore."""


class Divergence(msgspec.Struct, frozen=True, kw_only=True):
    """How far one value of a program is from its reference."""

    value: str
    """Its name in the program."""
    source: str
    """The name of what it was held against."""
    operator: str
    error: float
    """The largest difference, relative to the reference's largest magnitude; infinite where only one is finite."""


def divergences(program: Program, inputs: Arrays, reference: Mapping[str, Array]) -> list[Divergence]:
    """The error of every value that has a reference, in the order of the program.

    `reference` holds values by the source's names. A value of the program belongs to the longest of them that its own
    begins with, up to an underscore: the frontend adds the operation's name, coremltools ``_cast_fp16``. Of several
    that belong to one, for a node that became several operations, the last is its result.

    Raises:
        TargetError: the program can't be evaluated.
    """
    expected = {_UNUSABLE.sub("_", name): value for name, value in reference.items()}
    found: dict[str, Divergence] = {}

    def observe(name: str, operator: str, value: Any) -> None:  # noqa: ANN401 - a value of any MIL type
        source = _source_of(name, expected)
        if source and isinstance(value, np.ndarray) and value.shape == expected[source].shape:
            found.pop(source, None)
            found[source] = Divergence(
                value=name, source=source, operator=operator, error=relative_error(value, expected[source])
            )

    program.predict(inputs, observe=observe)
    return list(found.values())


def _source_of(name: str, sources: Container[str]) -> str:
    while name and name not in sources:
        name = name.rpartition("_")[0]
    return name


def first_divergence(
    program: Program, inputs: Arrays, reference: Mapping[str, Array], *, limit: float
) -> Divergence | None:
    """The first value whose error is beyond `limit`, or None."""
    return next((each for each in divergences(program, inputs, reference) if not each.error <= limit), None)


def values_of(program: Program, inputs: Arrays) -> dict[str, Array]:
    """Every tensor that a program computes, by name: the reference for another precision of the same model."""
    values: dict[str, Array] = {}

    def observe(name: str, operator: str, value: Any) -> None:  # noqa: ANN401 - a value of any MIL type
        del operator
        if isinstance(value, np.ndarray):
            values[name] = value

    program.predict(inputs, observe=observe)
    return values


def values_of_source(model: onnx.ModelProto, inputs: Arrays) -> dict[str, Array]:
    """Every tensor that onnxruntime computes for a model's main graph, by name."""
    import onnx
    import onnxruntime as ort

    shown = onnx.ModelProto()
    shown.CopyFrom(model)
    present = {each.name for each in shown.graph.output}
    for node in shown.graph.node:
        shown.graph.output.extend(
            onnx.ValueInfoProto(name=name) for name in node.output if name and name not in present
        )
    options = ort.SessionOptions()
    options.log_severity_level = 3
    # A fused operator would leave the values between its parts out.
    options.graph_optimization_level = ort.GraphOptimizationLevel.ORT_DISABLE_ALL
    session = ort.InferenceSession(shown.SerializeToString(), options, providers=["CPUExecutionProvider"])
    names = [each.name for each in session.get_outputs()]
    return dict(zip(names, session.run(names, dict(inputs)), strict=True))


def relative_error(value: Array, expected: Array) -> float:
    """The largest difference, relative to the largest magnitude that is expected."""
    if not expected.size:
        return 0.0
    if expected.dtype.kind not in "fiu" or value.dtype.kind not in "fiu":
        return 0.0 if np.array_equal(value, expected) else float("inf")
    have, want = value.astype(np.float64), expected.astype(np.float64)
    finite = np.isfinite(want)
    if not np.array_equal(have[~finite], want[~finite], equal_nan=True) or not np.all(np.isfinite(have[finite])):
        return float("inf")
    if not finite.any():
        return 0.0
    largest = float(np.abs(want[finite]).max())
    difference = float(np.abs(have[finite] - want[finite]).max())
    return difference / largest if largest else difference
