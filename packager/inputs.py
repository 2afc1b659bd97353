"""What ``[model.inputs]`` says, made true of an ONNX model: shapes, constants, and what a graph has no place for."""

from __future__ import annotations

from typing import TYPE_CHECKING, NamedTuple

from manifests.pipeline import DeclaredInput
from packager.errors import ConfigError

if TYPE_CHECKING:
    from collections.abc import Mapping

    import numpy as np
    import onnx
    from numpy.typing import NDArray

    from packager.tables import InputTable

_FIRST_IR_WITH_CONSTANTS = 4
"""Before it, every initializer had to be an input too."""


class DeclaredInputs(NamedTuple):
    """What is known of the inputs beside the graph, and what became of those that are constants."""

    inputs: dict[str, DeclaredInput]
    maximum: dict[str, int]
    constants: dict[str, NDArray[np.generic]]
    """Inputs that left the signature."""


def declare_inputs(model: onnx.ModelProto, tables: Mapping[str, InputTable]) -> DeclaredInputs:
    """Change the model as the tables say.

    Raises:
        ConfigError: a table does not fit the model; the message names the field's path.
    """
    _free_unknown(model)
    constants: dict[str, NDArray[np.generic]] = {}
    declared: dict[str, DeclaredInput] = {}
    maximum: dict[str, int] = {}
    for name, table in tables.items():
        entry = _input(model, name)
        _check_type(entry, table)
        if table.shape is not None:
            _bind(model, entry, table.shape)
        if table.value is not None:
            constants[name] = _constant(model, entry, table)
            continue
        _check(entry, table)
        if table.layout or table.range is not None:
            declared[name] = DeclaredInput(layout=table.layout, range=table.range)
        maximum.update(table.maximum)
    if any(table.shape is not None for table in tables.values()):
        _infer(model)
    return DeclaredInputs(declared, maximum, constants)


def _free_unknown(model: onnx.ModelProto) -> None:
    """Leave dimensions free that some exporters write as -1, to ONNX a number, or as ``?``, to ONNX a name."""
    for entry in [*model.graph.input, *model.graph.output, *model.graph.value_info]:
        for size in entry.type.tensor_type.shape.dim:
            if size.dim_value < 0 or size.dim_param == "?":
                size.Clear()


def _input(model: onnx.ModelProto, name: str) -> onnx.ValueInfoProto:
    constants = {tensor.name for tensor in model.graph.initializer}
    inputs: dict[str, onnx.ValueInfoProto] = {
        entry.name: entry for entry in model.graph.input if entry.name not in constants
    }
    if name not in inputs:
        raise ConfigError(
            "config.inputs", f"'model.inputs.{name}': the model has no such input: expected one of {', '.join(inputs)}"
        )
    return inputs[name]


def _check_type(entry: onnx.ValueInfoProto, table: InputTable) -> None:
    dtype = _dtype(entry)
    if table.dtype is not None and table.dtype != dtype:
        raise _wrong(entry.name, "dtype", f"the model takes another: expected {dtype}, got {table.dtype}")


def _check(entry: onnx.ValueInfoProto, table: InputTable) -> None:
    rank = len(entry.type.tensor_type.shape.dim)
    if table.layout and (len(table.layout) != rank or len(set(table.layout)) != rank):
        raise _wrong(entry.name, "layout", f"expected one letter for each of {rank} axes, got '{table.layout}'")
    if table.range is not None and not table.range[0] <= table.range[1]:
        raise _wrong(entry.name, "range", f"expected the lower end first, got {list(table.range)}")
    free = [
        size.dim_param or f"{entry.name}.{axis}"
        for axis, size in enumerate(entry.type.tensor_type.shape.dim)
        if not size.HasField("dim_value")
    ]
    for name in table.maximum:
        if name not in free:
            raise _wrong(
                entry.name, "maximum", f"'{name}' is no free dimension: expected one of {', '.join(free) or 'none'}"
            )


