"""Operators of which onnxruntime has a fast kernel: single-node models, kept open."""

from __future__ import annotations

from functools import lru_cache
from typing import TYPE_CHECKING, Any, cast

import numpy as np

if TYPE_CHECKING:
    from collections.abc import Sequence

    from targets.coreml.evaluator._types import Array

_OPSET = 17
_IR_VERSION = 8
_MOST_OPEN = 512


def run(operator: str, inputs: Sequence[Array], **attributes: Any) -> Array:  # noqa: ANN401 - as ONNX's attributes are
    """The only output of one ONNX operator, applied to float32 inputs.

    Raises:
        ValueError: the inputs do not fit each other.
    """
    from onnxruntime.capi import onnxruntime_pybind11_state as errors

    arrays = [np.ascontiguousarray(each, dtype=np.float32) for each in inputs]
    ranks = tuple(each.ndim for each in arrays)
    try:
        session = _session(operator, ranks, tuple(sorted(attributes.items())))
        (result,) = session.run(None, {f"x{place}": each for place, each in enumerate(arrays)})
    except (errors.Fail, errors.InvalidArgument, errors.InvalidGraph, errors.RuntimeException) as error:
        raise ValueError(f"{operator}: {error}") from error
    return cast("Array", result)


@lru_cache(maxsize=_MOST_OPEN)
def _session(operator: str, ranks: tuple[int, ...], attributes: tuple[tuple[str, Any], ...]) -> Any:  # noqa: ANN401
    import onnx
    import onnxruntime as ort

    names = [f"x{place}" for place in range(len(ranks))]
    node = onnx.helper.make_node(operator, names, ["y"], **dict(attributes))
    given = [
        onnx.helper.make_tensor_value_info(name, onnx.TensorProto.FLOAT, [None] * rank)
        for name, rank in zip(names, ranks, strict=True)
    ]
    made = onnx.helper.make_tensor_value_info("y", onnx.TensorProto.FLOAT, None)
    model = onnx.helper.make_model(
        onnx.helper.make_graph([node], "kernel", given, [made]),
        opset_imports=[onnx.helper.make_opsetid("", _OPSET)],
        ir_version=_IR_VERSION,
    )
    options = ort.SessionOptions()
    options.log_severity_level = 3
    options.intra_op_num_threads = 1
    return ort.InferenceSession(model.SerializeToString(), options, providers=["CPUExecutionProvider"])
