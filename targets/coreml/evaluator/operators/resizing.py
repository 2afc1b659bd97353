"""Resizing of images, and crops of them at a fixed size."""

from __future__ import annotations

from typing import TYPE_CHECKING, cast

import numpy as np

from targets.coreml.evaluator._registry import operator

if TYPE_CHECKING:
    from targets.coreml.evaluator._types import Array

_WITH_INDEX = 5
"""Rows of a region of interest that begins with the image's place in the batch."""


def _grid(begin: Array | float, length: Array | float, count: int, mode: str) -> Array:
    """Where to look along an axis: `count` places in the interval of `length` pixels from `begin` on.

    The formulas are those of ``resize_bilinear`` in Apple's documentation.
    """
    place = np.arange(count, dtype=np.float64)
    last = length - 1
    match mode:
        case "STRICT_ALIGN_CORNERS" | "ALIGN_CORNERS" if count > 1:
            grid = place * (last / (count - 1))
        case "STRICT_ALIGN_CORNERS":
            grid = place * 0.0
        case "ALIGN_CORNERS":
            grid = place * 0.0 + last / 2
        case "DEFAULT":
            grid = place * (length / count)
        case "OFFSET_CORNERS":
            delta = np.maximum(1, last) / count
            grid = 0.5 * delta + place * delta
        case "UNALIGN_CORNERS":
            if last < 0:
                raise ValueError("a box whose end lies before its start is not documented for UNALIGN_CORNERS")
            spacing = length / count
            grid = place * spacing + 0.5 * spacing - 0.5
        case _:
            raise ValueError(f"unknown sampling mode '{mode}'")
    return cast("Array", begin + np.clip(grid, np.minimum(0, last), np.maximum(0, last)))


def _along(x: Array, grid: Array, axis: int) -> Array:
    """Linear interpolation at the grid's places."""
    low = np.clip(np.floor(grid).astype(int), 0, x.shape[axis] - 1)
    high = np.minimum(low + 1, x.shape[axis] - 1)
    share = (grid - low).astype(np.float32)
    share = share.reshape([-1 if place == axis % x.ndim else 1 for place in range(x.ndim)])
    return cast("Array", np.take(x, low, axis) * (1 - share) + np.take(x, high, axis) * share)


