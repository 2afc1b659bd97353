"""Smaller weights and activations, by ai-edge-quantizer."""

from __future__ import annotations

import contextlib
import io
import re
import warnings
from typing import TYPE_CHECKING, Any

import numpy as np

from targets._target import TargetError
from targets.edge_arm._file import SIGNATURE, serialized

if TYPE_CHECKING:
    from numpy.typing import NDArray

    from targets._target import Arrays
    from targets.edge_arm import Quantize
    from targets.edge_arm._graph import Graph, Operation

SAMPLE_LIMIT = 500
"""Most samples that calibration runs; ranges change little after the first hundreds."""

_PRODUCTS = {"BATCH_MATMUL", "CONV_2D", "CONV_3D", "DEPTHWISE_CONV_2D", "FULLY_CONNECTED", "TRANSPOSE_CONV"}
"""What is worth its int8 arithmetic."""
_MOVES = {"CONCATENATION", "GATHER", "PAD", "RESHAPE", "SLICE", "STRIDED_SLICE", "TRANSPOSE"}
"""What computes nothing, and so loses nothing in int8."""

Sample = dict[str, "NDArray[np.generic]"]


def calibration_samples(graph: Graph, calibration: Arrays | None) -> list[Sample]:
    """Calls of the model, cut from the calibration data along its first axis.

    Raises:
        TargetError: there is no data, an input has none, or its shape does not fit.
    """
    if not calibration:
        raise TargetError(
            "edge-arm.calibration",
            "int8 needs calibration data: got none",
            hint='name representative inputs in data.calibration, or take quantize = "dynamic-int8"',
        )
    calls: list[list[NDArray[np.generic]]] = []
    for name, tensor in graph.inputs.items():
        if name not in calibration:
            raise TargetError("edge-arm.calibration", f"calibration data has no array for input '{name}'")
        calls.append(_cut(name, np.asarray(calibration[name]), tensor.shape, tensor.dtype))
    return [dict(zip(graph.inputs, call, strict=True)) for call in zip(*calls, strict=False)]


