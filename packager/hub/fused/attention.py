"""Attention as onnxruntime fused it: projections, heads, masks and caches, by products of matrices."""

from __future__ import annotations

from typing import TYPE_CHECKING, NamedTuple

from packager.hub.writer import BOOL, FLOAT, INT64, Unsupported, attributes_of, integers, number

if TYPE_CHECKING:
    from collections.abc import Sequence

    import onnx

    from packager.hub.writer import Writer

_MASKED = -10_000.0
"""The default of what is added where a mask says no."""
_HEADS, _CACHE = 4, 5
"""Dimensions of values that are apart by heads already, and of keys and values together."""
_RAW, _SQUARE = 2, 3
"""Dimensions of a mask by keys, and by queries and keys."""


class _Sides(NamedTuple):
    """Queries, keys and values, each of (batch, heads, length, size)."""

    query: str
    key: str
    value: str


def attention(writer: Writer, node: onnx.NodeProto) -> None:
    """Attention: of a value with itself, with the projections in it."""
    source, weights, bias, mask, past, extra, past_length = [*node.input, *[""] * 7][:7]
    _refuse_sharing(node, past_length)
    projected = writer.add("MatMul", [source, weights])
    _self_attention(writer, node, projected, bias, (mask, past, extra), writer.width(weights))


def quantized_attention(writer: Writer, node: onnx.NodeProto) -> None:
    """QAttention: the same, whose projections are products of integers."""
    source, weights, bias, scale, weight_scale, mask, zero, weight_zero, past = [*node.input, *[""] * 9][:9]
    _refuse_sharing(node, "")
    zeros = [zero, weight_zero] if weight_zero else [zero] if zero else []
    product = writer.add("Cast", [writer.add("MatMulInteger", [source, weights, *zeros])], to=FLOAT)
    projected = writer.add("Mul", [product, writer.add("Mul", [scale, weight_scale])])
    _self_attention(writer, node, projected, bias, (mask, past, ""), writer.width(weights))


