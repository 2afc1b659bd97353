"""A model in the normal form of one target, with what is declared of it."""

from __future__ import annotations

from typing import TYPE_CHECKING

from packager.hub.form import Form
from packager.hub.pipeline import prepare
from packager.signatures import declaration_of, declare

if TYPE_CHECKING:
    import msgspec
    import onnx

    from targets._target import Target


def prepare_for(
    model: onnx.ModelProto, target: Target, options: msgspec.Struct
) -> tuple[onnx.ModelProto, tuple[str, ...]]:
    """The model as `target.unsupported` and `target.convert` take it, and the passes that ran; the given one changes.

    Raises:
        ConversionError: a pass can't do it, or did not do what it promises.
    """
    form = Form(needs=target.needs(options), free_dimensions=target.free_dimensions(options))
    declaration = declaration_of(model)
    prepared, passes = prepare(model, form)
    declare(prepared, declaration)
    return prepared, passes
