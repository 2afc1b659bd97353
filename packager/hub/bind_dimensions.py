"""Give every free dimension of the inputs its value, and infer all other shapes from them."""

from __future__ import annotations

from typing import TYPE_CHECKING

from packager.errors import ConversionError
from packager.hub.graph import all_nodes, domain_of

if TYPE_CHECKING:
    import onnx

    from packager.hub.form import Form


def requires(form: Form) -> bool:
    """Where shapes must be static."""
    return form.needs.static_shapes


def run(model: onnx.ModelProto, form: Form) -> onnx.ModelProto:
    """The model with numbers for dimensions.

    Raises:
        ConversionError: a free dimension has no value, or the values contradict the graph.
    """
    import onnx.shape_inference

    constants = {entry.name for entry in model.graph.initializer}
    for entry in model.graph.input:
        if entry.name not in constants:
            for axis, size in enumerate(entry.type.tensor_type.shape.dim):
                if _is_free(size):
                    size.dim_value = _value(size.dim_param, entry.name, axis, form)
    # What was inferred with free dimensions would stand in the way of what follows from the numbers.
    del model.graph.value_info[:]
    for entry in model.graph.output:
        for size in entry.type.tensor_type.shape.dim:
            if _is_free(size):
                size.Clear()
    # Behind an operator of ai.onnx.ml there may be no types to be strict about: ONNX infers none for early ones.
    strict = not any(domain_of(node.domain) for node in all_nodes(model.graph))
    try:
        return onnx.shape_inference.infer_shapes(model, strict_mode=strict, data_prop=True)
    except onnx.shape_inference.InferenceError as error:
        raise ConversionError("hub.shapes", f"shapes can't be inferred: {error}") from error


def ensures(model: onnx.ModelProto, form: Form) -> list[str]:
    """No dimension of an input is free; an output behind control flow gets its shape where that is resolved."""
    del form
    return [
        f"dimension {axis} of '{entry.name}' is free"
        for entry in model.graph.input
        for axis, size in enumerate(entry.type.tensor_type.shape.dim)
        if _is_free(size)
    ]


def _is_free(size: onnx.TensorShapeProto.Dimension) -> bool:
    """Whether a dimension has no number; some exporters write -1."""
    return not size.HasField("dim_value") or size.dim_value < 0


def _value(name: str, source: str, axis: int, form: Form) -> int:
    value = form.free_dimensions.get(name or f"{source}.{axis}", form.free_dimensions.get("*"))
    if value is None:
        raise ConversionError(
            "hub.free-dimension",
            f"dimension {axis} of input '{source}' is free ('{name}') and the target needs a number",
            hint="give it in the target's options",
        )
    return value
