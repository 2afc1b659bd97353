"""int8 by onnxruntime's own quantizer: dynamic, or static with calibration data."""

from __future__ import annotations

from typing import TYPE_CHECKING

from targets._target import TargetError

if TYPE_CHECKING:
    from collections.abc import Sequence
    from pathlib import Path

    import numpy as np
    import onnx
    from numpy.typing import NDArray

    Call = dict[str, NDArray[np.generic]]


class _Reader:
    """Calls, one by one, as the quantizer wants them."""

    def __init__(self, calls: Sequence[Call]) -> None:
        self._calls = iter(calls)

    def get_next(self) -> Call | None:
        """The next call; None: there is none."""
        return next(self._calls, None)


def quantize_dynamic(model: onnx.ModelProto, scratch: Path) -> onnx.ModelProto:
    """Weights in int8; activations are quantized while the model runs.

    Convolutions stay: one scale for a whole picture, found anew for each, is wrong more often than it is fast.
    """
    from onnxruntime import quantization

    quantization.quantize_dynamic(
        model,
        scratch,
        op_types_to_quantize=["MatMul", "LSTM", "Gather", "Attention"],
        per_channel=True,
        reduce_range=True,
        weight_type=quantization.QuantType.QInt8,
    )
    return _taken(scratch)


def quantize_static(model: onnx.ModelProto, calls: Sequence[Call], scratch: Path) -> onnx.ModelProto:
    """Weights and activations in int8, as QuantizeLinear and DequantizeLinear around each operator.

    Weights get 7 bits: on processors without VNNI, sums of full products of uint8 and int8 overflow their 16 bits.

    Raises:
        TargetError: the calibration data can't be run.
    """
    from onnxruntime import quantization

    from agent.runtimes.onnxruntime import load_errors

    try:
        quantization.quantize_static(
            model,
            scratch,
            _Reader(calls),
            quant_format=quantization.QuantFormat.QDQ,
            per_channel=True,
            reduce_range=True,
            activation_type=quantization.QuantType.QUInt8,
            weight_type=quantization.QuantType.QInt8,
            # It compares a scale for each channel with one number, and fails.
            extra_options={"QDQDisableWeightAdjustForInt32Bias": True},
        )
    except load_errors() as error:
        raise TargetError("onnx.calibration", f"the calibration data can't be run: {error}") from error
    return _taken(scratch)


def _taken(scratch: Path) -> onnx.ModelProto:
    import onnx

    model = onnx.load(scratch)
    scratch.unlink()
    return model
