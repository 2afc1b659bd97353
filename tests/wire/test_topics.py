from __future__ import annotations

from typing import get_args

import pytest
from hypothesis import given
from hypothesis import strategies as st

from wire.errors import WireError
from wire.topics import NAME_PATTERN, Channel, device_topic, fleet_filter, parse_topic

names = st.from_regex(NAME_PATTERN, fullmatch=True)


@given(names, names, st.sampled_from(get_args(Channel)))
def test_a_topic_comes_back_as_what_it_is_about(fleet: str, device: str, channel: Channel) -> None:
    topic = device_topic(fleet, device, channel)
    parsed = parse_topic(topic)
    assert (parsed.fleet, parsed.device, parsed.channel) == (fleet, device, channel)
    assert str(parsed) == topic


@given(names, names, st.sampled_from(get_args(Channel)))
def test_every_topic_fits_the_limits_of_the_narrowest_brokers(fleet: str, device: str, channel: Channel) -> None:
    topic = device_topic(fleet, device, channel)
    assert len(topic.split("/")) <= 7
    assert len(topic.encode()) <= 256


@pytest.mark.parametrize(
    "name", ["", "A", "a/b", "+", "#", "a+", "$share", "a ", " a", "a\n", "é", "-a", "a-", "a" * 65, "a\0"]
)
def test_a_name_that_is_no_topic_level_is_refused(name: str) -> None:
    for fleet, device in ((name, "device"), ("fleet", name)):
        with pytest.raises(WireError) as caught:
            device_topic(fleet, device, "status")
        assert caught.value.code == "wire.name"


def test_a_filter_takes_every_device_of_one_fleet() -> None:
    assert fleet_filter("x", "telemetry") == "pt/v1/x/d/+/telemetry"


@pytest.mark.parametrize(
    "topic",
    [
        "",
        "pt/v1/f/d/x",
        "pt/v1/f/d/x/unknown",
        "pt/v1/f/d/x/status/more",
        "pt/v2/f/d/x/status",
        "xx/v1/f/d/x/status",
        "pt/v1/f/c/x/status",
        "pt/v1/f/d/x/status\n",
        "pt/v1/F/d/x/status",
        "pt/v1/f/d/+/status",
        "/pt/v1/f/d/x/status",
        "pt/v1/" + "a" * 65 + "/d/x/status",
    ],
)
def test_a_topic_of_no_device_is_refused(topic: str) -> None:
    with pytest.raises(WireError) as caught:
        parse_topic(topic)
    assert caught.value.code == "wire.topic"


@given(st.text() | st.lists(st.sampled_from(["pt", "v1", "d", "f", "status", "", "\n"])).map("/".join))
def test_random_topics_are_refused_or_come_back(topic: str) -> None:
    try:
        parsed = parse_topic(topic)
    except WireError:
        return
    assert str(parsed) == topic
