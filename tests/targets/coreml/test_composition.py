"""What a package is said to be made of is what stands in it."""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np
import pytest
from onnx import helper

from targets.coreml import target
from targets.coreml._neural_engine import Seen, remarks

if TYPE_CHECKING:
    from collections.abc import Callable
    from pathlib import Path

    import onnx

    from targets._composition import Composition
    from targets._target import Artifact

    Build = Callable[..., onnx.ModelProto]
    Convert = Callable[..., tuple[Artifact, Path]]

WEIGHTS = 64 * 96


@pytest.fixture
def dense(build: Build) -> onnx.ModelProto:
    """A product by 64 x 96 numbers, of which two are then looked up."""
    nodes = [
        helper.make_node("MatMul", ["x", "w"], ["y"]),
        helper.make_node("Softmax", ["y"], ["s"]),
        helper.make_node("Gather", ["s", "i"], ["z"], axis=1),
    ]
    weights = np.random.default_rng(0).standard_normal((64, 96)).astype(np.float32) / 8
    return build(nodes, {"x": ["n", 64]}, {"z": ["n", 2]}, {"w": weights, "i": np.array([3, 5])})


def composed(artifact: Artifact, folder: Path) -> Composition:
    return target.composition(artifact, folder)


@pytest.mark.parametrize(
    ("options", "least", "most"),
    [
        ({"precision": "float32"}, 4 * WEIGHTS, 4 * WEIGHTS + 600),
        ({"precision": "float16"}, 2 * WEIGHTS, 2 * WEIGHTS + 600),
        ({"compress": "int8"}, WEIGHTS, WEIGHTS + 1200),
        ({"compress": "palettize-4", "compress_limit": 1}, WEIGHTS // 2, WEIGHTS // 2 + 600),
    ],
)
def test_a_layer_has_the_weights_that_it_reads_as_they_are_stored(
    dense: onnx.ModelProto, convert: Convert, options: dict[str, object], least: int, most: int
) -> None:
    found = composed(*convert(target, dense, **options))
    sizes = {layer.operator: layer.weight_bytes for layer in found.layers}
    assert least <= sizes["linear"] <= most
    assert sizes["softmax"] < 100
    total = sum(layer.weight_bytes for layer in found.layers)
    assert total < sizes["linear"] + 500


def test_weights_that_functions_share_are_counted_once(dense: onnx.ModelProto, convert: Convert) -> None:
    functions = {"one": {"n": 1}, "four": {"n": 4}}
    found = composed(*convert(target, dense, minimum="ios18", functions=functions))
    assert 2 * WEIGHTS <= sum(layer.weight_bytes for layer in found.layers) < 2 * WEIGHTS + 1200
    assert {layer.name.partition("/")[0] for layer in found.layers} == set(functions)


def test_each_layer_says_what_it_computes_in(dense: onnx.ModelProto, convert: Convert) -> None:
    found = composed(*convert(target, dense, precision="float16", float32_ops=("softmax",)))
    precision = {layer.operator: layer.precision for layer in found.layers if layer.operator != "cast"}
    assert precision["linear"] == "float16"
    assert precision["softmax"] == "float32"


def test_what_the_neural_engine_does_not_take_is_named_with_its_source(
    dense: onnx.ModelProto, convert: Convert
) -> None:
    found = composed(*convert(target, dense, float32_ops=("softmax",), dimensions={"n": "1..4"}))
    by_operator = {layer.operator: layer.name for layer in found.layers}
    named = {remark.layers for remark in found.remarks}
    assert (by_operator["softmax"],) in named
    assert (by_operator["gather"],) in named
    assert ("x",) in named
    assert all(remark.source.startswith("https://") for remark in found.remarks)


def test_nothing_is_said_of_a_layer_that_no_rule_names() -> None:
    plain = [Seen("a", "conv", "float16", 4), Seen("b", "cast", "float32", 4), Seen("c", "softmax", "float16", 2)]
    assert remarks(plain, ()) == ()


@pytest.mark.parametrize(
    ("operator", "rank"),
    [("lstm", 3), ("scatter_nd", 2), ("reduce_prod", 1), ("gather", 2), ("conv", 5), ("resample", 4), ("sin", 2)],
)
def test_each_rule_finds_its_operator(operator: str, rank: int) -> None:
    (found,) = remarks([Seen("a", operator, "float16", rank), Seen("b", "relu", "float16", 4)], ())
    assert found.layers == ("a",)
