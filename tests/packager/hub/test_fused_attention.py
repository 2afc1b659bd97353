"""Attention, embeddings and other operators of onnxruntime's own, by ONNX's: against onnxruntime, which runs both."""

from __future__ import annotations

import numpy as np
import pytest
from onnx import helper

from packager.hub.split_fused import DOMAIN, split
from tests.packager.hub.test_fused import check, model_of, scale, zero

RANDOM = np.random.default_rng(5)
BATCH, LENGTH, WIDTH, HEADS, PAST = 2, 5, 8, 2, 3
SIZE = WIDTH // HEADS


def normal(*shape: int) -> np.ndarray:
    return RANDOM.standard_normal(shape).astype(np.float32)


ROWS = normal(BATCH, LENGTH, WIDTH)
WEIGHTS, BIAS = normal(WIDTH, 3 * WIDTH), normal(3 * WIDTH)
CACHE = normal(2, BATCH, HEADS, PAST, SIZE)
TOTAL = PAST + LENGTH
BYTES = RANDOM.integers(0, 256, (2, 6, 4)).astype(np.uint8)


def mask(*shape: int) -> np.ndarray:
    found = RANDOM.integers(0, 2, shape).astype(np.int32)
    found[..., 0] = 1  # a query with nothing to look at gives what it gives
    return found


@pytest.mark.parametrize("causal", [0, 1])
@pytest.mark.parametrize("masked", [(), (BATCH, LENGTH), (BATCH, LENGTH, LENGTH)], ids=["all", "keys", "pairs"])
def test_attention_with_its_projections(masked: tuple[int, ...], causal: int) -> None:
    given = mask(*masked) if masked else None
    check("Attention", ROWS, WEIGHTS, BIAS, given, num_heads=HEADS, unidirectional=causal, tolerance=1e-5)


@pytest.mark.parametrize("causal", [0, 1])
def test_attention_with_a_cache(causal: int) -> None:
    check("Attention", ROWS, WEIGHTS, BIAS, mask(BATCH, TOTAL), CACHE, outputs=2, wanted=(0, 1), num_heads=HEADS,
          unidirectional=causal, scale=0.3, mask_filter_value=-5000.0, tolerance=1e-5)  # fmt: skip


def test_attention_with_something_added_to_its_scores() -> None:
    check(
        "Attention", ROWS, WEIGHTS, BIAS, None, None, normal(1, HEADS, LENGTH, LENGTH), num_heads=HEADS, tolerance=1e-5
    )


def test_attention_whose_values_have_another_size() -> None:
    check("Attention", ROWS, normal(WIDTH, 20), normal(20), num_heads=HEADS, qkv_hidden_sizes=[8, 8, 4], tolerance=1e-5)


@pytest.mark.parametrize("ends", [3, LENGTH])
def test_attention_up_to_the_length_of_a_sequence(ends: int) -> None:
    check("Attention", ROWS[:1], WEIGHTS, BIAS, np.array([ends], np.int32), num_heads=HEADS, tolerance=1e-5)


@pytest.mark.parametrize("masked", [False, True])
def test_attention_of_integers(*, masked: bool) -> None:
    source = RANDOM.integers(0, 256, (BATCH, LENGTH, WIDTH)).astype(np.uint8)
    weights = RANDOM.integers(-128, 128, (WIDTH, 3 * WIDTH)).astype(np.int8)
    given = mask(BATCH, LENGTH) if masked else None
    check("QAttention", source, weights, BIAS, scale(0.01), scale(0.01), given, zero(120), zero(0, np.int8),
          num_heads=HEADS, tolerance=1e-4)  # fmt: skip


