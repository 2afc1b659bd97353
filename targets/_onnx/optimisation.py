"""onnxruntime's own graph optimisations, done when the bundle is built."""

from __future__ import annotations

from typing import TYPE_CHECKING, Literal, TypeAlias

from targets._target import TargetError

if TYPE_CHECKING:
    from pathlib import Path

    import onnx

Level: TypeAlias = Literal["none", "basic", "extended"]
"""onnxruntime's highest, which lays tensors out for the build machine's processor, is not among them: such a file is
wrong to ship to another machine."""


def optimise(model: Path, level: Level, scratch: Path) -> onnx.ModelProto:
    """The model after onnxruntime's optimisations; `scratch` is a file that is written and removed.

    Raises:
        TargetError: onnxruntime can't load the model.
    """
    import onnx
    import onnxruntime

    from agent.runtimes.onnxruntime import load_errors

    options = onnxruntime.SessionOptions()
    options.graph_optimization_level = {
        "none": onnxruntime.GraphOptimizationLevel.ORT_DISABLE_ALL,
        "basic": onnxruntime.GraphOptimizationLevel.ORT_ENABLE_BASIC,
        "extended": onnxruntime.GraphOptimizationLevel.ORT_ENABLE_EXTENDED,
    }[level]
    options.optimized_model_filepath = str(scratch)
    options.intra_op_num_threads = 1
    options.log_severity_level = 3
    # Packed weights and the like are laid out for this CPU; they are made again wherever the file is loaded.
    options.add_session_config_entry("session.disable_prepacking", "1")
    try:
        onnxruntime.InferenceSession(str(model), options, providers=["CPUExecutionProvider"])
    except load_errors() as error:
        raise TargetError("onnx.load", f"onnxruntime can't load the model: {error}") from error
    result = onnx.load(scratch)
    scratch.unlink()
    return result
