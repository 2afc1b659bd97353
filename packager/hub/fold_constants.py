"""Compute what depends on no input, by onnxruntime's basic optimisations, which stay within ONNX's own operators."""

from __future__ import annotations

import tempfile
from pathlib import Path
from typing import TYPE_CHECKING

from packager.errors import ConversionError
from packager.hub.graph import all_nodes, domain_of, tidy_opsets

if TYPE_CHECKING:
    import onnx

    from packager.hub.form import Form

_DOMAINS = {"", "ai.onnx.ml"}
_OFF = ["TransposeOptimizer"]
"""It made 188 transposes of 14 in a network with shortcuts; `cancel_transposes` only takes out."""


def requires(form: Form) -> bool:
    """Where shapes are static, so that shape arithmetic folds away; other targets' runtimes fold for themselves."""
    return form.needs.static_shapes


def run(model: onnx.ModelProto, form: Form) -> onnx.ModelProto:
    """The model without constant subgraphs, identities and the like.

    Raises:
        ConversionError: onnxruntime can't load the model.
    """
    import onnx
    import onnxruntime
    from onnxruntime.capi import onnxruntime_pybind11_state as state

    del form
    with tempfile.TemporaryDirectory() as name:
        folded = Path(name) / "folded.onnx"
        options = onnxruntime.SessionOptions()
        options.graph_optimization_level = onnxruntime.GraphOptimizationLevel.ORT_ENABLE_BASIC
        options.optimized_model_filepath = str(folded)
        options.intra_op_num_threads = 1
        options.log_severity_level = 3
        try:
            onnxruntime.InferenceSession(
                model.SerializeToString(), options, providers=["CPUExecutionProvider"], disabled_optimizers=_OFF
            )
        except (
            state.Fail,
            state.InvalidArgument,
            state.InvalidGraph,
            state.NotImplemented,
            state.RuntimeException,
        ) as error:
            raise ConversionError("hub.fold", f"onnxruntime can't load the prepared model: {error}") from error
        result = onnx.load(folded)
    if any(domain_of(node.domain) not in _DOMAINS for node in all_nodes(result.graph)):
        return model
    tidy_opsets(result)
    result.ir_version = min(result.ir_version, model.ir_version)
    return result


def ensures(model: onnx.ModelProto, form: Form) -> list[str]:
    """Nothing: what onnxruntime does not fold may remain."""
    del model, form
    return []
