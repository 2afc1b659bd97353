"""Bring operators that are older than the target's range up to it, so that every other pass finds what it writes.

What is newer comes down last, in `convert_opset`: the newer an operator set, the more of a graph can be folded before,
and what is folded need not be expressed in an older one.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

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
    """The model at the lowest version that the target takes, or at its own.

    Raises:
        ConversionError: one of the operators has no equal there; the node is named.
    """
    lowest, _ = form.needs.opset
    import_default(model, lowest)
    tidy_opsets(model)
    return convert_version(model, lowest) if opset(model) < lowest else model


def ensures(model: onnx.ModelProto, form: Form) -> list[str]:
    """The version is not below the range."""
    version, lowest = opset(model), form.needs.opset[0]
    return [f"opset is {version}: expected at least {lowest}"] if version < lowest else []
