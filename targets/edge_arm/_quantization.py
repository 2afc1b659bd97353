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
    from ai_edge_quantizer.recipe_manager import RecipeManager
    from numpy.typing import NDArray

    from targets._target import Arrays
    from targets.edge_arm import Quantize
    from targets.edge_arm._graph import Graph, Operation

CALIBRATED = frozenset({"int8", "int8-io", "int16x8"})
"""The schemes that need to see data."""
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
            "quantizing activations needs calibration data: got none",
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
    """The file under a scheme; its inputs and outputs keep their element types, but for ``int8-io``.

    Raises:
        TargetError: the quantizer gives up.
    """
    data = serialized(graph)
    if scheme == "none":
        return data
    if scheme in CALIBRATED and any(operation.code == "WHILE" for operation in graph.operations):
        raise TargetError(
            "edge-arm.quantize",
            "the model has a loop that stays a loop, and what it computes inside can't be calibrated",
            hint='take quantize = "dynamic-int8", or shorter sequences',
        )
    from ai_edge_quantizer import quantizer

    recipe = _recipe(scheme, graph)
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


def _recipe(scheme: Quantize, graph: Graph) -> list[dict[str, Any]]:
    from ai_edge_quantizer import recipe, recipe_manager

    manager = recipe_manager.RecipeManager()
    if scheme == "float16":
        _add_float16(manager)
    elif scheme in CALIBRATED:
        wide = scheme == "int16x8"
        manager.load_quantization_recipe(recipe.static_wi8_ai16() if wide else recipe.static_wi8_ai8())
        # What a branch or a loop computes inside is not calibrated.
        _leave(manager, r"^graph_\d+/")
        if scheme != "int8-io":
            # The whole model but its border: an application's floats go in and come out.
            _leave(manager, ".*", "INPUT", "OUTPUT")
            _leave_results(manager, border(graph))
        if wide:
            # LiteRT allocates no SUB in int16 whose operands have a larger scale than its result.
            _leave(manager, ".*", "SUB")
    else:
        weights_only = scheme == "int4-weights"
        manager.load_quantization_recipe(recipe.weight_only_wi4_afp32() if weights_only else recipe.dynamic_wi8_afp32())
        _leave_results(manager, constant_products(graph))
    found: list[dict[str, Any]] = manager.get_quantization_recipe()
    return found


def constant_products(graph: Graph) -> list[str]:
    """Names of the products of a constant with weights, such as a recurrence's first step from a state of zeros.

    The quantizer takes the constant for weights too, and LiteRT allocates no product of two quantized constants whose
    result is float.
    """
    return [
        tensor.name
        for operation in graph.operations
        if operation.code in _PRODUCTS and operation.inputs[0] is not None and operation.inputs[0].data is not None
        for tensor in operation.outputs
    ]


def _leave_results(manager: RecipeManager, names: list[str]) -> None:
    """Keep what computes these tensors in float."""
    if names:
        _leave(manager, "^(?:" + "|".join(re.escape(name) for name in names) + ");")


def _leave(manager: RecipeManager, regex: str, *operations: str) -> None:
    from ai_edge_quantizer import qtyping
    from ai_edge_quantizer.algorithm_manager import AlgorithmName

    for name in operations or ("ALL_SUPPORTED",):
        manager.add_quantization_config(
            regex=regex, operation_name=qtyping.TFLOperationName[name], algorithm_key=AlgorithmName.NO_QUANTIZE
        )


def _add_float16(manager: RecipeManager) -> None:
    from ai_edge_quantizer import qtyping
    from ai_edge_quantizer.algorithm_manager import AlgorithmName

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
