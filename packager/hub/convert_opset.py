"""Bring the default operator set, and the IR version, into the range that the target takes.

By adapters of our own, in both directions: onnx's version converter leaves the nodes of subgraphs as they were, and has
no adapter down from 13 for most operators of real models.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from packager.errors import ConversionError
from packager.hub.graph import import_default, opset, tidy_opsets
from packager.hub.opsets.conversion import convert_version

if TYPE_CHECKING:
    import onnx

    from packager.hub.form import Form


def requires(form: Form) -> bool:
    """Always: every target takes a range."""
    del form
    return True


def run(model: onnx.ModelProto, form: Form) -> onnx.ModelProto:
    """The model at the nearest version in the range.

    Raises:
        ConversionError: one of the operators has no equal there; the node is named.
    """
    lowest, highest = form.needs.opset
    import_default(model, lowest)
    tidy_opsets(model)
    version = opset(model)
    wanted = min(max(version, lowest), highest)
    if wanted != version:
        try:
            model = convert_version(model, wanted)
        except ConversionError as error:
            hint = f"export the model with an opset from {lowest} to {highest}"
            raise ConversionError(error.code, str(error), hint=hint) from error
    model.ir_version = min(model.ir_version, form.needs.ir_version)
    return model


def ensures(model: onnx.ModelProto, form: Form) -> list[str]:
    """The versions are in the range."""
    lowest, highest = form.needs.opset
    version = opset(model)
    found = [] if lowest <= version <= highest else [f"opset is {version}: expected {lowest} to {highest}"]
    if model.ir_version > form.needs.ir_version:
        found.append(f"IR version is {model.ir_version}: expected at most {form.needs.ir_version}")
    return found