def multi_head(writer: Writer, node: onnx.NodeProto) -> None:
    """MultiHeadAttention: of queries with keys and values that were projected before."""
    names = [*node.input, *[""] * 10][:10]
    query, key, value, bias, mask, extra, past_key, past_value = names[:8]
    if names[8] or names[9]:
        raise Unsupported("its cache is a buffer that it writes into")
    if not key or not value or writer.rank(query) != 3:  # noqa: PLR2004 - batch, length, size
        raise Unsupported("its queries, keys and values are packed together")
    heads = number(attributes_of(node), "num_heads", 1)
    width = writer.width(query)
    if width is None:
        raise Unsupported("the size of its queries is not known")
    sides = _projected(writer, _Sides(query, key, value), bias, heads, width)
    if past_key:
        sides = sides._replace(
            key=writer.add("Concat", [past_key, sides.key], axis=2),
            value=writer.add("Concat", [past_value, sides.value], axis=2),
        )
    if writer.reads(node, 3):
        raise Unsupported(f"something reads its output '{node.output[3]}', the scores")
    for place, present in ((1, sides.key), (2, sides.value)):
        if writer.reads(node, place):
            writer.add("Identity", [present], node.output[place])
    _attend(writer, node, sides, (mask, extra), width // heads)


def _projected(writer: Writer, sides: _Sides, bias: str, heads: int, width: int) -> _Sides:
    """With their biases, by heads."""
    shifts = ["", "", ""]
    if bias:
        value_width = writer.width(sides.value)
        if value_width is None:
            raise Unsupported("the size of its values is not known")
        value_width *= heads if writer.rank(sides.value) == _HEADS else 1
        shifts = writer.add_many("Split", [bias, writer.integers(width, width, value_width)], 3, axis=0)
    parts = []
    for name, shift in zip(sides, shifts, strict=True):
        if writer.rank(name) == _HEADS:
            parts.append(name)  # made by another attention, which added its bias
        else:
            parts.append(_by_heads(writer, writer.add("Add", [name, shift]) if shift else name, heads))
    return _Sides(*parts)


def _self_attention(
    writer: Writer, node: onnx.NodeProto, projected: str, bias: str, given: tuple[str, str, str], width: int | None
) -> None:
    attributes = attributes_of(node)
    mask, past, extra = given
    heads = number(attributes, "num_heads", 1)
    if width is None:
        raise Unsupported("the size of its weights is not known")
    sizes = integers(attributes, "qkv_hidden_sizes") or [width // 3] * 3
    value = writer.add("Add", [projected, bias]) if bias else projected
    parts = writer.add_many("Split", [value, writer.integers(*sizes)], 3, axis=-1)
    sides = _Sides(*(_by_heads(writer, part, heads) for part in parts))
    if past:
        keys, values = (writer.add("Gather", [past, writer.scalar(place)], axis=0) for place in (0, 1))
        sides = sides._replace(
            key=writer.add("Concat", [keys, sides.key], axis=2),
            value=writer.add("Concat", [values, sides.value], axis=2),
        )
    if writer.reads(node, 1):
        both = [writer.unsqueeze(side, 0) for side in (sides.key, sides.value)]
        writer.add("Concat", both, node.output[1], axis=0)
    _attend(writer, node, sides, (mask, extra), sizes[0] // heads)


def _attend(writer: Writer, node: onnx.NodeProto, sides: _Sides, given: tuple[str, str], size: int) -> None:
    """The values, weighted by how well keys fit queries; heads side by side again."""
    attributes = attributes_of(node)
    mask, extra = given
    like = _floating(writer, node)
    scale = attributes.get("scale") or size**-0.5
    turned = writer.add("Transpose", [sides.key], perm=[0, 1, 3, 2])
    scores = writer.add("MatMul", [sides.query, turned])
    scores = writer.add("Mul", [scores, writer.alike(float(str(scale)), like)])
    if mask:
        fill = writer.alike(float(str(attributes.get("mask_filter_value", _MASKED))), like)
        kept = _kept(writer, mask, sides.key)
        scores = writer.add("Add", [scores, writer.add("Where", [kept, writer.alike(0, like), fill])])
    if number(attributes, "unidirectional", 0):
        low = writer.alike(-3.4028234663852886e38, like)
        scores = writer.add("Where", [_earlier(writer, sides), scores, low])
    if extra:
        scores = writer.add("Add", [scores, extra])
    weights = writer.add("Softmax", [scores], axis=-1)
    mixed = writer.add("Transpose", [writer.add("MatMul", [weights, sides.value])], perm=[0, 2, 1, 3])
    writer.add("Reshape", [mixed, writer.integers(0, 0, -1)], node.output[0])


def _floating(writer: Writer, node: onnx.NodeProto) -> str:
    """An input that has the type of the scores; other types than float32 are computed otherwise by onnxruntime."""
    name = str(node.input[2] if node.op_type == "QAttention" else node.input[0])
    if writer.type_of(name) != FLOAT:
        raise Unsupported("it is not of float32")
    return name


def _by_heads(writer: Writer, value: str, heads: int) -> str:
    """From (batch, length, heads * size) to (batch, heads, length, size)."""
    parted = writer.add("Reshape", [value, writer.integers(0, 0, heads, -1)])
    return writer.add("Transpose", [parted], perm=[0, 2, 1, 3])


def _kept(writer: Writer, mask: str, key: str) -> str:
    """Where the mask says yes, so that it fits (batch, heads, queries, keys)."""
    rank = writer.rank(mask)
    if rank == _RAW:
        return _widened(writer, writer.add("Cast", [mask], to=BOOL), (1, 2))
    if rank == _SQUARE:
        return _widened(writer, writer.add("Cast", [mask], to=BOOL), (1,))
    if rank != 1 or writer.shape(mask)[0] != 1:
        # As many as the batch: where keys end; twice as many: and where they begin. A batch of one tells them apart.
        raise Unsupported("its mask is neither of 2 nor of 3 dimensions")
    end = writer.add("Cast", [mask], to=INT64)
    places = writer.add("Range", [writer.scalar(0), _length(writer, key), writer.scalar(1)])
    return writer.add("Less", [places, end])


def _widened(writer: Writer, value: str, axes: Sequence[int]) -> str:
    for axis in axes:
        value = writer.unsqueeze(value, axis)
    return value


def _earlier(writer: Writer, sides: _Sides) -> str:
    """For (queries, keys): whether the key is not behind the query; the last query is at the last key."""
    queries, keys = _length(writer, sides.query), _length(writer, sides.key)
    one, nothing = writer.scalar(1), writer.scalar(0)
    rows = writer.add("Range", [writer.add("Sub", [keys, queries]), keys, one])
    columns = writer.add("Range", [nothing, keys, one])
    return writer.add("LessOrEqual", [columns, writer.unsqueeze(rows, 1)])


def _length(writer: Writer, side: str) -> str:
    return writer.add("Gather", [writer.add("Shape", [side]), writer.scalar(2)])


def _refuse_sharing(node: onnx.NodeProto, past_length: str) -> None:
    attributes = attributes_of(node)
    if past_length or number(attributes, "past_present_share_buffer", 0):
        raise Unsupported("its cache is a buffer that it writes into")
    if number(attributes, "do_rotary", 0):
        raise Unsupported("it turns its queries and keys by their places")