def _bind(model: onnx.ModelProto, entry: onnx.ValueInfoProto, shape: tuple[int | str, ...]) -> None:
    """Give the input that shape; a dimension's name stands for one value wherever it is used."""
    sizes = entry.type.tensor_type.shape.dim
    if not entry.type.tensor_type.HasField("shape"):
        for _ in shape:
            sizes.add()
    if len(sizes) != len(shape):
        raise _wrong(entry.name, "shape", f"expected {len(sizes)} dimensions, got {len(shape)}")
    bound: dict[str, set[int | str]] = {}
    for axis, (size, wanted) in enumerate(zip(sizes, shape, strict=True)):
        if size.HasField("dim_value") and size.dim_value != wanted:
            raise _wrong(entry.name, "shape", f"the model fixes dimension {axis} at {size.dim_value}, got {wanted}")
        if size.dim_param:
            bound.setdefault(size.dim_param, set()).add(wanted)
        _set(size, wanted)
    _rename(model, entry.name, bound)


def _rename(model: onnx.ModelProto, done: str, bound: Mapping[str, set[int | str]]) -> None:
    """Give dimensions that go by a name their value, or another name, in all tensors but `done`.

    What gets two values is no name, whatever the exporter meant, and is forgotten.
    """
    for value in [*model.graph.input, *model.graph.output]:
        if value.name == done:
            continue
        for size in value.type.tensor_type.shape.dim:
            values = bound.get(size.dim_param, set()) if size.dim_param else set()
            if len(values) == 1:
                _set(size, next(iter(values)))
            elif values:
                size.Clear()


def _set(size: onnx.TensorShapeProto.Dimension, wanted: int | str) -> None:
    if isinstance(wanted, int):
        size.dim_value = wanted
    else:
        size.dim_param = wanted


def _constant(model: onnx.ModelProto, entry: onnx.ValueInfoProto, table: InputTable) -> NDArray[np.generic]:
    import numpy as np
    import onnx.numpy_helper

    shape = tuple(size.dim_value if size.HasField("dim_value") else None for size in entry.type.tensor_type.shape.dim)
    try:
        value = np.asarray(table.value).astype(_dtype(entry).replace("string", "object"))
    except (ValueError, TypeError, OverflowError) as error:
        raise _wrong(entry.name, "value", f"is no {_dtype(entry)}: {error}") from error
    if value.ndim == 0:
        # A single number stands for a whole tensor; a free dimension has one element then.
        value = np.full(tuple(1 if size is None else size for size in shape), value)
    fitting = len(shape) == value.ndim and all(
        size in (None, given) for size, given in zip(shape, value.shape, strict=True)
    )
    if not fitting:
        raise _wrong(entry.name, "value", f"expected shape {list(shape)}, got {list(value.shape)}")
    model.graph.initializer.append(onnx.numpy_helper.from_array(value, entry.name))
    model.graph.input.remove(entry)
    model.ir_version = max(model.ir_version, _FIRST_IR_WITH_CONSTANTS)
    return value


def _infer(model: onnx.ModelProto) -> None:
    """Infer shapes anew: what was inferred with free dimensions would stand in the way."""
    import onnx.shape_inference

    del model.graph.value_info[:]
    try:
        inferred = onnx.shape_inference.infer_shapes(model, data_prop=True)
    except onnx.shape_inference.InferenceError as error:
        raise ConfigError("config.inputs", f"the shapes in [model.inputs] do not fit the model: {error}") from error
    model.CopyFrom(inferred)


def _dtype(entry: onnx.ValueInfoProto) -> str:
    import onnx

    dtype = onnx.helper.tensor_dtype_to_np_dtype(entry.type.tensor_type.elem_type)
    return "string" if dtype.kind in "OUT" else dtype.name


def _wrong(name: str, field: str, problem: str) -> ConfigError:
    return ConfigError("config.inputs", f"'model.inputs.{name}.{field}': {problem}")