@pytest.mark.parametrize("causal", [0, 1])
@pytest.mark.parametrize("bias", [False, True])
@pytest.mark.parametrize("masked", [(), (BATCH, 7), (BATCH, LENGTH, 7)], ids=["all", "keys", "pairs"])
def test_attention_to_other_values(masked: tuple[int, ...], causal: int, *, bias: bool) -> None:
    if causal and not masked:
        keys = normal(BATCH, LENGTH, WIDTH), normal(BATCH, LENGTH, WIDTH)
    else:
        keys, causal = (normal(BATCH, 7, WIDTH), normal(BATCH, 7, WIDTH)), 0
    more = (BIAS if bias else None, mask(*masked) if masked else None)
    check("MultiHeadAttention", ROWS, *keys, *more, num_heads=HEADS, unidirectional=causal, tolerance=1e-5)


def test_attention_to_values_with_a_cache() -> None:
    keys = normal(BATCH, LENGTH, WIDTH), normal(BATCH, LENGTH, WIDTH)
    more = None, None, normal(1, HEADS, LENGTH, TOTAL), CACHE[0], CACHE[1]
    check("MultiHeadAttention", ROWS, *keys, *more, outputs=3, wanted=(0, 1, 2), num_heads=HEADS, tolerance=1e-5)


def test_attention_to_values_that_are_apart_by_heads() -> None:
    check("MultiHeadAttention", ROWS, CACHE[0], CACHE[1], num_heads=HEADS, scale=0.2, tolerance=1e-5)


