"""Bundles on an emulated Arm computer: the agent's self-test passes there, and a file computes what it computes here.

Emulated: instructions are Arm's and so is LiteRT's build, but the processor, its timing and the kernel are not.
"""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING

import msgspec
import numpy as np
import pytest

from agent import jobs
from agent.runtimes.litert import open_model
from hw_tests.edge_arm.conftest import CASES
from hw_tests.edge_arm.emulation import Absent, machine
from hw_tests.edge_arm.processes import answer

if TYPE_CHECKING:
    from collections.abc import Callable

    from numpy.typing import NDArray

    from hw_tests.edge_arm.conftest import Packed
    from hw_tests.edge_arm.emulation import Emulated

    Pack = Callable[[str], Packed]


@pytest.fixture(scope="session")
def arm() -> Emulated:
    try:
        return machine()
    except Absent as reason:
        pytest.skip(str(reason))


def _run(arm: Emulated, *words: str | Path) -> str:
    return answer(arm.command(*words), arm.environment())


def test_the_emulated_computer_is_of_the_other_architecture(arm: Emulated) -> None:
    assert _run(arm, "-c", "import platform; print(platform.machine())").strip() == "aarch64"


@pytest.mark.parametrize("name", CASES)
def test_the_agents_self_test_passes(arm: Emulated, packed: Pack, name: str) -> None:
    bundle = packed(name)
    line = _run(arm, "-m", "agent.selftest", bundle.slot).strip().splitlines()[-1]
    assert msgspec.json.decode(line, type=jobs.Tested).samples == bundle.manifest.golden.samples


@pytest.mark.parametrize("name", CASES)
def test_a_file_computes_on_arm_what_it_computes_here(arm: Emulated, packed: Pack, name: str, tmp_path: Path) -> None:
    bundle = packed(name)
    path = bundle.files / bundle.manifest.runtime.entry
    given = _inputs(bundle)
    np.savez(tmp_path / "given.npz", **given)
    _run(arm, Path(__file__).with_name("calls.py"), path, tmp_path / "given.npz", tmp_path / "out.npz", "1")
    runtime = open_model(path, threads=1)
    runtime.reset()
    expected = runtime.run(given)
    golden = bundle.manifest.golden
    with np.load(tmp_path / "out.npz") as got:
        for output, array in expected.items():
            np.testing.assert_allclose(got[output], array, rtol=golden.rtol, atol=golden.atol)


def _inputs(bundle: Packed) -> dict[str, NDArray[np.generic]]:
    random = np.random.default_rng(7)
    return {
        entry.name: random.standard_normal([int(size) for size in entry.shape]).astype(entry.dtype)
        for entry in bundle.manifest.signature.inputs
    }
