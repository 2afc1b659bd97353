"""Both runtimes: the source's names, refusal of what does not fit by name, outputs that are the caller's own."""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np
import onnx
import pytest
from onnx import helper

from agent.runtimes import litert, onnxruntime
from targets.edge_arm import target

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path
    from types import ModuleType

    from numpy.typing import NDArray

    from agent.runtimes._runtime import Runtime

    Tensors = dict[str, NDArray[np.generic]]


@pytest.fixture
def model() -> onnx.ModelProto:
    graph = helper.make_graph(
        [
            helper.make_node("Add", ["left:0", "right"], ["sum"]),
            helper.make_node("Mul", ["left:0", "right"], ["product"]),
        ],
        "two",
        [helper.make_tensor_value_info(name, 1, [2, 3]) for name in ("left:0", "right")],
        [helper.make_tensor_value_info(name, 1, [2, 3]) for name in ("sum", "product")],
    )
    return helper.make_model(graph, opset_imports=[helper.make_opsetid("", 17)], ir_version=8)


@pytest.fixture(params=["onnxruntime", "litert"])
def runtime(request: pytest.FixtureRequest, model: onnx.ModelProto, tmp_path: Path) -> Iterator[Runtime]:
    if request.param == "onnxruntime":
        onnx.save(model, tmp_path / "model.onnx")
        opened = onnxruntime.open_model(tmp_path / "model.onnx", threads=1)
    else:
        onnx.save(model, tmp_path / "model.onnx")
        (tmp_path / "out").mkdir()
        artifact = target.convert(tmp_path / "model.onnx", target.Options(), None, tmp_path / "out")
        opened = litert.open_model(tmp_path / "out" / artifact.runtime.entry, threads=1)
    yield opened
    opened.close()


def _inputs(value: float = 2.0) -> Tensors:
    return {"left:0": np.full((2, 3), value, np.float32), "right": np.full((2, 3), 3, np.float32)}


def test_names_are_the_sources(runtime: Runtime) -> None:
    result = runtime.run(_inputs())
    assert set(result) == {"sum", "product"}
    assert result["sum"].tolist() == [[5.0] * 3] * 2
    assert result["product"].tolist() == [[6.0] * 3] * 2


def test_a_result_is_not_overwritten_by_the_next_call(runtime: Runtime) -> None:
    first = runtime.run(_inputs())["sum"]
    runtime.run(_inputs(100.0))
    assert first.tolist() == [[5.0] * 3] * 2


def test_inputs_of_any_memory_order_are_taken(runtime: Runtime) -> None:
    inputs = _inputs()
    inputs["right"] = np.arange(6, dtype=np.float32).reshape(3, 2).T
    assert runtime.run(inputs)["sum"].tolist() == (inputs["right"] + 2).tolist()


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"right": None}, "input 'right' is missing"),
        ({"more": np.zeros((2, 3), np.float32)}, "input 'more' is not one of the model's"),
        ({"right": np.zeros((2, 3))}, "dtype of input 'right' does not match: expected float32, got float64"),
        ({"right": np.zeros((2, 3), np.int32)}, "dtype of input 'right' does not match: expected float32, got int32"),
        (
            {"right": np.zeros((1, 3), np.float32)},
            r"shape of input 'right' does not match: expected \[2, 3\], got \[1, 3\]",
        ),
        ({"right": np.zeros(3, np.float32)}, r"shape of input 'right' does not match: expected \[2, 3\], got \[3\]"),
    ],
)
def test_an_input_that_does_not_fit_is_refused_by_name(
    runtime: Runtime, change: dict[str, NDArray[np.generic] | None], message: str
) -> None:
    inputs = {name: array for name, array in (_inputs() | change).items() if array is not None}
    with pytest.raises(ValueError, match=message):
        runtime.run(inputs)


@pytest.mark.parametrize("module", [onnxruntime, litert])
def test_a_file_that_is_no_model_is_refused(module: ModuleType, tmp_path: Path) -> None:
    (tmp_path / "model").write_bytes(b"not a model at all, not a model at all")
    with pytest.raises(ValueError, match="can't load 'model'"):
        module.open_model(tmp_path / "model", threads=1)
