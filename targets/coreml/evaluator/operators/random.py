"""Random tensors.

Core ML does not say how its generators work: only shape, type and distribution can be the same. Here a seed gives the
same numbers in every call, and the seed -1, which asks for other numbers each time, does so too, so that two
evaluations of one program agree.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, cast

import numpy as np

from targets.coreml.evaluator._registry import operator
from targets.coreml.evaluator.operators.activations import softmax

if TYPE_CHECKING:
    from targets.coreml.evaluator._types import Array


def _generator(seed: Array | int) -> np.random.Generator:
    return np.random.default_rng(int(seed) & 0xFFFFFFFF)


def _lengths(shape: Array) -> list[int]:
    return [int(each) for each in shape]


@operator("random_uniform")
def random_uniform(shape: Array, low: Array | float = 0.0, high: Array | float = 1.0, seed: Array | int = -1) -> Array:
    return cast("Array", float(low) + (float(high) - float(low)) * _generator(seed).random(_lengths(shape)))


@operator("random_normal")
def random_normal(
    shape: Array, mean: Array | float = 0.0, stddev: Array | float = 1.0, seed: Array | int = -1
) -> Array:
    return cast("Array", float(mean) + float(stddev) * _generator(seed).standard_normal(_lengths(shape)))


@operator("random_bernoulli")
def random_bernoulli(shape: Array, prob: Array | float = 0.5, seed: Array | int = -1) -> Array:
    return cast("Array", _generator(seed).random(_lengths(shape)) < float(prob))


@operator("random_categorical")
def random_categorical(x: Array, mode: str = "logits", size: Array | int = 1, seed: Array | int = -1) -> Array:
    chances = softmax(x) if mode == "logits" else x / np.sum(x, axis=-1, keepdims=True)
    edges = np.cumsum(chances, axis=-1)[..., np.newaxis, :]
    drawn = _generator(seed).random((*x.shape[:-1], int(size), 1))
    return cast("Array", np.minimum(np.sum(drawn >= edges, axis=-1), x.shape[-1] - 1))
