"""What prepares features: scalers, imputers, encoders."""

from __future__ import annotations

from typing import TYPE_CHECKING

from packager.hub.writer import (
    FLOAT,
    INT64,
    Unsupported,
    attributes_of,
    floats,
    integers,
    number,
    tensor,
    text,
)

if TYPE_CHECKING:
    from collections.abc import Mapping

    import onnx

    from packager.hub.writer import Array, Writer

_STRINGS_COMPARE = 19
"""The opset from which Equal takes strings."""


def scaler(writer: Writer, node: onnx.NodeProto) -> None:
    """(X - offset) * scale."""
    attributes = attributes_of(node)
    shifted = writer.add("Sub", [writer.floats(node.input[0]), writer.constant(floats(attributes, "offset"))])
    writer.add("Mul", [shifted, writer.constant(floats(attributes, "scale"))], node.output[0])


def normalizer(writer: Writer, node: onnx.NodeProto) -> None:
    """Each row divided by its norm; a row of zeros stays.

    The norm MAX is declined: whether it takes magnitudes differs between onnx's reference and onnxruntime.
    """
    norm = text(attributes_of(node), "norm", "MAX")
    operator = {"L1": "ReduceL1", "L2": "ReduceL2"}.get(norm)
    if operator is None:
        raise Unsupported(f"whether the norm '{norm}' takes magnitudes is not agreed on")
    source = writer.floats(node.input[0])
    # The larger of norm and tiny leaves a row of zeros as it is, and changes no other row.
    bounded = writer.add("Max", [writer.reduce(operator, source, 1), writer.constant([1e-30])])
    writer.add("Div", [source, bounded], node.output[0])


def binarizer(writer: Writer, node: onnx.NodeProto) -> None:
    """1 above the threshold, else 0."""
    import numpy as np

    limit = attributes_of(node).get("threshold", 0.0)
    if writer.type_of(node.input[0]) != FLOAT or not isinstance(limit, float):
        raise Unsupported("its input is not float32")
    above = writer.add("Greater", [node.input[0], writer.constant(np.array(limit, dtype=np.float32))])
    writer.add("Cast", [above], node.output[0], to=FLOAT)


def imputer(writer: Writer, node: onnx.NodeProto) -> None:
    """The value that stands for a missing one is replaced; it may be NaN."""
    import numpy as np

    attributes = attributes_of(node)
    source = node.input[0]
    if writer.type_of(source) == INT64:
        fill = np.array(integers(attributes, "imputed_value_int64s"), dtype=np.int64)
        missing = np.array(number(attributes, "replaced_value_int64", 0), dtype=np.int64)
    elif writer.type_of(source) == FLOAT:
        fill = np.array(floats(attributes, "imputed_value_floats"), dtype=np.float32)
        missing = np.array(attributes.get("replaced_value_float", 0.0), dtype=np.float32)
    else:
        raise Unsupported("its input is neither float32 nor int64")
    if missing.dtype.kind == "f" and np.isnan(missing):
        replaced = writer.add("IsNaN", [source])
    else:
        replaced = writer.add("Equal", [source, writer.constant(missing)])
    writer.add("Where", [replaced, writer.constant(fill), source], node.output[0])


def array_feature_extractor(writer: Writer, node: onnx.NodeProto) -> None:
    """The columns that the second input names."""
    chosen = writer.add("Reshape", [node.input[1], writer.integers(-1)])
    rank = writer.rank(node.input[0])
    if rank == 1:
        picked = writer.add("Gather", [node.input[0], chosen], axis=0)
        writer.add("Reshape", [picked, writer.integers(1, -1)], node.output[0])
    else:
        writer.add("Gather", [node.input[0], chosen], node.output[0], axis=rank - 1)


def feature_vectorizer(writer: Writer, node: onnx.NodeProto) -> None:
    """Columns side by side."""
    if any(writer.rank(name) != 2 for name in node.input):  # noqa: PLR2004 - rows and columns
        raise Unsupported("an input is no matrix")
    widths = integers(attributes_of(node), "inputdimensions")
    if [writer.width(name) for name in node.input] != widths:
        raise Unsupported("an input is not as wide as it says")
    writer.add("Concat", [writer.floats(name) for name in node.input], node.output[0], axis=1)