@pytest.mark.parametrize("interleaved", [0, 1])
@pytest.mark.parametrize("form", ["flat", "heads", "partial"])
@pytest.mark.parametrize("places", ["start", "each"])
def test_values_turned_by_their_places(form: str, places: str, interleaved: int) -> None:
    size = 6
    turned = 4 if form == "partial" else size
    source = normal(BATCH, HEADS, LENGTH, size) if form == "heads" else normal(BATCH, LENGTH, HEADS * size)
    tables = normal(20, turned // 2), normal(20, turned // 2)
    where = np.array([3]) if places == "start" else RANDOM.integers(0, 20, (BATCH, LENGTH))
    partial = {"num_heads": HEADS, "rotary_embedding_dim": turned} if form == "partial" else {}
    check("RotaryEmbedding", source, where.astype(np.int64), *tables, interleaved=interleaved, **partial)


@pytest.mark.parametrize("segments", [False, True])
@pytest.mark.parametrize("places", [False, True])
def test_embeddings_that_are_normalized(*, segments: bool, places: bool) -> None:
    words = RANDOM.integers(0, 20, (BATCH, LENGTH)).astype(np.int32)
    kinds = RANDOM.integers(0, 2, (BATCH, LENGTH)).astype(np.int32) if segments else None
    kept = np.array([[1, 1, 1, 0, 0], [1, 1, 1, 1, 0]], dtype=np.int32)
    where = RANDOM.integers(0, 9, (BATCH, LENGTH)).astype(np.int32) if places else None
    table = normal(2, WIDTH) if segments else None
    check("EmbedLayerNormalization", words, kinds, normal(20, WIDTH), normal(9, WIDTH), table, normal(WIDTH),
          normal(WIDTH), kept, where, outputs=3, wanted=(0, 1, 2), tolerance=3e-6, epsilon=1e-5)  # fmt: skip


@pytest.mark.parametrize("zeros", [False, True])
@pytest.mark.parametrize("bits", [4, 8])
def test_rows_of_a_quantized_table_become_numbers(bits: int, *, zeros: bool) -> None:
    rows, columns, block = 10, 64, 16
    packed = RANDOM.integers(0, 256, (rows, columns * bits // 8)).astype(np.uint8)
    points = RANDOM.integers(0, 256, (rows, columns // block * bits // 8)).astype(np.uint8) if zeros else None
    wanted = RANDOM.integers(0, rows, (2, 3))
    check("GatherBlockQuantized", packed, wanted, normal(rows, columns // block), points, bits=bits, block_size=block,
          gather_axis=0, quantize_axis=1, constants=(0, 2, 3) if zeros else (0, 2))  # fmt: skip


def test_quantized_values_along_an_axis_or_by_a_condition() -> None:
    check("QLinearSoftmax", BYTES, scale(0.05), zero(120), scale(1 / 256), zero(0), opset=13, axis=-1)
    check("QLinearSoftmax", BYTES, scale(0.05), zero(120), scale(1 / 256), zero(0), opset=13, axis=1)
    chosen = RANDOM.integers(0, 2, BYTES.shape).astype(bool)
    check("QLinearWhere", chosen, BYTES, scale(0.02), zero(3), BYTES[::-1].copy(), scale(0.03), zero(7), scale(0.04),
          zero(9))  # fmt: skip


@pytest.mark.parametrize("quantized", [False, True])
def test_a_general_product_of_integers(*, quantized: bool) -> None:
    left = RANDOM.integers(0, 256, (3, 6)).astype(np.uint8)
    right = RANDOM.integers(-128, 128, (4, 6)).astype(np.int8)
    shift = RANDOM.integers(-500, 500, 4).astype(np.int32)
    result = (scale(0.5), zero(110)) if quantized else ()
    check("QGemm", left, scale(0.02), zero(100), right, scale(0.1), zero(3, np.int8), shift, *result, transB=1,
          tolerance=1e-5)  # fmt: skip


def test_a_pool_with_channels_last() -> None:
    check("NhwcMaxPool", RANDOM.integers(0, 256, (1, 6, 6, 3)).astype(np.uint8), kernel_shape=[2, 2], strides=[2, 2])


def test_numbers_to_bytes_and_back() -> None:
    check("QuantizeLinear", normal(4, 3), scale(0.02), zero(120))
    check("DequantizeLinear", BYTES, scale(0.02), zero(120))


def test_operators_that_onnx_has_too() -> None:
    rows = normal(4, 3)
    check("CDist", rows, normal(5, 3), metric="euclidean", tolerance=1e-5)
    check("CDist", rows, normal(5, 3), metric="sqeuclidean", tolerance=1e-5)
    check("Trilu", rows, np.array(1, dtype=np.int64), upper=1)
    check("ExpandDims", rows, np.array(1, dtype=np.int32), constants=(1,))
    check("GatherND", rows, np.array([[1, 2], [0, 0]], dtype=np.int64))
    check("Pad", rows, np.array([[1, 0, 0, 2]], dtype=np.int64), np.array([7], dtype=np.float32))
    check("Range", np.array(1, np.float32), np.array(9, np.float32), np.array(2, np.float32))
    check("Range", np.array(1, np.int32), np.array(9, np.int32))
    check("Unique", np.array([3, 1, 3, 2, 1, 3], np.float32), outputs=3, wanted=(0, 1, 2))


@pytest.mark.parametrize(
    ("operator", "values", "attributes", "reason"),
    [
        ("Attention", (ROWS, WEIGHTS, BIAS, np.array([3, 4], np.int32)), {"num_heads": 2}, "its mask is neither"),
        ("Attention", (ROWS, WEIGHTS, BIAS), {"num_heads": 2, "do_rotary": 1}, "turns its queries"),
        ("MultiHeadAttention", (normal(2, 5, 2, 3, 4),), {"num_heads": 2}, "packed together"),
        ("CDist", (ROWS[0], ROWS[1]), {"metric": "cityblock"}, "its metric is 'cityblock'"),
        ("ExpandDims", (ROWS, np.array(1, np.int32)), {}, "its axis is computed"),
    ],
)
def test_what_is_declined_has_its_reason(
    operator: str, values: tuple[np.ndarray, ...], attributes: dict[str, object], reason: str
) -> None:
    names = [f"i{place}" for place in range(len(values))]
    node = helper.make_node(operator, names, ["y"], domain=DOMAIN, **attributes)
    (finding,) = split(model_of(node, dict(zip(names, values, strict=True))))
    assert finding.operator == f"com.microsoft.{operator}"
    assert reason in finding.reason