def _cut(
    name: str, array: NDArray[np.generic], shape: tuple[int, ...], dtype: np.dtype[Any]
) -> list[NDArray[np.generic]]:
    """Whole batches of the model's shape, at most `SAMPLE_LIMIT` samples in all."""
    array = array.astype(dtype, copy=False)
    if array.shape == shape:
        return [array]
    if not shape or array.shape[1:] != shape[1:] or len(array) < shape[0]:
        raise TargetError(
            "edge-arm.calibration",
            f"calibration data for input '{name}' does not fit: expected {list(shape)}, got {list(array.shape)}",
        )
    batch = shape[0]
    count = max(1, min(len(array), SAMPLE_LIMIT) // batch)
    return [array[start * batch : (start + 1) * batch] for start in range(count)]


def quantized(graph: Graph, scheme: Quantize, samples: list[Sample]) -> bytes:
    """The file under a scheme; its inputs and outputs keep their element types.

    Raises:
        TargetError: the quantizer gives up.
    """
    data = serialized(graph)
    if scheme == "none":
        return data
    if scheme == "int8" and any(operation.code == "WHILE" for operation in graph.operations):
        raise TargetError(
            "edge-arm.quantize",
            "the model has a loop that stays a loop, and what it computes inside can't be calibrated",
            hint='take quantize = "dynamic-int8", or shorter sequences',
        )
    from ai_edge_quantizer import quantizer

    recipe = _recipe(scheme, border(graph))
    # Progress bars, and a warning that calibration keeps intermediate tensors, which is what it is for.
    with warnings.catch_warnings(action="ignore"), contextlib.redirect_stderr(io.StringIO()):
        work = quantizer.Quantizer(bytearray(data), recipe)
        try:
            ranges = _ranges(data, recipe, samples) if work.need_calibration else None
            result = work.quantize(ranges, enable_progress_report=False)
        except (RuntimeError, ValueError) as error:
            raise TargetError("edge-arm.quantize", f"the quantizer refuses the model: {error}") from error
    return bytes(result.quantized_model)


def border(graph: Graph) -> list[str]:
    """Names of the results that int8 would spoil for no gain: computed before the first product, or after the last.

    Before it, one input may hold features of very different ranges, that the model itself scales; a single int8 range
    over all of them loses the small ones. After it come a softmax or the like, whose result goes out as float anyway.
    """
    if not any(operation.code in _PRODUCTS for operation in graph.operations):
        return []
    computed: set[int] = set()
    head: list[Operation] = []
    tail: list[Operation] = []
    for operation in graph.operations:
        reads = {id(tensor) for tensor in operation.inputs}
        if operation.code in _PRODUCTS or reads & computed:
            computed.update(id(tensor) for tensor in operation.outputs)
        else:
            head.append(operation)
    needed: set[int] = set()
    for operation in reversed(graph.operations):
        if operation.code in _PRODUCTS or any(id(tensor) in needed for tensor in operation.outputs):
            needed.update(id(tensor) for tensor in operation.inputs)
        else:
            tail.insert(0, operation)
    return [*_computing(head[::-1], forward=False), *_computing(tail, forward=True)]


def _computing(operations: list[Operation], *, forward: bool) -> list[str]:
    """Results of the operations that compute, and of the moves between them and the model's inputs or outputs."""
    touched: set[int] = set()
    names: list[str] = []
    for operation in operations:
        near, far = (operation.inputs, operation.outputs) if forward else (operation.outputs, operation.inputs)
        if operation.code not in _MOVES or any(id(tensor) in touched for tensor in near):
            touched.update(id(tensor) for tensor in far)
            names.extend(tensor.name for tensor in operation.outputs)
    return names


def _ranges(data: bytes, recipe: list[dict[str, Any]], samples: list[Sample]) -> dict[str, Any]:
    """The smallest and the largest that every tensor reached, over all samples.

    The quantizer's own `calibrate` averages the samples' extremes, which cuts off what goes beyond the average.
    """
    from ai_edge_quantizer import calibrator, recipe_manager
    from ai_edge_quantizer.utils import qsv_utils

    manager = recipe_manager.RecipeManager()
    manager.load_quantization_recipe(recipe)
    work = calibrator.Calibrator(data, num_threads=1, qsv_update_func=qsv_utils.min_max_update)
    work.calibrate({SIGNATURE: samples}, manager)
    found: dict[str, Any] = work.get_model_qsvs()
    return found


def _recipe(scheme: Quantize, kept: list[str]) -> list[dict[str, Any]]:
    from ai_edge_quantizer import qtyping, recipe, recipe_manager
    from ai_edge_quantizer.algorithm_manager import AlgorithmName

    manager = recipe_manager.RecipeManager()
    if scheme == "dynamic-int8":
        manager.load_quantization_recipe(recipe.dynamic_wi8_afp32())
    elif scheme == "int8":
        manager.load_quantization_recipe(recipe.static_wi8_ai8())
        # The whole model but its border: an application's floats go in and come out.
        for outside in (qtyping.TFLOperationName.INPUT, qtyping.TFLOperationName.OUTPUT):
            manager.add_quantization_config(regex=".*", operation_name=outside, algorithm_key=AlgorithmName.NO_QUANTIZE)
        # What a branch or a loop computes inside is not calibrated.
        manager.add_quantization_config(
            regex=r"^graph_\d+/",
            operation_name=qtyping.TFLOperationName.ALL_SUPPORTED,
            algorithm_key=AlgorithmName.NO_QUANTIZE,
        )
        if kept:
            manager.add_quantization_config(
                regex="^(?:" + "|".join(re.escape(name) for name in kept) + ");",
                operation_name=qtyping.TFLOperationName.ALL_SUPPORTED,
                algorithm_key=AlgorithmName.NO_QUANTIZE,
            )
    else:
        weights = qtyping.TensorQuantizationConfig(num_bits=16, dtype=qtyping.TensorDataType.FLOAT)
        manager.add_quantization_config(
            regex=".*",
            operation_name=qtyping.TFLOperationName.ALL_SUPPORTED,
            op_config=qtyping.OpQuantizationConfig(
                weight_tensor_config=weights,
                compute_precision=qtyping.ComputePrecision.FLOAT,
                explicit_dequantize=True,
            ),
            algorithm_key=AlgorithmName.FLOAT_CASTING,
        )
    found: list[dict[str, Any]] = manager.get_quantization_recipe()
    return found
