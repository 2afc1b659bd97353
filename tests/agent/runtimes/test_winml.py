"""The runtime of Windows: known only there, its version that of the system, its file onnxruntime's."""

from __future__ import annotations

import platform
from typing import TYPE_CHECKING

import numpy as np
import onnx
from onnx import helper

from agent.runtimes import _runtime, winml

if TYPE_CHECKING:
    from pathlib import Path

    import pytest


def test_no_other_system_has_it() -> None:
    assert platform.system() != "Windows"
    assert not _runtime.is_available("winml")
    assert _runtime.installed_version("winml") == ""


def test_its_version_is_that_of_windows(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(platform, "system", lambda: "Windows")
    monkeypatch.setattr(platform, "version", lambda: "10.0.19045")
    assert _runtime.is_available("winml")
    assert _runtime.installed_version("winml") == "10.0.19045"
    assert not _runtime.is_available("coreml")


def test_a_file_of_the_oldest_windows_is_run_by_onnxruntime(tmp_path: Path) -> None:
    tensor = helper.make_tensor_value_info("x", 1, [2])
    graph = helper.make_graph(
        [helper.make_node("Relu", ["x"], ["y"])], "old", [tensor], [helper.make_tensor_value_info("y", 1, [2])]
    )
    old = helper.make_model(graph, opset_imports=[helper.make_opsetid("", 7)], ir_version=3)
    onnx.save(old, tmp_path / "old.onnx")
    runtime = winml.open_model(tmp_path / "old.onnx", threads=1)
    np.testing.assert_array_equal(runtime.run({"x": np.array([-1, 2], np.float32)})["y"], [0, 2])
    runtime.close()
