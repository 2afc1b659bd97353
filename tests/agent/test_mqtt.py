from __future__ import annotations

import socket
from queue import SimpleQueue

from agent.config import BrokerSection
from agent.link import Disconnected
from agent.mqtt import connect


def test_the_wait_before_each_reconnection_is_drawn_anew() -> None:
    with socket.socket() as taken:  # bound, and never listening: nobody answers there
        taken.bind(("127.0.0.1", 0))
        drawn: list[float] = []
        events: SimpleQueue[object] = SimpleQueue()

        def chance() -> float:
            drawn.append(0.0)
            return 0.0

        broker = BrokerSection(host="127.0.0.1", port=taken.getsockname()[1])
        link = connect(broker, "camera-1", events, random=chance)
        link.open()
        try:
            for _ in range(2):
                assert isinstance(events.get(timeout=20), Disconnected)
            assert len(drawn) >= 2
        finally:
            link.close()
