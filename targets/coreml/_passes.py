"""coremltools' graph passes over the program, those that its programs need."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import numpy as np

from targets.coreml._coremltools import part

if TYPE_CHECKING:
    from collections.abc import Callable

_FUSIONS = (
    "common::dead_code_elimination",
    "common::noop_elimination",
    "common::divide_to_multiply",
    "common::fuse_matmul_weight_bias",
    "common::fuse_linear_bias",
    "common::fuse_gelu_tanh_approximation",
    "common::fuse_gelu_exact",
    "common::fuse_leaky_relu",
    "common::merge_consecutive_paddings",
    "common::fuse_pad_conv",
    "common::fuse_conv_scale",
    "common::fuse_conv_bias",
    "common::fuse_layernorm_or_instancenorm",
    "common::fuse_elementwise_to_batchnorm",
    "common::fuse_conv_batchnorm",
    "common::fuse_conv_scale",
    "common::fuse_conv_bias",
    "common::merge_consecutive_relus",
    "common::merge_consecutive_reshapes",
    "common::merge_consecutive_transposes",
    "common::fuse_transpose_matmul",
    "common::reduce_transposes",
    "mil_backend::fuse_activation_silu",
    "common::remove_redundant_ops",
)
_HALF = "common::add_fp16_cast"
_LAST = (
    "common::const_elimination",
    "common::cast_optimization",
    "common::dead_code_elimination",
    "common::const_deduplication",
    "common::topological_reorder",
    "common::dead_code_elimination",
    "nn_backend::handle_unused_inputs",
)


def optimise(program: Any, *, half: Callable[[Any], bool] | None) -> None:  # noqa: ANN401 - a MIL program
    """Fuse, drop what nothing reads, and compute those operations in float16 that `half` is true for."""
    registry = part("converters.mil.mil.passes.pass_registry").PASS_REGISTRY
    for name in (*_FUSIONS, *([_HALF] if half else ()), *_LAST):
        step = registry[name]
        if name == _HALF:
            step = type(step)(op_selector=half)
        with np.errstate(all="ignore"):  # they try what a value would be in another type
            step(program)
