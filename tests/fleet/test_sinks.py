"""Programs and webhooks get the event, and an outbox carries it there until they take it."""

from __future__ import annotations

import asyncio
import sys
import threading
import time
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import TYPE_CHECKING

import msgspec
import pytest

from fleet.config import CommandSink, FleetConfig, WebhookSink, read_config
from fleet.errors import FleetError
from fleet.outbox import FIRST_PAUSE, LONGEST_PAUSE, Outbox, pause
from fleet.sinks._sink import DeliveryError, Event, deliver
from fleet.store import Store
from fleet.store.retraining import RequestRow

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator
    from pathlib import Path

    from fleet.config import Sink

EVENT = Event(id="digits:1:5", model="digits", version="1", body=b'{"id":"digits:1:5"}')


class Receiver:
    """An HTTP server that answers with the given statuses in turn, then with 202, and remembers what came."""

    def __init__(self) -> None:
        self.statuses: list[int] = []
        self.headers: dict[str, str] = {}
        self.came: list[tuple[dict[str, str], bytes]] = []
        receiver = self

        class Answer(BaseHTTPRequestHandler):
            def do_POST(self) -> None:
                body = self.rfile.read(int(self.headers["content-length"]))
                receiver.came.append(({name.lower(): value for name, value in self.headers.items()}, body))
                self.send_response(receiver.statuses.pop(0) if receiver.statuses else 202)
                for name, value in receiver.headers.items():
                    self.send_header(name, value)
                self.send_header("content-length", "0")
                self.end_headers()

            def log_message(self, format: str, *args: object) -> None:  # noqa: A002 - the library's name
                pass

        self._server = ThreadingHTTPServer(("127.0.0.1", 0), Answer)
        self._thread = threading.Thread(target=self._server.serve_forever, kwargs={"poll_interval": 0.01})
        self._thread.start()
        self.url = f"http://127.0.0.1:{self._server.server_address[1]}/hook"

    def close(self) -> None:
        self._server.shutdown()
        self._thread.join()
        self._server.server_close()


@pytest.fixture
def receiver() -> Iterator[Receiver]:
    opened = Receiver()
    yield opened
    opened.close()


@pytest.fixture
def store(tmp_path: Path) -> Iterator[Store]:
    opened = Store(f"sqlite:///{tmp_path / 'fleet.db'}")
    yield opened
    opened.close()


def python(code: str, **fields: float) -> CommandSink:
    return CommandSink(command=(sys.executable, "-c", code), **fields)  # type: ignore[arg-type]  # test data


def carry(sink: Sink, workspace: Path) -> str:
    return asyncio.run(deliver(sink, EVENT, workspace))


def test_command_reads_the_event_on_standard_input_and_in_the_environment(tmp_path: Path) -> None:
    code = (
        "import os, pathlib, sys; event = sys.stdin.read();"
        "assert pathlib.Path(os.environ['PACKTRAIN_EVENT']).read_text() == event;"
        "print(event, os.environ['PACKTRAIN_EVENT_ID'], os.environ['PACKTRAIN_MODEL'], os.environ['PACKTRAIN_VERSION'])"
    )
    assert carry(python(code), tmp_path) == '{"id":"digits:1:5"} digits:1:5 digits 1'


def test_command_runs_in_the_workspace(tmp_path: Path) -> None:
    assert carry(python("import os; print(os.getcwd())"), tmp_path) == str(tmp_path)


def test_command_that_does_not_read_its_input_succeeds(tmp_path: Path) -> None:
    assert carry(python("print('done')"), tmp_path) == "done"


def test_exit_code_that_is_not_zero_is_a_failure_with_the_end_of_the_output(tmp_path: Path) -> None:
    code = "import sys; print('x' * 5000); print('no data', file=sys.stderr, flush=True); sys.exit(3)"
    with pytest.raises(DeliveryError, match=r"^ended with exit code 3: x+\nno data$") as failure:
        carry(python(code), tmp_path)
    assert len(str(failure.value)) < 2100


def test_command_that_is_not_there_is_a_failure(tmp_path: Path) -> None:
    with pytest.raises(DeliveryError, match="'no-such-program' can't be started"):
        carry(CommandSink(command=("no-such-program",)), tmp_path)


