"""A vendor's project through `pack`: a worker in the toolchain's environment, and the gate over the emulation."""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np
import onnx
import pytest

from packager.toolchains.choice import find_toolchain
from tests.packager.conftest import pack
from tests.targets.fpga.models import mlp

if TYPE_CHECKING:
    from pathlib import Path

    from tests.packager.conftest import Pack

__all__ = ["pack"]
_GATE = 4
_PROJECT = """[model]
source = "model.onnx"
name = "small"

[targets.fpga]
vendor = "quartus"
hls = {{ synthesis = "never", softmax = "{softmax}" }}

[data]
calibration = "samples.npz"
"""


@pytest.mark.slow
@pytest.mark.parametrize(("softmax", "code"), [("host", 0), ("device", _GATE)])
def test_a_softmax_is_shipped_on_the_host_and_stopped_by_the_gate_on_the_device(
    pack: Pack,
    tmp_path: Path,
    softmax: str,
    code: int,
) -> None:
    if find_toolchain("hls4ml") is None:
        pytest.skip("the toolchain is not here: pack toolchain install hls4ml")
    onnx.save(mlp((6, 8, 3), seed=1), tmp_path / "model.onnx")
    samples = np.random.default_rng(0).normal(size=(40, 6)).astype(np.float32)
    np.savez(tmp_path / "samples.npz", x=samples)
    (tmp_path / "pack.toml").write_text(_PROJECT.format(softmax=softmax))
    ran = pack("--unsigned", "-t", "fpga", at=tmp_path)
    assert ran.code == code, ran.err
    assert ("gate.parity" in ran.err) == (code == _GATE)
