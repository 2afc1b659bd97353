"""The first value of a package that departs from its source is named."""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np
import pytest

from targets.coreml import target
from targets.coreml._package import PACKAGE
from targets.coreml.evaluator import load_program
from targets.coreml.evaluator.compare import (
    divergences,
    first_divergence,
    relative_error,
    values_of,
    values_of_source,
)

if TYPE_CHECKING:
    from collections.abc import Callable
    from pathlib import Path

    import onnx
    from numpy.typing import NDArray

    from targets._target import Artifact

    Convert = Callable[..., tuple[Artifact, Path]]


@pytest.fixture
def picture() -> dict[str, NDArray[np.float32]]:
    return {"x": np.random.default_rng(0).standard_normal((1, 3, 16, 16)).astype(np.float32)}


def test_a_good_package_departs_nowhere_from_its_source(
    cnn: onnx.ModelProto, convert: Convert, picture: dict[str, NDArray[np.float32]]
) -> None:
    _, folder = convert(target, cnn, precision="float32")
    program = load_program(folder / PACKAGE)
    reference = values_of_source(cnn, picture)
    compared = divergences(program, picture, reference)
    assert {"pooled", "h2", "y"} <= {each.source for each in compared}
    assert first_divergence(program, picture, reference, limit=1e-5) is None


def test_the_first_layer_with_a_wrong_weight_is_named(
    cnn: onnx.ModelProto, convert: Convert, picture: dict[str, NDArray[np.float32]]
) -> None:
    _, folder = convert(target, cnn, precision="float32")
    program = load_program(folder / PACKAGE)
    reference = values_of(program, picture)
    (name,) = (name for name, value in program.constants().items() if value.shape == (16, 8, 1, 1))
    wrong = program.constants()[name] * np.float32(1.5)
    found = first_divergence(program.with_constants({name: wrong}), picture, reference, limit=1e-3)
    assert found is not None
    assert found.operator == "conv"
    assert found.error > 0.1
    before = divergences(program.with_constants({name: wrong}), picture, reference)
    assert all(each.error == 0 for each in before[: before.index(found)])


@pytest.mark.parametrize(
    ("value", "expected", "error"),
    [
        ([1, 2, 4], [1, 2, 4], 0.0),
        ([1, 2, 5], [1, 2, 4], 0.25),
        ([0, 0.5], [0, 0], 0.5),
        ([np.inf, 1], [np.inf, 1], 0.0),
        ([np.inf, 1], [2, 1], np.inf),
        ([np.nan, 1], [np.nan, 1], 0.0),
        ([1, 1], [np.nan, 1], np.inf),
        ([], [], 0.0),
    ],
)
def test_an_error_is_relative_to_the_largest_and_infinite_where_only_one_is_finite(
    value: list[float], expected: list[float], error: float
) -> None:
    assert relative_error(np.array(value, np.float32), np.array(expected, np.float32)) == pytest.approx(error)
