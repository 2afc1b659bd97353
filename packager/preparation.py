"""A model in the normal form of one target, with what is declared of it."""

from __future__ import annotations

from typing import TYPE_CHECKING

from packager.errors import ConversionError
from packager.hub.form import Form
from packager.hub.pipeline import prepare
from packager.signatures import declaration_of, declare
from targets._target import native_file

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
    native = native_file(model)
    if native is not None:
        _require_format(native[0], target, options)
        return model, ()
    form = Form(needs=target.needs(options), free_dimensions=target.free_dimensions(options))
    declaration = declaration_of(model)
    prepared, passes = prepare(model, form)
    declare(prepared, declaration)
    return prepared, passes


def _require_format(format_: str, target: Target, options: msgspec.Struct) -> None:
    accepted = target.needs(options).formats
    if format_ not in accepted:
        raise ConversionError(
            f"{target.name}.format",
            f"{target.name} can't take a {format_} file, which is shipped as it is: "
            f"expected one of {', '.join(('onnx', *accepted))}",
            hint="give the model in the format that it was exported from",
        )
