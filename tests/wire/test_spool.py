from __future__ import annotations

import itertools
import queue
from typing import TYPE_CHECKING

import pytest

from agent.link import Delivered
from agent.telemetry import Telemetry
from manifests.durable import write_durably
from wire.messages import FeatureCounts, Window, decode, encode
from wire.sketches import LatencySketch
from wire.spool import Settings, Spool, read_settings, write_settings

if TYPE_CHECKING:
    from pathlib import Path


def window(sequence: int, cells: int = 100) -> Window:
    return Window(
        model="digits",
        version="1",
        bundle="sha256:" + "0" * 64,
        boot="b",
        sequence=sequence,
        start=0.0,
        end=1.0,
        rows=1,
        calls=1,
        latency=LatencySketch(),
        features=(FeatureCounts(name="x", counts=(1,) * cells),),
    )


def waiting(spool: Spool, state: Path) -> list[tuple[int, int]]:
    found = [decode(path.read_bytes(), Window) for path in sorted((state / "spool").glob("*.window"))]
    assert len(found) == spool.count()
    return [(entry.sequence, entry.dropped) for entry in found]


def test_windows_come_out_oldest_first(tmp_path: Path) -> None:
    spool = Spool(tmp_path, 1 << 20, write_durably)
    for sequence in range(3):
        spool.put(window(sequence))
    order = []
    while (found := spool.oldest()) is not None:
        path, payload = found
        order.append(decode(payload, Window).sequence)
        spool.remove(path)
    assert order == [0, 1, 2]


def test_a_full_spool_gives_up_the_oldest_and_says_how_many(tmp_path: Path) -> None:
    size = len(encode(window(0)))
    spool = Spool(tmp_path, 3 * size + 20, write_durably)
    for sequence in range(8):
        spool.put(window(sequence))
    left = waiting(spool, tmp_path)
    assert [sequence for sequence, _ in left] == [5, 6, 7]
    assert sum(dropped for _, dropped in left) + len(left) == 8


def test_a_window_larger_than_the_spool_is_kept_alone(tmp_path: Path) -> None:
    spool = Spool(tmp_path, 4096, write_durably)
    spool.put(window(0))
    spool.put(window(1, cells=6000))
    assert waiting(spool, tmp_path) == [(1, 1)]


def test_what_is_no_window_is_thrown_away(tmp_path: Path) -> None:
    spool = Spool(tmp_path, 4096, write_durably)
    spool.put(window(0))
    spool.remove(next((tmp_path / "spool").glob("*.window")))
    (tmp_path / "spool" / "00000000000000000001-1.window").write_bytes(b"nonsense")
    spool.put(window(1))
    found = spool.oldest()
    assert found is not None
    assert decode(found[1], Window).sequence == 1
    assert spool.count() == 1


class RecordingLink:
    """A link whose broker acknowledges when the test says so."""

    def __init__(self) -> None:
        self.events: queue.SimpleQueue[object] = queue.SimpleQueue()
        self.sent: list[int] = []
        self._numbers = itertools.count(1)

    def open(self) -> None:
        """Nothing to do."""

    def subscribe(self, topic: str) -> None:
        """Nothing comes."""

    def publish(self, topic: str, payload: bytes, *, retain: bool = False) -> int:
        """Keep the window's number."""
        assert topic == "telemetry"
        assert not retain
        self.sent.append(decode(payload, Window).sequence)
        return next(self._numbers)

    def close(self) -> None:
        """Nothing to do."""


def test_one_window_is_on_its_way_and_stays_on_the_disk_until_the_broker_has_it(tmp_path: Path) -> None:
    spool, link = Spool(tmp_path, 1 << 20, write_durably), RecordingLink()
    telemetry = Telemetry(spool, link, "telemetry")
    for sequence in range(3):
        spool.put(window(sequence))
    telemetry.send()
    telemetry.send()
    assert (link.sent, spool.count()) == ([0], 3)
    telemetry.delivered(Delivered(99).message)
    assert (link.sent, spool.count()) == ([0], 3)
    telemetry.delivered(1)
    assert (link.sent, spool.count()) == ([0, 1], 2)
    telemetry.delivered(2)
    telemetry.delivered(3)
    assert (link.sent, spool.count()) == ([0, 1, 2], 0)
    telemetry.send()
    assert link.sent == [0, 1, 2]


@pytest.mark.parametrize("content", [None, b"", b"{"])
def test_applications_have_defaults_before_the_daemon_ever_ran(tmp_path: Path, content: bytes | None) -> None:
    if content is not None:
        (tmp_path / "applications.json").write_bytes(content)
    assert read_settings(tmp_path) == Settings()


def test_applications_learn_the_settings_from_the_daemon(tmp_path: Path) -> None:
    write_settings(tmp_path, Settings(interval=5.0, spool_bytes=8192), write_durably)
    assert read_settings(tmp_path) == Settings(interval=5.0, spool_bytes=8192)
