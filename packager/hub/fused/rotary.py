"""Values turned by their places in a sequence."""

from __future__ import annotations

from typing import TYPE_CHECKING

from packager.hub.writer import Unsupported, attributes_of, number

if TYPE_CHECKING:
    import onnx

    from packager.hub.writer import Writer

_FLAT, _HEADS = 3, 4
"""Dimensions of (batch, length, heads * size), and of (batch, heads, length, size)."""


def rotary(writer: Writer, node: onnx.NodeProto) -> None:
    """RotaryEmbedding: pairs of numbers are turned by an angle that grows with the place."""
    attributes = attributes_of(node)
    source, places, cosines, sines = node.input
    rank, half = writer.rank(source), writer.width(cosines)
    if half is None or rank not in {_FLAT, _HEADS} or number(attributes, "is_packed_batching", 0):
        raise Unsupported("the form of its input is not known")
    turned, heads = number(attributes, "rotary_embedding_dim", 0), number(attributes, "num_heads", 0)
    value = source
    if rank == _FLAT:
        if turned and not heads:
            raise Unsupported("its number of heads is not known")
        value = writer.add("Reshape", [source, writer.integers(0, 0, heads or -1, -1 if heads else 2 * half)])
    positions = places
    if writer.rank(places) == 1:
        # A single number is where the sequence begins.
        length = writer.add("Gather", [writer.add("Shape", [source]), writer.scalar(1 if rank == _FLAT else 2)])
        steps = writer.add("Range", [writer.scalar(0), length, writer.scalar(1)])
        positions = writer.unsqueeze(writer.add("Add", [steps, places]), 0)
    axis = 2 if rank == _FLAT else 1
    tables = [writer.unsqueeze(writer.add("Gather", [table, positions]), axis) for table in (cosines, sines)]
    rest = ""
    if turned:
        bounds = [writer.integers(bound) for bound in (0, 2 * half, 1 << 62)]
        last = writer.integers(-1)
        value, rest = (
            writer.add("Slice", [value, low, high, last]) for low, high in ((bounds[0], bounds[1]), bounds[1:])
        )
    result = _turned(writer, value, tables, interleaved=bool(number(attributes, "interleaved", 0)))
    if rest:
        result = writer.add("Concat", [result, rest], axis=-1)
    if rank == _FLAT:
        writer.add("Reshape", [result, writer.integers(0, 0, -1)], node.output[0])
    else:
        writer.add("Identity", [result], node.output[0])


def _turned(writer: Writer, value: str, tables: list[str], *, interleaved: bool) -> str:
    """A pair is two neighbours, or a number of the first half and one of the second."""
    if interleaved:
        paired = writer.add("Reshape", [value, writer.integers(0, 0, 0, -1, 2)])
        first, second = (writer.add("Gather", [paired, writer.scalar(place)], axis=-1) for place in (0, 1))
    else:
        width = writer.add("Gather", [writer.add("Shape", [tables[0]]), writer.integers(3)])
        sizes = writer.add("Concat", [width, width], axis=0)
        first, second = writer.add_many("Split", [value, sizes], 2, axis=-1)
    cosine, sine = tables
    real = writer.add("Sub", [writer.add("Mul", [first, cosine]), writer.add("Mul", [second, sine])])
    imaginary = writer.add("Add", [writer.add("Mul", [first, sine]), writer.add("Mul", [second, cosine])])
    if not interleaved:
        return writer.add("Concat", [real, imaginary], axis=-1)
    both = writer.add("Concat", [writer.unsqueeze(part, 4) for part in (real, imaginary)], axis=-1)
    return writer.add("Reshape", [both, writer.integers(0, 0, 0, -1)])
