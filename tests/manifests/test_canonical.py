from __future__ import annotations

import json
import math

import msgspec
import pytest
from hypothesis import given
from hypothesis import strategies as st

from manifests.canonical import canonical_json, parse_json
from manifests.errors import InvalidManifestError
from manifests.manifest import HardwareSection, TaskSection

_floats = st.floats(allow_nan=False, allow_infinity=False)
# From 2**53 to 1e21, RFC 8785 writes a float as an integer is written: untyped, it comes back as one.
_numbers = st.integers(-(2**53) + 1, 2**53 - 1) | _floats.filter(lambda number: not 2**53 <= abs(number) < 1e21)
_values = st.recursive(
    st.none() | st.booleans() | _numbers | st.text(),
    lambda inner: st.lists(inner, max_size=4) | st.dictionaries(st.text(), inner, max_size=4),
    max_leaves=20,
)


@given(_values)
def test_canonical_bytes_mean_what_was_encoded(value: object) -> None:
    assert json.loads(canonical_json(value)) == value


@given(_values)
def test_encoding_what_was_decoded_gives_the_same_bytes(value: object) -> None:
    once = canonical_json(value)
    assert canonical_json(json.loads(once)) == once


@given(st.lists(_floats))
def test_every_finite_float_comes_back_where_a_float_is_expected(values: list[float]) -> None:
    assert parse_json(canonical_json(values), list[float]) == values


@given(st.dictionaries(st.text(), st.integers(-9, 9)))
def test_the_order_of_keys_does_not_matter(value: dict[str, int]) -> None:
    assert canonical_json(dict(reversed(value.items()))) == canonical_json(value)


@pytest.mark.parametrize("value", [math.nan, math.inf, -math.inf, 2**53, -(2**53), "\ud800", {1: 2}])
def test_a_value_without_a_canonical_form_is_refused(value: object) -> None:
    """SPEC 2.1.2."""
    with pytest.raises(InvalidManifestError) as caught:
        canonical_json([value])
    assert caught.value.code == "canonical.value"


def test_a_default_is_left_out_whether_it_was_given_or_not() -> None:
    """SPEC 2.1.3: equality counts, not identity."""
    given_explicitly = TaskSection(kind=str(b"unknown", "ascii"), labels=tuple([]))  # type: ignore[arg-type]  # noqa: C409 - not the literals that the defaults are
    assert canonical_json(given_explicitly) == canonical_json(TaskSection()) == b"{}"
    assert canonical_json({"hardware": [HardwareSection(architectures=("arm64",))]}) == (
        b'{"hardware":[{"architectures":["arm64"]}]}'
    )


@pytest.mark.parametrize(
    "data", [b"", b"\xff", b'"\xff"', b'"\\ud800"', b"[" * 100_000, b'{"a":' * 100_000, b"nul", b"1 2", b"1e999"]
)
def test_what_is_no_json_raises_a_decode_error_and_nothing_else(data: bytes) -> None:
    with pytest.raises(msgspec.DecodeError):
        parse_json(data, object)


@given(st.binary())
def test_random_bytes_raise_a_decode_error_or_parse(data: bytes) -> None:
    try:
        parse_json(data, object)
    except msgspec.DecodeError as error:
        assert str(error)  # noqa: PT017 - either outcome is right
