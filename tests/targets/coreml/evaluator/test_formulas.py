# ruff: noqa: ANN401 - coremltools has no types
"""Operators that no recorded case of Apple's reaches, held against the formula of Apple's documentation.

Each claim cites the page of coremltools' reference for MIL operators (``coremltools.converters.mil.mil.ops.defs``)
whose formula it writes out, once more and in another way than the evaluator does.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import numpy as np
import pytest

from targets.coreml.evaluator import EvaluationError, load_program
from targets.coreml.evaluator._registry import entry
from tests.targets.coreml.evaluator.programs import builder, saved, target, types

if TYPE_CHECKING:
    from pathlib import Path

CITED = frozenset(
    {
        ("ceil", "ios15"),
        ("classify", "ios15"),
        ("conv_quantized", "ios15"),
        ("crop_resize", "ios17"),
        ("local_response_norm", "ios15"),
        ("non_maximum_suppression", "ios15"),
        ("non_maximum_suppression", "ios17"),
        ("random_bernoulli", "ios15"),
        ("random_categorical", "ios15"),
        ("random_normal", "ios15"),
        ("random_uniform", "ios15"),
        ("scatter", "ios17"),
    }
)
"""Operators whose meaning is held here, with the operator set from which it holds."""


def kernel(name: str, opset: str = "ios15") -> Any:
    return entry(name, opset).kernel


def test_classify_gives_the_class_of_the_largest_probability_and_all_of_them() -> None:
    # iOS15.classify: the label, and a dictionary of class names and probabilities.
    probabilities = np.array([[0.2, 0.7, 0.1]], np.float32)
    label, chances = kernel("classify")(probabilities, ("cat", "dog", "bird"))
    assert label == "dog"
    assert chances == pytest.approx({"cat": 0.2, "dog": 0.7, "bird": 0.1})


def test_conv_quantized_multiplies_by_the_scale_and_adds_the_bias() -> None:
    # iOS15.conv.conv_quantized: W_float = W_quantized * scale + bias.
    weight = np.array([[[2], [3]], [[0], [255]]], np.uint8)
    x = np.array([[[1, 2], [10, 20]]], np.float32)
    y = kernel("conv_quantized")(x, weight, "linear", np.array([0.5, 2], np.float32), np.array([1, -1], np.float32))
    dense = np.array([[2 * 0.5 + 1, 3 * 0.5 + 1], [0 * 2 - 1, 255 * 2 - 1]])
    np.testing.assert_allclose(y[0], dense @ x[0], rtol=1e-6)


@pytest.mark.parametrize("size", [2, 3, 5])
def test_local_response_norm_divides_by_the_neighbours_squares(size: int) -> None:
    # iOS15.normalization.local_response_norm: x / (k + alpha / size * sum x_j^2) ^ beta; torch pads size // 2 before.
    x = np.random.default_rng(0).standard_normal((2, 6, 3)).astype(np.float32)
    got = kernel("local_response_norm")(x, size=np.int32(size), alpha=np.float32(0.3), beta=np.float32(0.6), k=1.5)
    for channel in range(6):
        first = channel - size // 2
        near = x[:, max(0, first) : max(0, first + size)]
        divisor = (1.5 + 0.3 / size * np.sum(near.astype(np.float64) ** 2, axis=1)) ** 0.6
        np.testing.assert_allclose(got[:, channel], x[:, channel] / divisor, rtol=1e-5)


def test_ceil_is_the_smallest_integer_that_is_not_less() -> None:
    # iOS15.elementwise_unary.ceil.
    assert kernel("ceil")(np.array([-1.5, -0.0, 0.2, 3], np.float32)).tolist() == [-1, 0, 1, 3]


@pytest.mark.parametrize("mode", ["add", "sub", "mul", "div", "max", "min", "update"])
def test_scatter_applies_each_update_in_turn(mode: str) -> None:
    # iOS17.scatter_gather.scatter: output[.., indices[i], ..] = mode(output[.., indices[i], ..], updates[.., i, ..]).
    data = np.arange(1, 13, dtype=np.float32).reshape(2, 3, 2)
    updates = np.array([[[2, 3], [4, 5], [6, 7]], [[1, 2], [3, 4], [5, 6]]], np.float32)
    places = np.array([2, 0, 2], np.int32)
    apply = {
        "add": lambda old, new: old + new,
        "sub": lambda old, new: old - new,
        "mul": lambda old, new: old * new,
        "div": lambda old, new: old / new,
        "max": max,
        "min": min,
        "update": lambda _, new: new,
    }[mode]
    expected = data.copy()
    for row in range(2):
        for turn, place in enumerate(places):
            for column in range(2):
                expected[row, place, column] = apply(expected[row, place, column], updates[row, turn, column])
    got = kernel("scatter", "ios17")(data, places, updates, np.int32(1), mode)
    np.testing.assert_allclose(got, expected, rtol=1e-6)


def test_crop_resize_looks_at_a_grid_between_a_boxs_corners() -> None:
    # iOS17.image_resizing.crop_resize, ALIGN_CORNERS of iOS15.resize_bilinear; beyond the image stands pad_value. The
    # image is its own coordinates, 1 + 4 * row + column, as in Apple's example.
    image = np.arange(1, 17, dtype=np.float32).reshape(1, 1, 4, 4)
    boxes = np.array([[0.1, 0.3, 1.3, 1.0], [0.0, 0.4, 0.6, 0.7]], np.float32)
    got = kernel("crop_resize", "ios17")(
        image,
        boxes,
        np.array([0, 0], np.int32),
        np.int32(2),
        np.int32(2),
        normalized_coordinates=np.bool_(True),  # noqa: FBT003 - the operator's own input
        sampling_mode="ALIGN_CORNERS",
        pad_value=np.float32(9),
    )
    rows, columns = np.array([0.3, 3.9]), np.array([0.9, 3.0])
    inside = 1 + 4 * rows[0] + columns
    np.testing.assert_allclose(got[0, 0], [inside, [9, 9]], rtol=1e-5)
    np.testing.assert_allclose(got[1, 0], 1 + 4 * np.array([[0.0], [1.8]]) + np.array([1.2, 2.1]), rtol=1e-5)


BOXES = np.array([[[0, 0, 2, 2], [0.1, 0, 2, 2], [5, 5, 2, 2], [0, 0, 2, 1.9]]], np.float32)
SCORES = np.array([[[0.9, 0.1], [0.2, 0.8], [0.3, 0.1], [0.7, 0.2]]], np.float32)


def test_suppression_keeps_the_best_of_those_that_overlap() -> None:
    # iOS15.tensor_operation.non_maximum_suppression: by descending score; IoU > threshold goes, and a low score.
    nms = kernel("non_maximum_suppression", "ios16")
    boxes, scores, places, count = nms(BOXES, SCORES, np.float32(0.5), np.float32(0.25), np.int32(3))
    assert places.tolist() == [[0, 2, -1]]
    assert count.tolist() == [2]
    assert np.array_equal(boxes[0, :2], BOXES[0, [0, 2]])
    assert np.array_equal(scores[0, :2], SCORES[0, [0, 2]])
    _, _, apart, _ = nms(BOXES, SCORES, np.float32(0.5), np.float32(0.25), np.int32(3), np.bool_(True))  # noqa: FBT003
    assert apart.tolist() == [[0, 1, 2]]
    _, _, _, few = nms(BOXES, SCORES, np.float32(0.5), np.float32(0.5), np.int32(3))
    assert few.tolist() == [1]


def test_suppression_of_ios_17_has_the_boxes_last_and_no_least_score() -> None:
    # iOS17.tensor_operation.non_maximum_suppression: [n, 4, B] and [n, K, B]; score_threshold and the count are gone.
    boxes, scores, places = kernel("non_maximum_suppression", "ios17")(
        BOXES.swapaxes(1, 2), SCORES.swapaxes(1, 2), np.float32(0.5), np.int32(2)
    )
    assert places.tolist() == [[0, 2]]
    assert np.array_equal(boxes[0].T, BOXES[0, [0, 2]])
    assert np.array_equal(scores[0].T, SCORES[0, [0, 2]])


@pytest.mark.parametrize(
    ("name", "arguments", "mean", "deviation"),
    [
        ("random_uniform", {"low": np.float32(2), "high": np.float32(4)}, 3, 2 / np.sqrt(12)),
        ("random_normal", {"mean": np.float32(5), "stddev": np.float32(0.5)}, 5, 0.5),
        ("random_bernoulli", {"prob": np.float32(0.3)}, 0.3, np.sqrt(0.21)),
    ],
)
def test_random_tensors_have_the_documented_distribution(
    name: str, arguments: dict[str, Any], mean: float, deviation: float
) -> None:
    # iOS15.random: shape and distribution; the generator is Core ML's own, so numbers can't be the same.
    drawn = kernel(name)(np.array([100, 200], np.int32), seed=np.int32(7), **arguments)
    assert drawn.shape == (100, 200)
    assert np.mean(drawn) == pytest.approx(mean, abs=0.03)
    assert np.std(drawn) == pytest.approx(deviation, abs=0.03)
    assert np.array_equal(drawn, kernel(name)(np.array([100, 200], np.int32), seed=np.int32(7), **arguments))


def test_categories_are_drawn_by_their_probability() -> None:
    # iOS15.random.random_categorical: the last axis holds logits, or probabilities; `size` draws with replacement.
    chances = np.array([[0.1, 0.6, 0.3]], np.float32)
    for values, mode in ((np.log(chances), "logits"), (chances, "probs")):
        drawn = kernel("random_categorical")(values, mode, np.int32(20000), np.int32(3))
        shares = np.bincount(drawn[0].astype(int), minlength=3) / 20000
        np.testing.assert_allclose(shares, chances[0], atol=0.02)


@pytest.mark.parametrize("system", ["iOS17", "iOS18"])
def test_an_index_that_counts_from_the_end_is_refused_where_apple_defines_none(tmp_path: Path, system: str) -> None:
    # iOS17.scatter_gather.gather: negative values are out of bounds, and what they do is undefined.
    mb = builder()
    specs = [mb.TensorSpec(shape=(3,), dtype=types().fp32), mb.TensorSpec(shape=(1,), dtype=types().int32)]

    @mb.program(input_specs=specs, opset_version=target(system))
    def program(x: Any, place: Any) -> Any:
        return mb.gather(x=x, indices=place, axis=0, name="y")

    loaded = load_program(saved(tmp_path, program, system=system))
    x = np.array([1, 2, 3], np.float32)
    assert loaded.predict({"x": x, "place": np.array([2], np.int32)})["y"].tolist() == [3]
    with pytest.raises(EvaluationError, match="an index is outside the axis"):
        loaded.predict({"x": x, "place": np.array([-1], np.int32)})


def test_before_ios_17_an_index_may_count_from_the_end(tmp_path: Path) -> None:
    # iOS15.scatter_gather.gather: -D[axis] <= v < D[axis].
    mb = builder()
    specs = [mb.TensorSpec(shape=(3,), dtype=types().fp32), mb.TensorSpec(shape=(1,), dtype=types().int32)]

    @mb.program(input_specs=specs, opset_version=target("iOS16"))
    def program(x: Any, place: Any) -> Any:
        return mb.gather(x=x, indices=place, axis=0, name="y")

    loaded = load_program(saved(tmp_path, program, system="iOS16"))
    given = {"x": np.array([1, 2, 3], np.float32), "place": np.array([-1], np.int32)}
    assert loaded.predict(given)["y"].tolist() == [3]


def test_a_convolution_whose_channels_do_not_fit_is_refused() -> None:
    # iOS15.conv: C_in / groups is the weight's second axis.
    with pytest.raises(ValueError, match="Conv"):
        kernel("conv")(np.ones((1, 3, 4, 4), np.float32), np.ones((2, 2, 1, 1), np.float32))
