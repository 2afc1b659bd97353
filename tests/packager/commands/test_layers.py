"""`pack inspect` shows what a shipped file is made of."""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np
import onnx
from onnx import TensorProto, helper, numpy_helper

if TYPE_CHECKING:
    from pathlib import Path

    import pytest

    from tests.packager.conftest import Pack


def save_model(path: Path) -> None:
    """A product by 32 x 16 numbers and a look-up."""
    weights = np.random.default_rng(0).standard_normal((32, 16)).astype(np.float32) / 8
    nodes = [
        helper.make_node("MatMul", ["x", "w"], ["y"], name="product"),
        helper.make_node("Gather", ["y", "i"], ["z"], name="choice", axis=1),
    ]
    constants = [numpy_helper.from_array(weights, "w"), numpy_helper.from_array(np.array([0, 2]), "i")]
    graph = helper.make_graph(
        nodes,
        "net",
        [helper.make_tensor_value_info("x", TensorProto.FLOAT, [1, 32])],
        [helper.make_tensor_value_info("z", TensorProto.FLOAT, [1, 2])],
        constants,
    )
    onnx.save(helper.make_model(graph, opset_imports=[helper.make_opsetid("", 17)], ir_version=8), path)


def test_inspect_shows_the_layers_of_each_target_that_knows_them(pack: Pack, tmp_path: Path) -> None:
    save_model(tmp_path / "net.onnx")
    built = pack("-m", tmp_path / "net.onnx", "-t", "coreml", "-t", "cloud", "--unsigned")
    assert built.code == 0, built.err
    shown = " ".join(pack("inspect", "net:0@coreml").out.split())
    for part in ("precision", "float16", "1.0", "linear", "not by Neural Engine", "gathering runs on the CPU"):
        assert part in shown
    rows = pack("inspect", "net:0@coreml", "--layers").out
    assert rows.index(" linear ") < rows.index(" gather ")
    document = pack("inspect", "net:0@coreml", "--layers", "-o", "json").document
    assert {remark["unit"] for remark in document["remarks"]} == {"Neural Engine"}
    sizes = {layer["operator"]: layer["weight_bytes"] for layer in document["layers"]}
    assert 32 * 16 * 2 <= sizes["linear"] < 32 * 16 * 2 + 200
    assert "product" in pack("inspect", "net:0@cloud", "--layers", "-o", "tag").out.splitlines()


def test_a_bundle_whose_target_is_not_here_has_no_layers_and_says_so(
    pack: Pack, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    save_model(tmp_path / "net.onnx")
    assert pack("-m", tmp_path / "net.onnx", "-t", "cloud", "--unsigned").code == 0
    monkeypatch.setattr("packager.availability.installed_version", lambda _: None)
    ran = pack("inspect", "net:0@cloud", "--layers")
    assert ran.code == 2
    assert "[inspect.layers]" in ran.err
    assert pack("inspect", "net:0@cloud").code == 0
