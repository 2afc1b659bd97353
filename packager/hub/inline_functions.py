"""Inline model-local functions."""

from __future__ import annotations

from typing import TYPE_CHECKING

if TYPE_CHECKING:
    import onnx

    from packager.hub.form import Form


def requires(form: Form) -> bool:
    """Where functions may not remain."""
    return not form.needs.functions


def run(model: onnx.ModelProto, form: Form) -> onnx.ModelProto:
    """The model with every call of a function replaced by its body."""
    import onnx.inliner

    del form
    return onnx.inliner.inline_local_functions(model) if model.functions else model


def ensures(model: onnx.ModelProto, form: Form) -> list[str]:
    """No function remains."""
    del form
    return [f"function '{function.name}' remains" for function in model.functions]
