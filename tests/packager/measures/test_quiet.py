from __future__ import annotations

import threading
from typing import TYPE_CHECKING

import pytest

from packager.measures.quiet import Busy, Turns

if TYPE_CHECKING:
    from pathlib import Path


class Clock:
    """A clock that is a minute later each time that it is looked at."""

    now = 0.0

    def __call__(self) -> float:
        self.now += 60
        return self.now


def test_whoever_works_with_nobody_beside_measures_alone(tmp_path: Path) -> None:
    with Turns(tmp_path / "turns") as turns, turns.alone() as alone:
        assert alone


def test_a_measurement_waits_until_the_others_end(tmp_path: Path) -> None:
    measured: list[bool] = []

    def measure() -> None:
        with Turns(tmp_path / "turns") as turns, turns.alone() as alone:
            measured.append(alone)

    with Turns(tmp_path / "turns"):
        thread = threading.Thread(target=measure)
        thread.start()
        thread.join(0.1)
        assert not measured
    thread.join(30)
    assert measured == [True]


def test_a_measurement_that_waits_in_vain_says_that_it_was_not_alone(tmp_path: Path) -> None:
    with (
        Turns(tmp_path / "turns"),
        Turns(tmp_path / "turns", patience=100, clock=Clock()) as turns,
        turns.alone() as alone,
    ):
        assert not alone


def test_nobody_begins_to_work_while_somebody_measures(tmp_path: Path) -> None:
    working = threading.Event()

    def work() -> None:
        with Turns(tmp_path / "turns"):
            working.set()

    thread = threading.Thread(target=work)
    with Turns(tmp_path / "turns") as turns:
        with turns.alone():
            thread.start()
            assert not working.wait(0.1)
        assert working.wait(30), "afterwards they work side by side again"
    thread.join()


def test_two_measurements_take_turns_and_both_are_alone(tmp_path: Path) -> None:
    measuring, overlaps, alone = threading.Semaphore(1), [], []

    def measure() -> None:
        with Turns(tmp_path / "turns") as turns:
            for _ in range(5):
                with turns.alone() as quiet:
                    overlaps.append(not measuring.acquire(blocking=False))
                    alone.append(quiet)
                    measuring.release()

    threads = [threading.Thread(target=measure) for _ in range(3)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert not any(overlaps)
    assert alone == [True] * 15


def test_what_others_keep_busy_is_known_after_ten_ticks_and_not_before() -> None:
    busy = Busy()
    assert busy.others() is None
    deadline = threading.Event()
    assert not deadline.wait(0.2)
    others = busy.others()
    if others is None:
        pytest.skip("this system does not say how busy it is")
    assert others >= 0
