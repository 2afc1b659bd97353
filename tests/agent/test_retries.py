from __future__ import annotations

from hypothesis import given
from hypothesis import strategies as st

from agent.retries import LAST_RETRY, Retries, backoff
from agent.timers import Timers


@given(tried=st.integers(0, 10_000), chance=st.floats(0, 1))
def test_a_wait_is_at_least_half_of_what_it_may_be_and_never_longer(tried: int, chance: float) -> None:
    most = min(2 * 2 ** min(tried, 20), 60)
    assert most / 2 <= backoff(tried, first=2.0, longest=60.0, random=lambda: chance) <= most


def test_devices_that_fail_together_do_not_come_back_together() -> None:
    waits = {backoff(3, first=2.0, longest=60.0, random=lambda chance=chance: chance / 10) for chance in range(10)}
    assert len(waits) == 10
    assert max(waits) - min(waits) > 7


def test_what_is_forgotten_begins_again_with_the_shortest_wait() -> None:
    now = 0.0
    timers = Timers(lambda: now)
    retries = Retries(timers, lambda: 1.0)
    waits = []
    for _ in range(10):
        retries.later("fetch:digits", list)
        waits.append(timers.wait())
    assert waits[:3] == [2.0, 4.0, 8.0]
    assert waits[-1] == LAST_RETRY
    assert "fetch:digits" in retries
    assert retries.take_all() == ["fetch:digits"]
    assert timers.wait() is None
    assert "fetch:digits" not in retries
    retries.later("fetch:digits", list)
    assert timers.wait() == 2.0