def test_command_that_takes_too_long_ends_with_everything_it_started(tmp_path: Path) -> None:
    # The grandchild holds a pipe open: its end is seen here when it is gone.
    pipe = tmp_path / "alive"
    code = (
        "import os, subprocess, sys; os.mkfifo('alive');"
        "child = subprocess.Popen([sys.executable, '-c', "
        '\'import time; pipe = open("alive", "w"); time.sleep(600)\']); child.wait()'
    )
    ended = threading.Event()

    def wait_for_the_end() -> None:
        while not pipe.exists():
            time.sleep(0.01)
        with pipe.open() as stream:
            stream.read()
        ended.set()

    watcher = threading.Thread(target=wait_for_the_end, daemon=True)
    watcher.start()
    with pytest.raises(DeliveryError, match="took longer than 2 s"):
        carry(python(code, timeout=2.0), tmp_path)
    assert ended.wait(10)
    watcher.join()


def test_server_goes_on_while_a_command_runs(tmp_path: Path) -> None:
    async def both() -> bool:
        gate = tmp_path / "gate"
        sink = python("import pathlib, time\nwhile not pathlib.Path('gate').exists(): time.sleep(0.01)")
        task = asyncio.create_task(deliver(sink, EVENT, tmp_path))
        await asyncio.sleep(0)
        running = not task.done()
        gate.touch()
        await task
        return running

    assert asyncio.run(both())


def test_webhook_posts_a_structured_cloudevent_with_its_id(receiver: Receiver, tmp_path: Path) -> None:
    assert carry(WebhookSink(url=receiver.url), tmp_path) == "HTTP 202"
    ((headers, body),) = receiver.came
    assert body == EVENT.body
    assert headers["content-type"] == "application/cloudevents+json; charset=utf-8"
    assert headers["idempotency-key"] == "digits:1:5"
    assert "authorization" not in headers


def test_webhook_sends_the_token_of_its_file(receiver: Receiver, tmp_path: Path) -> None:
    (tmp_path / "token").write_text("secret\n")
    carry(WebhookSink(url=receiver.url, token_file="token"), tmp_path)  # noqa: S106 - a file's name
    assert receiver.came[0][0]["authorization"] == "Bearer secret"


@pytest.mark.parametrize(("status", "final"), [(400, True), (404, True), (302, True), (408, False), (503, False)])
def test_webhook_tells_what_may_pass_from_what_will_not(
    receiver: Receiver, tmp_path: Path, status: int, *, final: bool
) -> None:
    receiver.statuses = [status]
    with pytest.raises(DeliveryError, match=f"refused with HTTP {status}") as failure:
        carry(WebhookSink(url=receiver.url), tmp_path)
    assert failure.value.final is final


def test_webhook_that_asks_to_wait_is_left_alone_that_long(receiver: Receiver, tmp_path: Path) -> None:
    receiver.statuses, receiver.headers = [429], {"retry-after": "77"}
    with pytest.raises(DeliveryError) as failure:
        carry(WebhookSink(url=receiver.url), tmp_path)
    assert failure.value.retry_after == 77.0


def test_webhook_that_nobody_listens_at_may_be_tried_again(receiver: Receiver, tmp_path: Path) -> None:
    receiver.close()
    with pytest.raises(DeliveryError, match="no answer: ConnectError") as failure:
        carry(WebhookSink(url=receiver.url), tmp_path)
    assert not failure.value.final
    receiver.close = lambda: None  # type: ignore[method-assign]  # it is closed


def ask(store: Store, *sinks: str) -> None:
    request = RequestRow(
        cause=EVENT.id, model="digits", version="1", bundle="b", score=1.0, body=EVENT.body.decode(), created=0.0
    )
    assert store.retraining.add_request(request, sinks)


def attempt(store: Store, sinks: tuple[Sink, ...], workspace: Path, *, now: float) -> int:
    outbox = Outbox(store, sinks, workspace, clock=lambda: now)

    async def once() -> int:
        due = await outbox.begin()
        for delivery in due:
            await outbox.attempt(delivery)
        return len(due)

    return asyncio.run(once())


