"""Which end of a program stays in float32 where no single operation is to blame."""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np
from hypothesis import given
from hypothesis import strategies as st
from onnx import helper

from targets.coreml import target
from targets.coreml._composition import composition
from targets.coreml._package import PACKAGE
from targets.coreml._precision import least_end

if TYPE_CHECKING:
    from collections.abc import Callable
    from pathlib import Path

    import onnx
    from numpy.typing import NDArray

    from targets._target import Artifact

    Build = Callable[..., onnx.ModelProto]
    Convert = Callable[..., tuple[Artifact, Path]]
    Reference = Callable[[onnx.ModelProto, dict[str, NDArray]], dict[str, NDArray]]


@given(st.integers(2, 200), st.integers(0, 199), st.booleans())
def test_it_is_the_end_that_holds_what_matters_and_little_more(count: int, place: int, first: bool) -> None:  # noqa: FBT001 - drawn
    names = [f"o{number}" for number in range(count)]
    needed = min(place, count - 2)
    wanted = set(names[: needed + 1]) if first else set(names[count - needed - 1 :])
    found = least_end(names, lambda kept: wanted <= kept)
    grain = max(1, count // 32)
    if found is None:
        assert len(wanted) > count - grain - 1
    else:
        assert wanted <= found
        assert len(found) <= len(wanted) + grain


def test_there_is_none_where_all_or_nothing_suffices() -> None:
    names = [f"o{number}" for number in range(20)]
    assert least_end(names, lambda kept: len(kept) == 20) is None


def test_a_sum_that_cancels_late_keeps_its_end_in_float32(build: Build, convert: Convert, reference: Reference) -> None:
    # 24 layers that float16 takes, and then the difference of two numbers that are nearly the same.
    random = np.random.default_rng(0)
    nodes, constants = [], {}
    for layer in range(24):
        constants[f"w{layer}"] = (np.eye(16) + random.standard_normal((16, 16)) / 40).astype(np.float32)
        nodes.append(helper.make_node("MatMul", [f"x{layer}" if layer else "x", f"w{layer}"], [f"x{layer + 1}"]))
    constants["far"] = np.full(16, 300, np.float32)
    nodes += [
        helper.make_node("Add", ["x24", "far"], ["large"]),
        helper.make_node("Mul", ["large", "half"], ["halved"]),
        helper.make_node("Sub", ["halved", "middle"], ["y"]),
    ]
    constants |= {"half": np.full(16, 0.5, np.float32), "middle": np.full(16, 150, np.float32)}
    model = build(nodes, {"x": [1, 16]}, {"y": [1, 16]}, constants)
    artifact, folder = convert(target, model)
    x = random.standard_normal((1, 16)).astype(np.float32)
    got, expected = target.runner(artifact, folder).run({"x": x})["y"], reference(model, {"x": x})["y"]
    assert np.sqrt(np.mean((got - expected) ** 2) / np.mean(expected**2)) < 0.02
    precision = [layer.precision for layer in composition(folder / PACKAGE).layers if layer.operator != "cast"]
    assert precision.count("float16") > precision.count("float32")
