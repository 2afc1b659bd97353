"""Bring the default operator set, and the IR version, into the range that the target takes."""

from __future__ import annotations

from typing import TYPE_CHECKING

from packager.errors import ConversionError
from packager.hub.graph import opset, tidy_opsets

if TYPE_CHECKING:
    import onnx

    from packager.hub.form import Form


def requires(form: Form) -> bool:
    """Always: every target takes a range."""
    del form
    return True


def run(model: onnx.ModelProto, form: Form) -> onnx.ModelProto:
    """The model at the nearest version in the range, by onnx's own version converter.

    Raises:
        ConversionError: the converter has no adapter for one of the operators.
    """
    import onnx.version_converter

    lowest, highest = form.needs.opset
    tidy_opsets(model)
    version = opset(model)
    wanted = min(max(version, lowest), highest)
    if wanted != version:
        try:
            model = onnx.version_converter.convert_version(model, wanted)
        except (onnx.version_converter.ConvertError, RuntimeError) as error:
            raise ConversionError(
                "hub.opset",
                f"opset {version} can't be converted to {wanted}: {_first_line(error)}",
                hint=f"export the model with an opset from {lowest} to {highest}",
            ) from error
        tidy_opsets(model)
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


def _first_line(error: Exception) -> str:
    return str(error).strip().splitlines()[0] if str(error).strip() else type(error).__name__
