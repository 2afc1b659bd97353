"""Tensors of more axes than Core ML takes, on the way from one reshape to another."""

from __future__ import annotations

from itertools import permutations
from math import prod
from typing import TYPE_CHECKING

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from onnx import helper

from targets._target import TargetError
from targets.coreml import target
from targets.coreml._folded import steps
from targets.coreml._package import PACKAGE
from targets.coreml.evaluator import load_program

if TYPE_CHECKING:
    from collections.abc import Callable
    from pathlib import Path

    import onnx
    from numpy.typing import NDArray

    from targets._target import Artifact

    Build = Callable[..., onnx.ModelProto]
    Convert = Callable[..., tuple[Artifact, Path]]
    Reference = Callable[[onnx.ModelProto, dict[str, NDArray]], dict[str, NDArray]]


@given(
    st.lists(st.integers(1, 3), min_size=6, max_size=8).flatmap(
        lambda s: st.tuples(st.just(s), st.permutations(range(len(s))))
    )
)
def test_the_steps_permute_as_one_change_of_axes_would(case: tuple[list[int], list[int]]) -> None:
    shape, order = tuple(case[0]), case[1]
    whole = np.arange(prod(shape))
    moved = whole
    for sizes, axes in steps(shape, order, 5):
        assert len(sizes) <= 5
        moved = moved.reshape(sizes).transpose(axes).ravel()
    np.testing.assert_array_equal(moved, whole.reshape(shape).transpose(order).ravel())


def test_axes_that_stay_side_by_side_take_one_step() -> None:
    windows = list(steps((2, 3, 4, 5, 4, 7), (0, 1, 3, 2, 4, 5), 5))
    assert windows == [((6, 4, 5, 28), (0, 2, 1, 3))]
    assert all(len(list(steps((2,) * 5, order, 5))) <= 1 for order in permutations(range(5)))


NETWORKS = {
    "windows": ((2, 8, 8, 6), (2, 2, 4, 2, 4, 6), (0, 1, 3, 2, 4, 5), (8, 16, 6)),
    "reversed": ((2, 3, 2, 3, 2, 3), None, (5, 4, 3, 2, 1, 0), (6, 36)),
    "unshuffled": ((1, 3, 8, 8), (1, 3, 4, 2, 4, 2), (0, 1, 3, 5, 2, 4), (1, 12, 4, 4)),
}


@pytest.mark.parametrize("name", NETWORKS)
def test_a_tensor_of_six_axes_between_reshapes_is_right(
    name: str, build: Build, convert: Convert, reference: Reference
) -> None:
    given_shape, six, order, last = NETWORKS[name]
    six = six or given_shape
    flat = [6, 36] if len(given_shape) > 5 else list(given_shape)
    nodes = [
        helper.make_node("Reshape", ["x", "six"], ["a"]),
        helper.make_node("Transpose", ["a"], ["b"], perm=list(order)),
        helper.make_node("Reshape", ["b", "last"], ["y"]),
    ]
    constants = {"six": np.array(six), "last": np.array(last)}
    model = build(nodes, {"x": flat}, {"y": list(last)}, constants)
    _, folder = convert(target, model, precision="float32")
    x = np.random.default_rng(0).standard_normal(flat).astype(np.float32)
    np.testing.assert_array_equal(
        load_program(folder / PACKAGE).predict({"x": x})["y"], reference(model, {"x": x})["y"]
    )


@pytest.mark.parametrize("keepdims", [0, 1])
def test_a_mean_over_some_of_six_axes_is_right(
    keepdims: int, build: Build, convert: Convert, reference: Reference
) -> None:
    nodes = [
        helper.make_node("Reshape", ["x", "six"], ["a"]),
        helper.make_node("ReduceMean", ["a"], ["m"], axes=[3, 5], keepdims=keepdims),
        helper.make_node("Reshape", ["m", "last"], ["y"]),
    ]
    constants = {"six": np.array([1, 3, 4, 2, 4, 2]), "last": np.array([1, 3, 4, 4])}
    model = build(nodes, {"x": [1, 3, 8, 8]}, {"y": [1, 3, 4, 4]}, constants)
    _, folder = convert(target, model, precision="float32")
    x = np.random.default_rng(0).standard_normal((1, 3, 8, 8)).astype(np.float32)
    got = load_program(folder / PACKAGE).predict({"x": x})["y"]
    np.testing.assert_allclose(got, reference(model, {"x": x})["y"], rtol=1e-5, atol=1e-6)


def test_what_computes_on_six_axes_is_refused_by_name(build: Build, convert: Convert) -> None:
    nodes = [
        helper.make_node("Reshape", ["x", "six"], ["a"]),
        helper.make_node("Softmax", ["a"], ["s"], axis=3, name="over windows"),
        helper.make_node("Reshape", ["s", "last"], ["y"]),
    ]
    constants = {"six": np.array([1, 3, 4, 2, 4, 2]), "last": np.array([1, 3, 8, 8])}
    with pytest.raises(TargetError, match=r"'over windows' .* rank 6"):
        convert(target, build(nodes, {"x": [1, 3, 8, 8]}, {"y": [1, 3, 8, 8]}, constants))
