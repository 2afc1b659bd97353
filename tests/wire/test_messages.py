from __future__ import annotations

import json
import math
from typing import TYPE_CHECKING, get_args

import msgspec
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from manifests import digests, manifest
from manifests.signing import generate_key, sign
from wire import messages
from wire.errors import WireError
from wire.messages import (
    ASSIGNMENT_TYPE,
    SIGNED_LIMIT,
    Assignment,
    Data,
    Desired,
    FeatureCounts,
    Get,
    Inventory,
    Message,
    Report,
    Status,
    Window,
    decode,
    decode_signed,
    encode,
    encode_signed,
)
from wire.sketches import sketch_latencies
from wire.topics import PAYLOAD_LIMIT

if TYPE_CHECKING:
    from collections.abc import Callable

DIGEST = "sha256:" + "0f" * 32
DESIRED = Desired(
    model="digits", version="3", counter=3, target="cloud", bundle=DIGEST, release="releases/digits/3/cloud.json"
)
ASSIGNMENT = Assignment(fleet="farm", device="barn-1", sequence=1, models=(DESIRED,))
INVENTORY = Inventory(
    agent="0.1.0", architecture="aarch64", python="3.11.7", targets=("cloud",), runtimes=(), disk_free_bytes=10**12
)
REPORT = Report(fleet="farm", device="barn-1", boot="b", sequence=1, time=1.7e9, assignment=1, inventory=INVENTORY)
WINDOW = Window(
    model="digits",
    version="3",
    bundle=DIGEST,
    boot="b",
    sequence=1,
    start=1.7e9,
    end=1.7e9 + 60,
    rows=10,
    calls=10,
    errors={"ValueError": 1},
    latency=sketch_latencies([0.001, 0.1]),
    features=(FeatureCounts(name="brightness", counts=(1, 2), missing=7),),
    predictions=(4, 6),
)
MESSAGES: list[Message] = [
    WINDOW,
    Get(id="1", kind="chunk", name=DIGEST),
    Data(id="1", status="ok", payload=b"\0\xff"),
    Status(state="online", boot="b"),
]


@pytest.mark.parametrize("message", MESSAGES, ids=lambda message: type(message).__name__)
def test_a_message_comes_back(message: Message) -> None:
    assert decode(encode(message), type(message)) == message


@pytest.mark.parametrize("message", [ASSIGNMENT, REPORT], ids=lambda message: type(message).__name__)
def test_a_signed_message_comes_back(message: Assignment | Report) -> None:
    assert decode_signed(encode_signed(message), type(message)) == message


def test_names_and_digests_are_those_of_the_manifest() -> None:
    """The packages are strangers, so each has its own; they must not drift apart."""
    for ours, theirs in ((messages.Name, manifest.Name), (messages.Digest, digests.Digest)):
        assert get_args(ours) == get_args(theirs)


def test_a_newer_peer_may_say_more() -> None:
    packed = msgspec.msgpack.encode({"state": "online", "boot": "b", "mood": "good"})
    assert decode(packed, Status) == Status(state="online", boot="b")
    document = json.loads(encode_signed(ASSIGNMENT)) | {"mood": "good"}
    assert decode_signed(json.dumps(document).encode(), Assignment) == ASSIGNMENT


def test_what_a_broker_does_not_carry_is_neither_sent_nor_parsed() -> None:
    for call in (
        lambda: encode(Data(id="1", status="ok", payload=bytes(PAYLOAD_LIMIT))),
        lambda: decode(bytes(PAYLOAD_LIMIT + 1), Data),
        lambda: decode_signed(b" " * (PAYLOAD_LIMIT + 1), Report),
        lambda: encode_signed(msgspec.structs.replace(ASSIGNMENT, models=(DESIRED,) * 1000)),
    ):
        with pytest.raises(WireError) as caught:
            call()
        assert caught.value.code == "wire.size"


def test_the_largest_signed_message_fits_into_a_payload_with_its_signatures() -> None:
    envelope = sign(b" " * SIGNED_LIMIT, ASSIGNMENT_TYPE, [generate_key(), generate_key()])
    assert len(envelope) <= PAYLOAD_LIMIT


@pytest.mark.parametrize(
    "change",
    [
        {"start": math.nan},
        {"end": math.inf},
        {"start": -1.0},
        {"end": 1e300},
        {"rows": -1},
        {"rows": 2**63},
        {"bundle": DIGEST + "\n"},
        {"latency": {"bins": {10**6: 1}}},
        {"latency": {"bins": {0: -1}}},
        {"predictions": [-1]},
        {"model": 1},
    ],
    ids=str,
)
def test_numbers_that_no_window_can_hold_are_refused(change: dict[str, object]) -> None:
    document = msgspec.msgpack.decode(msgspec.msgpack.encode(WINDOW)) | change
    with pytest.raises(WireError) as caught:
        decode(msgspec.msgpack.encode(document), Window)
    assert caught.value.code == "wire.message"


@pytest.mark.parametrize("field", ["model", "version", "target"])
@pytest.mark.parametrize("name", ["", "..", "../../etc", "a/b", "a\n", "A"])
def test_an_assigned_name_is_safe_as_a_path(field: str, name: str) -> None:
    document = json.loads(encode_signed(ASSIGNMENT))
    document["models"][0][field] = name
    with pytest.raises(WireError):
        decode_signed(json.dumps(document).encode(), Assignment)


@pytest.mark.parametrize("payload", [b"", b"\xff", b"\x91" * 100_000, b"\xa1\xff", b"\x81\xa1\xff\x01", b"\xc1"])
def test_what_is_no_message_is_a_clean_error(payload: bytes) -> None:
    with pytest.raises(WireError) as caught:
        decode(payload, Data)
    assert caught.value.code == "wire.message"


@pytest.mark.parametrize("payload", [b"", b"\xff", b'{"a":' * 20_000, b'{"fleet":"\xff"}', b"null", b"{}"])
def test_what_is_no_signed_message_is_a_clean_error(payload: bytes) -> None:
    with pytest.raises(WireError) as caught:
        decode_signed(payload, Assignment)
    assert caught.value.code == "wire.message"


@settings(max_examples=300)
@given(st.data())
@pytest.mark.parametrize(
    ("read", "good"),
    [
        (lambda raw: decode(raw, Window), encode(WINDOW)),
        (lambda raw: decode(raw, Data), encode(MESSAGES[2])),
        (lambda raw: decode_signed(raw, Report), encode_signed(REPORT)),
        (lambda raw: decode_signed(raw, Assignment), encode_signed(ASSIGNMENT)),
    ],
    ids=["window", "data", "report", "assignment"],
)
def test_mutated_and_random_bytes_raise_wire_errors_alone(
    read: Callable[[bytes], Message], good: bytes, data: st.DataObject
) -> None:
    raw = bytearray(good)
    position = data.draw(st.integers(0, len(raw) - 1))
    raw[position : position + data.draw(st.integers(0, 4))] = data.draw(st.binary(max_size=4))
    for payload in (bytes(raw), data.draw(st.binary())):
        try:
            message = read(payload)
        except WireError as error:
            assert error.code in ("wire.message", "wire.size")  # noqa: PT017 - either outcome is right
        else:
            assert isinstance(message, Message)
