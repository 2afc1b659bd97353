"""Weights are read from storage files as the program declares them, or refused by what is wrong."""

from __future__ import annotations

import struct
from typing import TYPE_CHECKING

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from targets.coreml.evaluator._blobs import Blobs, unpacked
from targets.coreml.evaluator._errors import PackageError
from targets.coreml.evaluator._types import ELEMENTS

if TYPE_CHECKING:
    from pathlib import Path

    from targets.coreml.evaluator._types import Element

BY_NAME = {each.name: each for each in ELEMENTS.values()}


def storage(  # noqa: PLR0913 - the fields of an entry
    folder: Path,
    data: bytes,
    kind: int,
    *,
    padding: int = 0,
    sentinel: int = 0xDEADBEEF,
    version: int = 2,
    size: int | None = None,
) -> Blobs:
    header = struct.pack("<II", 1, version).ljust(64, b"\0")
    entry = struct.pack("<IIQQQ", sentinel, kind, len(data) if size is None else size, 128, padding).ljust(64, b"\0")
    (folder / "weights").mkdir()
    (folder / "weights" / "weight.bin").write_bytes(header + entry + data)
    return Blobs(folder)


NAME = "@model_path/weights/weight.bin"


def test_float16_weights_come_back_in_their_shape(tmp_path: Path) -> None:
    values = np.arange(6, dtype=np.float16)
    blobs = storage(tmp_path, values.tobytes(), 1)
    assert np.array_equal(blobs.read(NAME, 64, BY_NAME["fp16"], (2, 3)), values.reshape(2, 3))


def test_signed_values_of_four_bits_lie_lowest_first(tmp_path: Path) -> None:
    blobs = storage(tmp_path, bytes([0x7F, 0x08]), 8, padding=4)
    assert blobs.read(NAME, 64, BY_NAME["int4"], (3,)).tolist() == [-1, 7, -8]


@given(st.sampled_from(["uint1", "uint2", "uint3", "uint4", "uint6", "int4"]), st.binary(min_size=6, max_size=6))
def test_packed_values_are_what_a_bit_by_bit_reader_finds(name: str, raw: bytes) -> None:
    element: Element = BY_NAME[name]
    bits = int.from_bytes(raw, "little")
    expected = [(bits >> place) & ((1 << element.bits) - 1) for place in range(0, 48, element.bits)]
    if element.signed:
        expected = [value - 16 if value > 7 else value for value in expected]
    assert unpacked(np.frombuffer(raw, np.uint8), element, 48).tolist() == expected


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"sentinel": 1}, "no entry at 64"),
        ({"version": 1}, "expected version 2, got 1"),
        ({"size": 1 << 60}, "lies outside the file"),
        ({"kind": 2}, "expected fp16, got fp32"),
        ({"kind": 99}, "expected fp16, got type 99"),
    ],
)
def test_a_damaged_entry_is_refused_by_what_is_wrong(tmp_path: Path, change: dict[str, int], message: str) -> None:
    fields = {"kind": 1, **change}
    blobs = storage(tmp_path, bytes(12), **fields)
    with pytest.raises(PackageError, match=message):
        blobs.read(NAME, 64, BY_NAME["fp16"], (6,))


def test_an_entry_beyond_the_file_is_refused(tmp_path: Path) -> None:
    blobs = storage(tmp_path, bytes(12), 1)
    with pytest.raises(PackageError, match="outside the file"):
        blobs.read(NAME, 1 << 40, BY_NAME["fp16"], (6,))


def test_fewer_values_than_the_shape_asks_for_are_refused(tmp_path: Path) -> None:
    blobs = storage(tmp_path, bytes(12), 1)
    with pytest.raises(PackageError, match="expected 8 values"):
        blobs.read(NAME, 64, BY_NAME["fp16"], (2, 4))


def test_a_file_outside_the_package_is_not_opened(tmp_path: Path) -> None:
    (tmp_path / "secret.bin").write_bytes(bytes(256))
    inner = tmp_path / "package"
    inner.mkdir()
    with pytest.raises(PackageError, match="not in the package"):
        Blobs(inner).read("@model_path/../secret.bin", 64, BY_NAME["fp16"], (6,))
