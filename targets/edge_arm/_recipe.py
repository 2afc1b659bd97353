"""What ai-edge-quantizer is asked for: the schemes, and what stays in float."""

from __future__ import annotations

import re
from typing import TYPE_CHECKING, Any, Literal, NamedTuple

if TYPE_CHECKING:
    from ai_edge_quantizer.recipe_manager import RecipeManager

    from targets.edge_arm._graph import Graph, Operation, Tensor

Scheme = Literal["none", "float16", "dynamic-int8", "int8-weights", "int8", "int8-io", "int16x8", "int4-weights"]
"""What a whole file is quantized by; ``int8-weights``, computed in float, is for the search alone."""
CALIBRATED = frozenset({"int8", "int8-io", "int16x8"})
"""The schemes that need to see data."""
PRODUCTS = frozenset({"BATCH_MATMUL", "CONV_2D", "CONV_3D", "DEPTHWISE_CONV_2D", "FULLY_CONNECTED", "TRANSPOSE_CONV"})
"""What is worth its int8 arithmetic."""
MOVES = frozenset({"CONCATENATION", "GATHER", "PAD", "RESHAPE", "SLICE", "SPLIT", "STRIDED_SLICE", "TRANSPOSE"})
"""What computes nothing, and so loses nothing in int8."""
_WEIGHTED = ("CONV_2D", "DEPTHWISE_CONV_2D", "FULLY_CONNECTED")
"""What has a kernel for int8 weights with activations in float."""


class Spared(NamedTuple):
    """Results that are computed otherwise than a scheme says, by name."""

    kept: frozenset[str] = frozenset()
    """In float."""
    halved: frozenset[str] = frozenset()
    """In float, from weights in float16."""
    lighter: frozenset[str] = frozenset()
    """From activations in float and weights in int8, where there are weights, else in float."""


def recipe(scheme: Scheme, graph: Graph, spared: Spared, *, coarse: bool = False) -> list[dict[str, Any]]:
    """The recipe of a scheme for a graph whose tensors have their names.

    With `coarse`, dense layers of int8 have one scale each, not one for each channel.
    """
    from ai_edge_quantizer import qtyping, recipe_manager
    from ai_edge_quantizer import recipe as recipes

    manager = recipe_manager.RecipeManager()
    if scheme == "float16":
        _add_float16(manager, ".*")
    elif scheme in CALIBRATED:
        manager.load_quantization_recipe(recipes.static_wi8_ai16() if scheme == "int16x8" else recipes.static_wi8_ai8())
        if coarse:
            dense = qtyping.TFLOperationName.FULLY_CONNECTED
            manager.add_static_config(".*", dense, 8, 8, qtyping.QuantGranularity.TENSORWISE)
        # What a branch or a loop computes inside is not calibrated.
        _leave(manager, r"^graph_\d+/")
        if scheme != "int8-io":
            # The whole model but its border: an application's floats go in and come out.
            _leave(manager, ".*", "INPUT", "OUTPUT")
            _leave_results(manager, border(graph))
        _leave_results(manager, unquantized(graph, scheme))
    else:
        made = {
            "dynamic-int8": recipes.dynamic_wi8_afp32,
            "int8-weights": recipes.weight_only_wi8_afp32,
            "int4-weights": recipes.weight_only_wi4_afp32,
        }
        manager.load_quantization_recipe(made[scheme]())
        _leave_results(manager, constant_products(graph))
    _leave_results(manager, sorted(spared.kept | spared.halved | spared.lighter))
    fixed = spared.kept | frozenset(constant_products(graph))
    if spared.halved - fixed:
        _add_float16(manager, _scope(sorted(spared.halved - fixed)))
    if spared.lighter - fixed:
        _add_weights(manager, _scope(sorted(spared.lighter - fixed)), dynamic=scheme != "int4-weights")
    found: list[dict[str, Any]] = manager.get_quantization_recipe()
    return found


def unquantized(graph: Graph, scheme: Scheme) -> list[str]:
    """Names of the results that LiteRT does not compute, or computes wrongly, in the integers of a scheme.

    A divisor of int8 may be rounded to zero, at which DIV stops. SUB in int16 is not allocated where an operand has a
    larger scale than the result.
    """
    codes = {"DIV", "SUB"} if scheme == "int16x8" else {"DIV"}
    return [tensor.name for operation in graph.operations if operation.code in codes for tensor in operation.outputs]


