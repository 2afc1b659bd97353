"""A damaged package is refused with words, whatever the damage."""

from __future__ import annotations

import contextlib
import resource
from typing import TYPE_CHECKING, Any

import numpy as np
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from targets._target import TargetError
from targets.coreml.evaluator import load_program
from tests.targets.coreml.evaluator.programs import builder, saved, target, types

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

MEMORY = 4 << 30


@pytest.fixture(scope="module")
def package(tmp_path_factory: pytest.TempPathFactory) -> Path:
    mb = builder()
    spec = mb.TensorSpec(shape=(1, 4, 8, 8), dtype=types().fp32)

    @mb.program(input_specs=[spec], opset_version=target("iOS17"))
    def program(x: Any) -> Any:  # noqa: ANN401 - coremltools has no types
        weight = np.arange(4 * 4 * 3 * 3, dtype=np.float32).reshape(4, 4, 3, 3)
        y = mb.conv(x=x, weight=weight, pad_type="same")
        y = mb.slice_by_index(x=y, begin=[0, 0, 1, 1], end=[1, 4, 7, 7])
        y = mb.reshape(x=y, shape=[4, 36])
        return mb.reduce_sum(x=mb.tile(x=y, reps=[1, 2]), axes=[1], name="y")

    return saved(tmp_path_factory.mktemp("damage"), program)


@pytest.fixture(scope="module", autouse=True)
def _limited() -> Iterator[None]:
    # A shape that the damage made huge must fail, and not take the machine with it.
    before = resource.getrlimit(resource.RLIMIT_DATA)
    resource.setrlimit(resource.RLIMIT_DATA, (MEMORY, before[1]))
    yield
    resource.setrlimit(resource.RLIMIT_DATA, before)


@settings(max_examples=150, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(st.data())
def test_a_changed_byte_ends_in_a_result_or_in_words(package: Path, data: st.DataObject) -> None:
    path = package / "Data" / "com.apple.CoreML" / data.draw(st.sampled_from(["model.mlmodel", "weights/weight.bin"]))
    whole = path.read_bytes()
    place = data.draw(st.integers(0, len(whole) - 1))
    path.write_bytes(whole[:place] + bytes([data.draw(st.integers(0, 255))]) + whole[place + 1 :])
    try:
        _used(package)
    finally:
        path.write_bytes(whole)


def _used(package: Path) -> None:
    with contextlib.suppress(TargetError):
        program = load_program(package)
        program.predict({each.name: np.ones([n or 1 for n in each.shape], each.dtype) for each in program.inputs})
