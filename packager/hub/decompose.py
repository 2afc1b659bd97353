"""Write composite operators by simpler ones, where a target asks for it: as ONNX defines them."""

from __future__ import annotations

from typing import TYPE_CHECKING

from packager.hub.definitions import expanded

if TYPE_CHECKING:
    import onnx

    from packager.hub.form import Form


def requires(form: Form) -> bool:
    """Where the target names operators that it lacks."""
    return bool(form.needs.decomposed)


def run(model: onnx.ModelProto, form: Form) -> onnx.ModelProto:
    """The model without these operators, but for those that ONNX has no definition of."""
    return expanded(model, form.needs.decomposed)


def ensures(model: onnx.ModelProto, form: Form) -> list[str]:
    """Nothing: what has no definition remains, and the target names it."""
    del model, form
    return []