def constant_products(graph: Graph) -> list[str]:
    """Names of the products of a constant with weights, such as a recurrence's first step from a state of zeros.

    The quantizer takes the constant for weights too, and LiteRT allocates no product of two quantized constants whose
    result is float.
    """
    return [
        tensor.name
        for operation in graph.operations
        if operation.code in PRODUCTS and operation.inputs[0] is not None and operation.inputs[0].data is not None
        for tensor in operation.outputs
    ]


def border(graph: Graph) -> list[str]:
    """Names of the results that int8 would spoil for no gain: computed before the first product, or after the last.

    Before it, one input may hold features of very different ranges, that the model itself scales; a single int8 range
    over all of them loses the small ones. After it come a softmax or the like, whose result goes out as float anyway.
    """
    if not any(operation.code in PRODUCTS for operation in graph.operations):
        return []
    computed: set[int] = set()
    head: list[Operation] = []
    tail: list[Operation] = []
    for operation in graph.operations:
        reads = {id(tensor) for tensor in operation.inputs}
        if operation.code in PRODUCTS or reads & computed:
            computed.update(id(tensor) for tensor in operation.outputs)
        else:
            head.append(operation)
    needed: set[int] = set()
    for operation in reversed(graph.operations):
        if operation.code in PRODUCTS or any(id(tensor) in needed for tensor in operation.outputs):
            needed.update(id(tensor) for tensor in operation.inputs)
        else:
            tail.insert(0, operation)
    return [*_computing(head[::-1], forward=False), *_computing(tail, forward=True)]


def _computing(operations: list[Operation], *, forward: bool) -> list[str]:
    """Results of the operations that compute, and of the moves between them and the model's inputs or outputs."""
    touched: set[int] = set()
    names: list[str] = []
    for operation in operations:
        near: list[Tensor | None] = [*(operation.inputs if forward else operation.outputs)]
        far: list[Tensor | None] = [*(operation.outputs if forward else operation.inputs)]
        if operation.code not in MOVES or any(id(tensor) in touched for tensor in near):
            touched.update(id(tensor) for tensor in far)
            names.extend(tensor.name for tensor in operation.outputs)
    return names


def _scope(names: list[str]) -> str:
    """What the quantizer calls the operations whose first results have these names."""
    return "^(?:" + "|".join(re.escape(name) for name in names) + ");"


def _leave_results(manager: RecipeManager, names: list[str]) -> None:
    """Keep what computes these tensors in float."""
    if names:
        _leave(manager, _scope(names))


def _leave(manager: RecipeManager, regex: str, *operations: str) -> None:
    from ai_edge_quantizer import qtyping
    from ai_edge_quantizer.algorithm_manager import AlgorithmName

    for name in operations or ("ALL_SUPPORTED",):
        manager.add_quantization_config(
            regex=regex, operation_name=qtyping.TFLOperationName[name], algorithm_key=AlgorithmName.NO_QUANTIZE
        )


def _add_weights(manager: RecipeManager, regex: str, *, dynamic: bool) -> None:
    """Weights in int8; with `dynamic`, activations too while it runs."""
    from ai_edge_quantizer import qtyping

    add = manager.add_dynamic_config if dynamic else manager.add_weight_only_config
    for name in _WEIGHTED:
        # A scope of another spelling: one of the same replaces what was said of it before.
        add(f"(?:{regex})", qtyping.TFLOperationName[name], num_bits=8)


def _add_float16(manager: RecipeManager, regex: str) -> None:
    """Weights in float16, computed in float."""
    from ai_edge_quantizer import qtyping
    from ai_edge_quantizer.algorithm_manager import AlgorithmName

    weights = qtyping.TensorQuantizationConfig(num_bits=16, dtype=qtyping.TensorDataType.FLOAT)
    manager.add_quantization_config(
        # A scope of another spelling: one of the same replaces what was said of it before.
        regex=f"(?:(?:{regex}))",
        operation_name=qtyping.TFLOperationName.ALL_SUPPORTED,
        op_config=qtyping.OpQuantizationConfig(
            weight_tensor_config=weights,
            compute_precision=qtyping.ComputePrecision.FLOAT,
            explicit_dequantize=True,
        ),
        algorithm_key=AlgorithmName.FLOAT_CASTING,
    )
