from __future__ import annotations

import msgspec
import pytest
from hypothesis import given
from hypothesis import strategies as st

from wire.chunks import PART_BYTES, Answer, split_answer
from wire.errors import WireError
from wire.messages import PARTS_LIMIT, Data, decode, encode
from wire.topics import PAYLOAD_LIMIT


@given(st.integers(0, 4 * PART_BYTES), st.randoms(use_true_random=False))
def test_the_parts_give_the_content_in_any_order_even_when_they_come_twice(size: int, random: object) -> None:
    content = bytes(position % 253 for position in range(size))
    parts = [decode(encode(part), Data) for part in split_answer("r", content)]
    random.shuffle(parts)  # type: ignore[attr-defined]  # hypothesis gives a random.Random
    answer = Answer("r")
    for part in parts[:-1]:
        assert answer.add(part) is None
        assert answer.add(part) is None
    assert answer.add(parts[-1]) == content


def test_every_part_fits_into_a_message() -> None:
    [*parts] = split_answer("i" * 64, bytes(3 * PART_BYTES))
    assert all(len(encode(part)) <= PAYLOAD_LIMIT for part in parts)


def test_an_answer_past_the_limit_is_not_sent() -> None:
    assert sum(1 for _ in split_answer("r", bytes(PARTS_LIMIT * PART_BYTES))) == PARTS_LIMIT
    with pytest.raises(WireError) as caught:
        next(split_answer("r", bytes(PARTS_LIMIT * PART_BYTES + 1)))
    assert caught.value.code == "wire.size"


@pytest.mark.parametrize(
    "second",
    [
        Data(id="other", status="ok", part=1, parts=2),
        Data(id="r", status="ok", part=1, parts=3),
        Data(id="r", status="ok", part=2, parts=2),
        Data(id="r", status="missing"),
        Data(id="r", status="refused"),
    ],
)
def test_a_part_that_does_not_belong_is_refused_and_the_answer_still_completes(second: Data) -> None:
    answer = Answer("r")
    assert answer.add(Data(id="r", status="ok", part=0, parts=2, payload=b"a")) is None
    with pytest.raises(WireError) as caught:
        answer.add(second)
    assert caught.value.code == "wire.answer"
    assert answer.add(Data(id="r", status="ok", part=1, parts=2, payload=b"b")) == b"ab"


def test_more_parts_than_an_answer_may_have_are_refused() -> None:
    many = msgspec.msgpack.encode({"id": "r", "status": "ok", "parts": PARTS_LIMIT + 1})
    with pytest.raises(WireError):
        decode(many, Data)
