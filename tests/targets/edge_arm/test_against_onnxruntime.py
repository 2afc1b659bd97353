"""Operators with drawn attributes: what is shipped gives what onnxruntime gives, or is refused by name."""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np
import onnxruntime
import pytest
from onnx import helper, numpy_helper

from agent.runtimes.litert import open_model
from targets._source.model import read_source
from targets.edge_arm._file import serialized
from targets.edge_arm._lowering import lower
from targets.edge_arm._registry import REGISTRY

if TYPE_CHECKING:
    from pathlib import Path

    import onnx
    from numpy.typing import NDArray

    Tensors = dict[str, NDArray]

DRAWS = 12


def _compare(node: onnx.NodeProto, inputs: Tensors, constants: Tensors, opset: int, folder: Path) -> None:
    graph = helper.make_graph(
        [node],
        "one",
        [
            helper.make_tensor_value_info(name, helper.np_dtype_to_tensor_dtype(array.dtype), array.shape)
            for name, array in inputs.items()
        ],
        [helper.make_empty_tensor_value_info(name) for name in node.output],
        [numpy_helper.from_array(array, name) for name, array in constants.items()],
    )
    model = helper.make_model(graph, opset_imports=[helper.make_opsetid("", opset)], ir_version=9)
    session = onnxruntime.InferenceSession(model.SerializeToString(), providers=["CPUExecutionProvider"])
    lowered = lower(read_source(model, REGISTRY.served()))
    if lowered.findings:
        # ONNX declares another shape than the one that follows from the attributes.
        assert "came out as" in lowered.findings[0].reason
        return
    path = folder / "model.tflite"
    path.write_bytes(serialized(lowered.graph))
    runtime = open_model(path, threads=1)
    got = runtime.run(inputs)
    runtime.close()
    for name, expected in zip(node.output, session.run(None, inputs), strict=True):
        assert got[name].shape == expected.shape
        np.testing.assert_allclose(got[name], expected, rtol=1e-3, atol=1e-4)


def _floats(random: np.random.Generator, *shape: int) -> NDArray[np.float32]:
    return random.standard_normal(shape).astype(np.float32)


@pytest.mark.parametrize("rank", [1, 2, 3])
@pytest.mark.parametrize("kind", ["MaxPool", "AveragePool", "LpPool"])
def test_pools_agree_with_any_window(tmp_path: Path, kind: str, rank: int) -> None:
    for seed in range(DRAWS):
        random = np.random.default_rng(seed)
        kernel = random.integers(1, 4, rank)
        settings = {
            "kernel_shape": kernel.tolist(),
            "strides": random.integers(1, 4, rank).tolist(),
            "pads": [int(random.integers(0, size)) for size in (*kernel, *kernel)],
        }
        if kind != "LpPool":
            settings |= {"dilations": random.integers(1, 3, rank).tolist(), "ceil_mode": int(random.integers(0, 2))}
        if kind == "AveragePool":
            settings["count_include_pad"] = int(random.integers(0, 2))
        outputs = ["y", "places"] if kind == "MaxPool" and seed % 2 else ["y"]
        node = helper.make_node(kind, ["x"], outputs, **settings)
        _compare(node, {"x": _floats(random, 2, 3, *random.integers(5, 9, rank))}, {}, 19, tmp_path)


@pytest.mark.parametrize("rank", [1, 2, 3])
def test_transposed_convolutions_agree_with_any_window(tmp_path: Path, rank: int) -> None:
    for seed in range(DRAWS):
        random = np.random.default_rng(seed)
        kernel, strides, dilations = (random.integers(1, high, rank) for high in (4, 4, 3))
        groups = int(random.choice([1, 2, 4]))
        weights = _floats(random, 4, 2, *kernel)
        settings = {
            "strides": strides.tolist(),
            "dilations": dilations.tolist(),
            "group": groups,
            "pads": [int(random.integers(0, size)) for size in (*kernel, *kernel)],
            "output_padding": [int(random.integers(0, stride)) for stride in strides],
        }
        node = helper.make_node("ConvTranspose", ["x", "w", "b"], ["y"], **settings)
        constants = {"w": weights, "b": _floats(random, 2 * groups)}
        _compare(node, {"x": _floats(random, 2, 4, *random.integers(4, 7, rank))}, constants, 11, tmp_path)


@pytest.mark.parametrize("aligned", [0, 1])
@pytest.mark.parametrize("padding", ["zeros", "border", "reflection"])
@pytest.mark.parametrize("mode", ["linear", "nearest", "cubic"])
def test_grids_agree_beyond_the_map(tmp_path: Path, mode: str, padding: str, aligned: int) -> None:
    random = np.random.default_rng(3)
    inputs = {"x": _floats(random, 2, 3, 6, 7), "grid": 1.3 * _floats(random, 2, 4, 5, 2)}
    node = helper.make_node("GridSample", ["x", "grid"], ["y"], mode=mode, padding_mode=padding, align_corners=aligned)
    _compare(node, inputs, {}, 20, tmp_path)


@pytest.mark.parametrize("reduction", ["add", "mul", "max", "min"])
def test_scatters_agree_where_an_index_comes_often(tmp_path: Path, reduction: str) -> None:
    random = np.random.default_rng(4)
    inputs = {"x": _floats(random, 3, 4, 5), "updates": _floats(random, 9, 4, 5)}
    constants = {"indices": random.integers(-3, 3, (9, 4, 5))}
    node = helper.make_node("ScatterElements", ["x", "indices", "updates"], ["y"], axis=0, reduction=reduction)
    _compare(node, inputs, constants, 18, tmp_path)


def test_a_scatter_agrees_at_places_that_the_caller_gives(tmp_path: Path) -> None:
    random = np.random.default_rng(5)
    places = random.permutation(12)[:4]
    inputs = {
        "x": _floats(random, 3, 4, 5),
        "indices": np.stack([places // 4, places % 4 - 4], axis=1).astype(np.int64),
        "updates": _floats(random, 4, 5),
    }
    _compare(helper.make_node("ScatterND", ["x", "indices", "updates"], ["y"]), inputs, {}, 18, tmp_path)


@pytest.mark.parametrize(
    ("equation", "shapes"),
    [
        ("bhqd,bhkd->bhqk", [(2, 3, 4, 5), (2, 3, 6, 5)]),
        ("...ij,jk->...ik", [(2, 3, 4), (4, 5)]),
        ("ij,k->kij", [(2, 3), (4,)]),
        ("bnd,nde->be", [(2, 3, 4), (3, 4, 5)]),
        ("ij,jk,kl->il", [(2, 3), (3, 4), (4, 5)]),
        ("iij->j", [(3, 3, 4)]),
        ("bi,bi->b", [(2, 3), (2, 3)]),
    ],
)
def test_einsum_agrees_for_any_equation(tmp_path: Path, equation: str, shapes: list[tuple[int, ...]]) -> None:
    random = np.random.default_rng(6)
    inputs = {f"x{place}": _floats(random, *shape) for place, shape in enumerate(shapes)}
    _compare(helper.make_node("Einsum", list(inputs), ["y"], equation=equation), inputs, {}, 12, tmp_path)
