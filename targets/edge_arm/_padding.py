"""Which sliding windows TFLite's two paddings make. Everything here is pure."""

from __future__ import annotations

from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from targets._source.window import Window


def is_same(view: Window) -> bool:
    """Whether TFLite's SAME pads exactly so; source: `ComputePaddingWithOffset` in tflite/kernels/padding.h."""
    total = [max(before + reach, 0) for before, reach in zip(view.before, view.reach, strict=True)]
    counts = tuple(-(-size // stride) for size, stride in zip(view.sizes, view.strides, strict=True))
    return counts == view.outputs and tuple(half // 2 for half in total) == view.before


def is_valid(view: Window) -> bool:
    """Whether TFLite's VALID, without any padding, does it."""
    return not any(view.before) and max(view.reach) <= 0
