"""Embeddings of words, and tables that are quantized."""

from __future__ import annotations

from typing import TYPE_CHECKING

from packager.hub.fused.normalizations import NARROW, normalize
from packager.hub.fused.quantized import unpacked
from packager.hub.writer import INT32, Unsupported, attributes_of, number

if TYPE_CHECKING:
    import onnx

    from packager.hub.writer import Writer


def normalized(writer: Writer, node: onnx.NodeProto) -> None:
    """EmbedLayerNormalization: the sum of the embeddings of word, place and segment."""
    names = [*node.input, "", ""][:9]
    words, segments, word_table, place_table, segment_table, scale, shift, mask, places = names
    if not places:
        length = writer.add("Gather", [writer.add("Shape", [words]), writer.scalar(1)])
        places = writer.add("Range", [writer.scalar(0), length, writer.scalar(1)])
    total = writer.add("Add", [writer.add("Gather", [word_table, words]), writer.add("Gather", [place_table, places])])
    if segments:
        total = writer.add("Add", [total, writer.add("Gather", [segment_table, segments])])
    epsilon = float(str(attributes_of(node).get("epsilon", NARROW)))
    normalize(writer, total, (scale, shift), epsilon, node.output[0], kind=writer.type_of(word_table), last=2)
    if writer.reads(node, 1):
        given = mask or writer.add("Mul", [words, writer.add("Cast", [writer.scalar(0)], to=writer.type_of(words))])
        count = writer.reduce("ReduceSum", writer.add("Cast", [given], to=INT32), 1, keepdims=False)
        writer.add("Identity", [count], node.output[1])
    if writer.reads(node, 2):
        writer.add("Identity", [total], node.output[2])


def quantized_table(writer: Writer, node: onnx.NodeProto) -> None:
    """GatherBlockQuantized: rows of a table in blocks of 4 or 8 bits, which become numbers."""
    import numpy as np

    attributes = attributes_of(node)
    table, rows, scales, zeros = [*node.input, ""][:4]
    stored, steps = writer.value(table), writer.value(scales)
    points = writer.value(zeros) if zeros else None
    if stored is None or steps is None or (zeros and points is None):
        raise Unsupported("its table is computed")
    bits, block = number(attributes, "bits", 4), number(attributes, "block_size", 128)
    rank = stored.ndim
    along = number(attributes, "quantize_axis", 1) % rank
    packed = stored.dtype == np.uint8
    if packed and (along != rank - 1 or bits not in {4, 8}):
        raise Unsupported("its table is not packed along the last axis, in 4 or 8 bits")
    wide = (unpacked(stored, bits) if packed else stored).astype(np.float32)
    middle = np.float32(2 ** (bits - 1)) if packed else np.float32(0)
    zero = np.broadcast_to(middle, steps.shape)
    if points is not None:
        zero = (unpacked(points, bits) if packed else points).astype(np.float32)
        zero = np.take(zero, np.arange(steps.shape[along]), axis=along)
    blocks = [np.take(np.repeat(part, block, axis=along), np.arange(wide.shape[along]), axis=along)
              for part in (zero, steps.astype(np.float32))]  # fmt: skip
    numbers = ((wide - blocks[0]) * blocks[1]).astype(steps.dtype)
    axis = number(attributes, "gather_axis", 0)
    writer.add("Gather", [writer.constant(np.ascontiguousarray(numbers)), rows], node.output[0], axis=axis)