def _nearest_to_centre(x: Array, count: int, axis: int) -> Array:
    """Each pixel's centre decides, as in Apple's conversion of TensorFlow's ``half_pixel_centers``."""
    return cast("Array", np.take(x, (2 * np.arange(count) + 1) * x.shape[axis] // (2 * count), axis))


@operator("upsample_nearest_neighbor", moves=True)
def upsample_nearest_neighbor(
    x: Array, scale_factor_height: Array | float = 1, scale_factor_width: Array | float = 1
) -> Array:
    for axis, factor in ((-2, scale_factor_height), (-1, scale_factor_width)):
        count = int(np.floor(np.float32(factor) * x.shape[axis]))
        # A factor that gives no whole length is forgotten: the lengths' ratio counts, as Apple's test of it expects.
        x = np.take(x, np.arange(count) * x.shape[axis] // count, axis)
    return x


@operator("resize_nearest_neighbor", moves=True)
def resize_nearest_neighbor(x: Array, target_size_height: Array, target_size_width: Array) -> Array:
    return _nearest_to_centre(_nearest_to_centre(x, int(target_size_height), -2), int(target_size_width), -1)


@operator("upsample_bilinear")
def upsample_bilinear(
    x: Array,
    scale_factor_height: Array | float = 1,
    scale_factor_width: Array | float = 1,
    align_corners: Array | bool = True,
    half_pixel_centers: Array | bool | None = None,
) -> Array:
    aligned = bool(align_corners)
    centred = not aligned if half_pixel_centers is None else bool(half_pixel_centers)
    if aligned and centred:
        raise ValueError("aligned corners with half-pixel centres are not documented")
    mode = "STRICT_ALIGN_CORNERS" if aligned else "UNALIGN_CORNERS" if centred else "DEFAULT"
    for axis, factor in ((-2, scale_factor_height), (-1, scale_factor_width)):
        count = int(np.floor(np.float32(factor) * x.shape[axis]))
        x = _along(x, _grid(0, x.shape[axis], count, mode), axis)
    return x


@operator("resize_bilinear")
def resize_bilinear(
    x: Array,
    target_size_height: Array | int = 1,
    target_size_width: Array | int = 1,
    sampling_mode: str = "DEFAULT",
) -> Array:
    for axis, count in ((-2, int(target_size_height)), (-1, int(target_size_width))):
        x = _along(x, _grid(0, x.shape[axis], count, sampling_mode), axis)
    return x


@operator("resize", since="ios17")
def resize(
    x: Array,
    shape: Array,
    resized_dims: Array,
    interpolation_mode: str = "LINEAR",
    sampling_mode: str = "DEFAULT",
) -> Array:
    count = int(resized_dims)
    for axis, wanted in zip(range(-count, 0), (int(each) for each in shape[-count:]), strict=True):
        length = wanted or x.shape[axis]
        if interpolation_mode == "LINEAR":
            x = _along(x, _grid(0, x.shape[axis], length, sampling_mode), axis)
        elif sampling_mode == "DEFAULT":
            x = _nearest_to_centre(x, length, axis)
        else:
            grid = _grid(0, x.shape[axis], length, sampling_mode)
            x = np.take(x, np.floor(grid + 0.5).astype(int), axis)
    return x


def _corners(box: Array, mode: str) -> tuple[float, float, float, float]:
    """Top, left, bottom, right."""
    a, b, c, d = (float(each) for each in box)
    match mode:
        case "CORNERS_HEIGHT_FIRST":
            return a, b, c, d
        case "CORNERS_WIDTH_FIRST":
            return b, a, d, c
        case "CENTER_SIZE_HEIGHT_FIRST":
            return a - c / 2, b - d / 2, a + c / 2, b + d / 2
        case "CENTER_SIZE_WIDTH_FIRST":
            return b - d / 2, a - c / 2, b + d / 2, a + c / 2
    raise ValueError(f"unknown mode of box coordinates '{mode}'")


def _cropped(
    image: Array,
    corners: tuple[float, float, float, float],
    size: tuple[int, int],
    *,
    normalized: bool,
    scale: float,
    sampling_mode: str,
    pad_value: float,
) -> Array:
    top, left, bottom, right = (each * scale for each in corners)
    outside: list[Array] = []
    for axis, (begin, end), count in ((1, (top, bottom), size[0]), (2, (left, right), size[1])):
        length = image.shape[axis]
        first, last = (begin * (length - 1), end * (length - 1)) if normalized else (begin, end)
        grid = _grid(first, last - first + 1, count, sampling_mode)
        outside.append((grid < 0) | (grid > length - 1))
        image = _along(image, np.clip(grid, 0, length - 1), axis)
    return np.where(outside[0][:, np.newaxis] | outside[1], np.float32(pad_value), image)


@operator("crop_resize", until="ios16")
def crop_resize_regions(
    x: Array,
    roi: Array,
    target_height: Array | int = 1,
    target_width: Array | int = 1,
    normalized_coordinates: Array | bool = False,
    spatial_scale: Array | float = 1.0,
    box_coordinate_mode: str = "CORNERS_HEIGHT_FIRST",
    sampling_mode: str = "DEFAULT",
    pad_value: Array | float = 0.0,
) -> Array:
    crops = []
    for region in roi.reshape(roi.shape[0], -1):
        images = x[int(region[0])][np.newaxis] if region.size == _WITH_INDEX else x
        corners = _corners(region[-4:], box_coordinate_mode)
        crops.append(
            [
                _cropped(
                    image,
                    corners,
                    (int(target_height), int(target_width)),
                    normalized=bool(normalized_coordinates),
                    scale=float(spatial_scale),
                    sampling_mode=sampling_mode,
                    pad_value=float(pad_value),
                )
                for image in images
            ]
        )
    return np.array(crops)


@operator("crop_resize", since="ios17")
def crop_resize(
    x: Array,
    boxes: Array,
    box_indices: Array | None = None,
    target_height: Array | int = 1,
    target_width: Array | int = 1,
    normalized_coordinates: Array | bool = False,
    spatial_scale: Array | float = 1.0,
    box_coordinate_mode: str = "CORNERS_HEIGHT_FIRST",
    sampling_mode: str = "DEFAULT",
    pad_value: Array | float = 0.0,
) -> Array:
    images = np.arange(len(boxes)) if box_indices is None else box_indices
    return np.array(
        [
            _cropped(
                x[int(image)],
                _corners(box, box_coordinate_mode),
                (int(target_height), int(target_width)),
                normalized=bool(normalized_coordinates),
                scale=float(spatial_scale),
                sampling_mode=sampling_mode,
                pad_value=float(pad_value),
            )
            for image, box in zip(images, boxes, strict=True)
        ]
    )
