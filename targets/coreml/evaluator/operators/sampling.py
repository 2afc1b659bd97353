"""Images sampled at given places."""

from __future__ import annotations

from typing import TYPE_CHECKING, cast

import numpy as np

from targets.coreml.evaluator._registry import operator

if TYPE_CHECKING:
    from targets.coreml.evaluator._types import Array


def _pixels(coordinates: Array, length: int, mode: str, *, align_corners: bool) -> Array:
    """Coordinates along one axis, in pixels of an axis of that length."""
    values = coordinates.astype(np.float64)
    if mode == "unnormalized":
        return values
    if mode == "normalized_minus_one_to_one":
        values = (values + 1) / 2
    elif mode != "normalized_zero_to_one":
        raise ValueError(f"unknown mode of coordinates '{mode}'")
    return cast("Array", values * (length - 1) if align_corners else values * length - 0.5)


def _reflected(values: Array, low: float, high: float) -> Array:
    """Values thrown back at both ends until they lie between them."""
    span = high - low
    if span <= 0:
        return np.zeros_like(values) + low
    folded = np.mod(values - low, 2 * span)
    return cast("Array", low + np.where(folded > span, 2 * span - folded, folded))


def _sampled(x: Array, columns: Array, rows: Array, *, nearest: bool, padding: str, fill: float) -> Array:
    """One image of shape (C, H, W) at places of shape (H2, W2)."""
    height, width = x.shape[1:]
    if padding == "border":
        rows, columns = np.clip(rows, 0, height - 1), np.clip(columns, 0, width - 1)
    elif padding == "reflection":
        rows, columns = _reflected(rows, 0, height - 1), _reflected(columns, 0, width - 1)
    elif padding == "symmetric":
        rows = np.clip(_reflected(rows, -0.5, height - 0.5), 0, height - 1)
        columns = np.clip(_reflected(columns, -0.5, width - 0.5), 0, width - 1)
    elif padding != "constant":
        raise ValueError(f"unknown padding mode '{padding}'")

    def pixel(row: Array, column: Array) -> Array:
        inside = (row >= 0) & (row < height) & (column >= 0) & (column < width)
        values = x[:, np.clip(row, 0, height - 1), np.clip(column, 0, width - 1)]
        return np.where(inside, values, np.float32(fill))

    if nearest:
        return pixel(np.rint(rows).astype(int), np.rint(columns).astype(int))
    top, left = np.floor(rows).astype(int), np.floor(columns).astype(int)
    down, right = (rows - top).astype(np.float32), (columns - left).astype(np.float32)
    upper = pixel(top, left) * (1 - right) + pixel(top, left + 1) * right
    lower = pixel(top + 1, left) * (1 - right) + pixel(top + 1, left + 1) * right
    return cast("Array", upper * (1 - down) + lower * down)


@operator("resample")
def resample(
    x: Array,
    coordinates: Array,
    sampling_mode: str,
    padding_mode: str,
    padding_value: Array,
    coordinates_mode: str,
    align_corners: Array,
) -> Array:
    if sampling_mode not in {"bilinear", "nearest"}:
        raise ValueError(f"unknown sampling mode '{sampling_mode}'")
    height, width = x.shape[2:]
    aligned = bool(align_corners)
    return np.stack(
        [
            _sampled(
                image,
                _pixels(places[..., 0], width, coordinates_mode, align_corners=aligned),
                _pixels(places[..., 1], height, coordinates_mode, align_corners=aligned),
                nearest=sampling_mode == "nearest",
                padding=padding_mode,
                fill=float(padding_value),
            )
            for image, places in zip(x, coordinates, strict=True)
        ]
    )


@operator("affine")
def affine(
    x: Array,
    transform_matrix: Array,
    output_height: Array,
    output_width: Array,
    sampling_mode: str,
    padding_mode: str,
    padding_value: Array,
    coordinates_mode: str,
    align_corners: Array,
) -> Array:
    if not bool(align_corners) or coordinates_mode != "normalized_minus_one_to_one":
        raise ValueError("only aligned corners and coordinates from -1 to 1 are documented")
    rows = np.linspace(-1, 1, int(output_height)) if int(output_height) > 1 else np.array([-1.0])
    columns = np.linspace(-1, 1, int(output_width)) if int(output_width) > 1 else np.array([-1.0])
    matrices = np.broadcast_to(transform_matrix.astype(np.float64), (x.shape[0], 6))
    places = [
        np.stack(
            [
                a0 * columns + a1 * rows[:, np.newaxis] + a2,
                b0 * columns + b1 * rows[:, np.newaxis] + b2,
            ],
            axis=-1,
        )
        for a0, a1, a2, b0, b1, b2 in matrices
    ]
    return resample(x, np.stack(places), sampling_mode, padding_mode, padding_value, coordinates_mode, align_corners)
