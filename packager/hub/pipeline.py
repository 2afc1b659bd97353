"""The order of the passes, and the model brought to a target's normal form."""

from __future__ import annotations

from typing import TYPE_CHECKING

from packager.errors import ConversionError
from packager.hub import (
    bind_dimensions,
    cancel_transposes,
    convert_opset,
    decompose,
    dequantize,
    fold_branches,
    fold_constants,
    inline_functions,
    lower_ml,
    lower_recurrent,
    raise_opset,
    remove_identities,
    split_fused,
    unroll_loops,
)

if TYPE_CHECKING:
    import onnx

    from packager.hub.form import Form, Pass

# Functions first: the others look at plain nodes only. Old operators come up before ai.onnx.ml, whose lowerings need
# comparisons and gathers that old versions had not. Composite operators while all shapes are known, and before folding,
# which computes what their definitions leave constant. Branches before folding, whose onnxruntime may fail on an If
# with a known condition, and again after it, when more are known. Loops when their rounds are known, and then all that
# once more. Then what they leave behind, and last the way down to an old opset, which has no words for much that is
# folded by then.
PASSES: tuple[Pass, ...] = (
    inline_functions,
    raise_opset,
    split_fused,
    lower_ml,
    bind_dimensions,
    dequantize,
    lower_recurrent,
    decompose,
    fold_branches,
    fold_constants,
    unroll_loops,
    fold_branches,
    cancel_transposes,
    remove_identities,
    convert_opset,
)
"""In this order."""


def prepare(model: onnx.ModelProto, form: Form) -> tuple[onnx.ModelProto, tuple[str, ...]]:
    """The model in normal form, and the names of the passes that ran.

    Raises:
        ConversionError: a pass can't do it, or did not do what it promises.
    """
    ran = []
    for step in PASSES:
        if not step.requires(form):
            continue
        model = step.run(model, form)
        name = getattr(step, "__name__", "").rpartition(".")[2]
        broken = step.ensures(model, form)
        if broken:
            raise ConversionError(f"hub.{name}", f"the pass {name} is not enough: {'; '.join(broken)}")
        ran.append(name)
    return model, tuple(ran)
