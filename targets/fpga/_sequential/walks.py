"""How an engine walks over a tensor for each kind of layer: the loops of ``window.v``, as numbers."""

from __future__ import annotations

from math import prod
from typing import TYPE_CHECKING

import msgspec

from agent.runtimes._fixed.layers import Dense

if TYPE_CHECKING:
    from agent.runtimes._fixed.layers import Conv, Pool, Tensor


class Walk(msgspec.Struct, frozen=True, kw_only=True):
    """For each group, row and column of the result: the channels of the group and the places of the kernel."""

    groups: int
    channels: int
    """Of the input, in one group."""
    outputs: int
    """Channels of the result, in one group."""
    height: int
    width: int
    rows: int
    """Of the result, as `columns`."""
    columns: int
    kernel: tuple[int, int] = (1, 1)
    strides: tuple[int, int] = (1, 1)
    dilations: tuple[int, int] = (1, 1)
    pads: tuple[int, int] = (0, 0)
    """Before the first row, and before the first column."""
    padded: bool = False
    """Whether a window may reach outside."""
    out_channel: int
    """How far apart two channels of the result stand."""
    out_pixel: int

    @property
    def taps(self) -> int:
        """Elements of a window."""
        return self.channels * prod(self.kernel)

    @property
    def windows(self) -> int:
        """Positions of the result."""
        return self.rows * self.columns

    @property
    def loops(self) -> dict[str, int]:
        """Parameters of ``window.v``, without the number of passes and the widths."""
        return {
            "CHANNELS": self.channels,
            "HEIGHT": self.height,
            "WIDTH": self.width,
            "ROWS": self.rows,
            "COLUMNS": self.columns,
            "KERNEL_Y": self.kernel[0],
            "KERNEL_X": self.kernel[1],
            "STRIDE_Y": self.strides[0],
            "STRIDE_X": self.strides[1],
            "DILATION_Y": self.dilations[0],
            "DILATION_X": self.dilations[1],
            "PAD_Y": self.pads[0],
            "PAD_X": self.pads[1],
            "PADDED": int(self.padded),
            "PLACE": self._place,
        }

    @property
    def _place(self) -> int:
        """Bits that tell apart all places of a window's elements, from before the first row to after the last."""
        reach = max(
            size + 2 * pad + step * (kernel + 1) * dilation
            for size, pad, step, kernel, dilation in zip(
                (self.height, self.width), self.pads, self.strides, self.kernel, self.dilations, strict=True
            )
        )
        return (2 * reach).bit_length()


def product_walk(layer: Dense | Conv, source: Tensor) -> Walk:
    """The loops of a product over its source."""
    if isinstance(layer, Dense):
        inputs, outputs = layer.weights.shape
        return Walk(
            groups=1,
            channels=1,
            outputs=outputs,
            height=source.size // inputs,
            width=inputs,
            rows=source.size // inputs,
            columns=1,
            kernel=(1, inputs),
            out_channel=1,
            out_pixel=outputs,
        )
    height, width = _plane(source)
    rows, columns = _plane(layer.output)
    axes = len(layer.strides)
    return Walk(
        groups=layer.groups,
        channels=layer.weights.shape[1],
        outputs=len(layer.weights) // layer.groups,
        height=height,
        width=width,
        rows=rows,
        columns=columns,
        kernel=_pair(layer.weights.shape[2:]),
        strides=_pair(layer.strides),
        dilations=_pair(layer.dilations),
        pads=_pair(layer.pads[:axes], 0),
        padded=any(layer.pads),
        out_channel=rows * columns,
        out_pixel=1,
    )


def pool_walk(layer: Pool, source: Tensor) -> Walk:
    """The loops of a pool over its source."""
    height, width = _plane(source)
    rows, columns = _plane(layer.output)
    axes = len(layer.strides)
    return Walk(
        groups=source.shape[0],
        channels=1,
        outputs=1,
        height=height,
        width=width,
        rows=rows,
        columns=columns,
        kernel=_pair(layer.kernel),
        strides=_pair(layer.strides),
        pads=_pair(layer.pads[:axes], 0),
        padded=any(layer.pads),
        out_channel=rows * columns,
        out_pixel=1,
    )


def _plane(tensor: Tensor) -> tuple[int, int]:
    return _pair(tensor.shape[1:])


def _pair(sizes: tuple[int, ...], missing: int = 1) -> tuple[int, int]:
    """Of one axis, rows and columns: one row."""
    *rows, columns = sizes
    return (rows[0] if rows else missing), columns
