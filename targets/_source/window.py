"""Sliding windows of convolutions and pools: ONNX's paddings, as numbers. Everything here is pure."""

from __future__ import annotations

from typing import TYPE_CHECKING, NamedTuple

import numpy as np

from targets._source.refusal import UnsupportedError

if TYPE_CHECKING:
    from collections.abc import Sequence

    from numpy.typing import NDArray

    from targets._source.model import Node


class Window(NamedTuple):
    """One window over the spatial axes; every field has one number an axis."""

    sizes: tuple[int, ...]
    kernel: tuple[int, ...]
    strides: tuple[int, ...]
    dilations: tuple[int, ...]
    before: tuple[int, ...]
    after: tuple[int, ...]
    """Padding that the node declares."""
    outputs: tuple[int, ...]

    @property
    def extents(self) -> tuple[int, ...]:
        """What the kernel spans, its holes included."""
        return tuple((size - 1) * step + 1 for size, step in zip(self.kernel, self.dilations, strict=True))

    @property
    def reach(self) -> tuple[int, ...]:
        """Padding after the end that the last window needs.

        Less than declared where it stops short, more where ``ceil_mode`` lets it hang over.
        """
        return tuple(
            (count - 1) * stride + extent - size - before
            for count, stride, extent, size, before in zip(
                self.outputs, self.strides, self.extents, self.sizes, self.before, strict=True
            )
        )


def window(node: Node, sizes: Sequence[int], kernel: Sequence[int], outputs: Sequence[int]) -> Window:
    """The window that a node slides over axes of those sizes.

    Raises:
        UnsupportedError: a padding is negative.
    """
    rank = len(sizes)
    strides = node.integers("strides") or (1,) * rank
    dilations = node.integers("dilations") or (1,) * rank
    plain = Window(tuple(sizes), tuple(kernel), strides, dilations, (0,) * rank, (0,) * rank, tuple(outputs))
    mode = node.text("auto_pad", "NOTSET")
    if mode in {"SAME_UPPER", "SAME_LOWER"}:
        counts = [-(-size // stride) for size, stride in zip(sizes, strides, strict=True)]
        total = [
            max((count - 1) * stride + extent - size, 0)
            for count, stride, extent, size in zip(counts, strides, plain.extents, sizes, strict=True)
        ]
        small, large = tuple(pad // 2 for pad in total), tuple(pad - pad // 2 for pad in total)
        before, after = (small, large) if mode == "SAME_UPPER" else (large, small)
        return plain._replace(before=before, after=after)
    pads = node.integers("pads") if mode == "NOTSET" else ()
    pads = pads or (0,) * (2 * rank)
    if min(pads) < 0:
        raise UnsupportedError(f"a padding is negative: {list(pads)}")
    return plain._replace(before=pads[:rank], after=pads[rank:])


def coverage(view: Window, *, padding: bool) -> NDArray[np.float32]:
    """How many elements each window covers, by output place: those of the input, and the declared padding if asked."""
    counts = np.ones((), np.float32)
    for size, count, extent, stride, step, before, after in zip(
        view.sizes, view.outputs, view.extents, view.strides, view.dilations, view.before, view.after, strict=True
    ):
        low, high = (-before, size + after) if padding else (0, size)
        starts = np.arange(count) * stride - before
        taps = starts[:, None] + np.arange(0, extent, step)
        inside = ((taps >= low) & (taps < high)).sum(axis=1).astype(np.float32)
        counts = np.multiply.outer(counts, inside)
    return counts