def test_refused_event_comes_again_with_the_same_id_after_growing_pauses(
    store: Store, receiver: Receiver, tmp_path: Path
) -> None:
    receiver.statuses = [503, 503]
    sinks = (WebhookSink(url=receiver.url),)
    ask(store, "webhook")
    assert attempt(store, sinks, tmp_path, now=0.0) == 1
    assert attempt(store, sinks, tmp_path, now=FIRST_PAUSE - 0.1) == 0
    assert attempt(store, sinks, tmp_path, now=FIRST_PAUSE) == 1
    assert attempt(store, sinks, tmp_path, now=3 * FIRST_PAUSE - 0.1) == 0
    assert attempt(store, sinks, tmp_path, now=3 * FIRST_PAUSE) == 1
    (delivery,) = store.retraining.deliveries([EVENT.id])
    assert (delivery.state, delivery.attempts, delivery.message) == ("sent", 3, "HTTP 202")
    assert {headers["idempotency-key"] for headers, _ in receiver.came} == {EVENT.id}


def test_delivery_fails_for_good_after_its_attempts(store: Store, tmp_path: Path) -> None:
    sinks = (python("import sys; sys.exit(1)", attempts=2),)
    ask(store, "command")
    attempt(store, sinks, tmp_path, now=0.0)
    attempt(store, sinks, tmp_path, now=1000.0)
    assert store.retraining.deliveries([EVENT.id])[0].state == "failed"
    assert attempt(store, sinks, tmp_path, now=9000.0) == 0


def test_final_refusal_is_not_tried_again(store: Store, receiver: Receiver, tmp_path: Path) -> None:
    receiver.statuses = [410]
    ask(store, "webhook")
    attempt(store, (WebhookSink(url=receiver.url),), tmp_path, now=0.0)
    assert store.retraining.deliveries([EVENT.id])[0].state == "failed"


def test_delivery_to_a_sink_that_was_removed_fails(store: Store, tmp_path: Path) -> None:
    ask(store, "gone")
    attempt(store, (), tmp_path, now=0.0)
    assert store.retraining.deliveries([EVENT.id])[0].state == "failed"


def until(condition: Callable[[], bool]) -> None:
    deadline = time.monotonic() + 20
    while not condition():
        assert time.monotonic() < deadline
        time.sleep(0.01)


def test_delivery_that_a_stopped_server_left_is_made_by_the_next(store: Store, tmp_path: Path) -> None:
    ask(store, "command")
    sinks = (python("print('taken')"),)
    asyncio.run(Outbox(store, sinks, tmp_path, clock=lambda: 0.0).begin())
    assert store.retraining.deliveries([EVENT.id])[0].state == "sending"

    async def serve() -> None:
        task = asyncio.create_task(Outbox(store, sinks, tmp_path, clock=time.time).run())
        await asyncio.to_thread(until, lambda: store.retraining.deliveries([EVENT.id])[0].state == "sent")
        task.cancel()
        await asyncio.gather(task, return_exceptions=True)

    asyncio.run(serve())
    assert store.retraining.deliveries([EVENT.id])[0].message == "taken"


def test_pauses_grow_to_a_bound() -> None:
    pauses = [pause(attempts) for attempts in range(1, 40)]
    assert pauses[:3] == [5.0, 10.0, 20.0]
    assert pauses[-1] == LONGEST_PAUSE


def test_sinks_are_read_by_their_kind(tmp_path: Path) -> None:
    path = tmp_path / "fleet.toml"
    path.write_text(
        'fleet = "demo"\n[[sinks]]\nkind = "command"\ncommand = ["make", "retrain"]\nmodels = ["digits"]\n'
        '[[sinks]]\nkind = "webhook"\nname = "ci"\nurl = "https://ci.example/hook"\n'
    )
    assert read_config(path) == FleetConfig(
        fleet="demo",
        sinks=(
            CommandSink(command=("make", "retrain"), models=("digits",)),
            WebhookSink(name="ci", url="https://ci.example/hook"),
        ),
    )


def test_two_sinks_of_one_name_are_refused(tmp_path: Path) -> None:
    path = tmp_path / "fleet.toml"
    sink = '[[sinks]]\nkind = "command"\ncommand = ["true"]\n'
    path.write_text(f'fleet = "demo"\n{sink}{sink}')
    with pytest.raises(FleetError, match="two sinks are named 'command'"):
        read_config(path)


def test_event_is_what_the_store_keeps_byte_for_byte(store: Store, receiver: Receiver, tmp_path: Path) -> None:
    ask(store, "webhook")
    attempt(store, (WebhookSink(url=receiver.url),), tmp_path, now=0.0)
    assert msgspec.json.decode(receiver.came[0][1]) == {"id": EVENT.id}