def one_hot_encoder(writer: Writer, node: onnx.NodeProto) -> None:
    """One place for each category, none for others."""
    import numpy as np

    attributes = attributes_of(node)
    if not number(attributes, "zeros", 1):
        raise Unsupported("an unknown category is an error there (zeros = 0)")
    source = node.input[0]
    words = attributes.get("cats_strings")
    if isinstance(words, list) and words:
        _demand_strings(writer)
        categories: Array = np.array([word.decode() for word in words], dtype=np.object_)
    else:
        categories = np.array(integers(attributes, "cats_int64s"), dtype=np.int64)
        source = source if writer.type_of(source) == INT64 else writer.add("Cast", [source], to=INT64)
    if len(set(categories.tolist())) != len(categories):
        raise Unsupported("a category is named twice")
    equal = writer.add("Equal", [_column(writer, source, node.input[0]), writer.constant(categories)])
    writer.add("Cast", [equal], node.output[0], to=FLOAT)


def label_encoder(writer: Writer, node: onnx.NodeProto) -> None:
    """Each key's value, and the default for what is no key."""
    attributes = attributes_of(node)
    values = _table(attributes, "values")
    _look_up(writer, node, _table(attributes, "keys"), values, _default(attributes, values))


def category_mapper(writer: Writer, node: onnx.NodeProto) -> None:
    """Text to numbers, or numbers to text, as the input is."""
    import numpy as np

    attributes = attributes_of(node)
    numbers = np.array(integers(attributes, "cats_int64s"), dtype=np.int64)
    words = _table({"cats_strings": attributes.get("cats_strings")}, "cats")
    if writer.type_of(node.input[0]) == INT64:
        _look_up(writer, node, numbers, words, text(attributes, "default_string", "_Unused"))
    else:
        _look_up(writer, node, words, numbers, np.int64(number(attributes, "default_int64", -1)))


def _look_up(writer: Writer, node: onnx.NodeProto, keys: Array, values: Array, default: object) -> None:
    import numpy as np

    if keys.dtype.kind == "O":
        _demand_strings(writer)
    if keys.dtype.kind == "f" and np.isnan(keys).any():
        raise Unsupported("whether the key NaN is found differs from version to version")
    known = keys.tolist()
    if len({str(key) for key in known}) != len(known):
        raise Unsupported("a key is named twice")
    column = _column(writer, node.input[0], node.input[0])
    found = writer.add("Equal", [column, writer.constant(keys)])
    # The last place is the default's: it is found when nothing is found before it.
    ranked = writer.add("Cast", [found], to=FLOAT)
    place = writer.add("ArgMax", [ranked], axis=-1, keepdims=0)
    hit = writer.add("Cast", [writer.reduce("ReduceMax", ranked, -1, keepdims=False)], to=9)
    index = writer.add("Where", [hit, place, writer.integers(len(known))])
    table = np.concatenate([values, np.array([default], dtype=values.dtype)])
    writer.add("Gather", [writer.constant(table), index], node.output[0], axis=0)


def _column(writer: Writer, source: str, described: str) -> str:
    """With one more axis at the end; negative axes are not in every opset."""
    axis = writer.rank(described)
    return writer.unsqueeze(source, axis)


def _demand_strings(writer: Writer) -> None:
    if writer.version < _STRINGS_COMPARE:
        raise Unsupported(f"text can't be compared before opset {_STRINGS_COMPARE}")


def _table(attributes: Mapping[str, object], side: str) -> Array:
    import numpy as np

    found = tensor(attributes, f"{side}_tensor")
    if found is not None:
        return found
    kinds = (("int64s", np.int64), ("floats", np.float32))
    for name, kind in kinds:
        values = attributes.get(f"{side}_{name}")
        if isinstance(values, list) and values:
            return np.array(values, dtype=kind)
    words = attributes.get(f"{side}_strings")
    if isinstance(words, list) and words:
        return np.array([word.decode() for word in words], dtype=np.object_)
    raise Unsupported(f"it has no {side}")


def _default(attributes: Mapping[str, object], values: Array) -> object:
    found = tensor(attributes, "default_tensor")
    if found is not None:
        return found.reshape(-1)[0]
    if values.dtype.kind == "O":
        return text(attributes, "default_string", "_Unused")
    if values.dtype.kind == "f":
        return attributes.get("default_float", -0.0)
    return attributes.get("default_int64", -1)
