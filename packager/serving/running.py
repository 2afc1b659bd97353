"""One process that serves one bundle until it is told to stop."""

from __future__ import annotations

import asyncio
import contextlib
import importlib.util
import signal
import socket
from typing import TYPE_CHECKING, NamedTuple

import uvicorn

from packager.errors import ConfigError
from packager.opening import newest_reference, open_bundle
from packager.serving.application import make_application
from packager.serving.server import Served, follow
from packager.serving.telemetry import Telemetry, open_outbox

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator, Sequence
    from pathlib import Path

    import grpc.aio
    from securesystemslib.signer import Key

    from packager.opening import Opened
    from packager.serving.batching import Limits


_BACKLOG = 2048


class Order(NamedTuple):
    """What to serve, and where."""

    bundle: str
    store: Path
    keys: Sequence[Key]
    host: str
    port: int
    """0: any that is free."""
    grpc_port: int | None
    """None: no gRPC."""
    workers: int
    """Calls of the model that run at the same time."""
    limits: Limits
    follow: float
    """Seconds between two looks for a newer release; 0: none."""
    telemetry: Path | None
    """The state folder of the `pack-agent` that sends what was recorded; None: nobody does."""


def serve(order: Order, say: Callable[[str], None]) -> None:
    """Serve until SIGINT or SIGTERM; what was taken on is answered first. `say` is told what happens.

    Raises:
        PackError: the bundle can't be had, is not vouched for, or an address can't be listened on.
    """
    opened = _open(order)
    with _listening(order.host, order.port) as listener, asyncio.Runner(loop_factory=_loop_factory()) as runner:
        runner.run(_serve(order, opened, listener, say))


def _loop_factory() -> Callable[[], asyncio.AbstractEventLoop] | None:
    """The event loop of uvloop, where there is one for this system; None: the standard library's."""
    if importlib.util.find_spec("uvloop") is None:
        return None
    import uvloop

    factory: Callable[[], asyncio.AbstractEventLoop] = uvloop.new_event_loop
    return factory


async def _serve(order: Order, opened: Opened, listener: socket.socket, say: Callable[[str], None]) -> None:
    telemetry = Telemetry(open_outbox(order.telemetry) if order.telemetry else None, say)
    served = Served(opened, order.limits, telemetry)
    await served.start()
    server = uvicorn.Server(uvicorn.Config(make_application(served), log_level="warning", access_log=False))
    rpc = None
    if order.grpc_port is not None:
        rpc, port = await _start_rpc(served, order)
        say(f"gRPC on {order.host}:{port}")
    say(f"serves {opened.reference} on http://{order.host}:{listener.getsockname()[1]}")
    beside = [asyncio.create_task(telemetry.run())]
    if order.follow:
        beside.append(asyncio.create_task(_follow(order, served, say)))
    try:
        with _outlived(signal.SIGINT, signal.SIGTERM):
            await server.serve(sockets=[listener])
    finally:
        for task in beside:
            task.cancel()
        await asyncio.gather(*beside, return_exceptions=True)
        if rpc is not None:
            await rpc.stop(grace=order.limits.timeout)
        await served.close()


async def _start_rpc(served: Served, order: Order) -> tuple[grpc.aio.Server, int]:
    from packager.serving.rpc import start_rpc

    try:
        return await start_rpc(served, f"{order.host}:{order.grpc_port}")
    except OSError as error:
        raise ConfigError("serve.address", str(error), hint="choose another --grpc-port") from error


async def _follow(order: Order, served: Served, say: Callable[[str], None]) -> None:
    await follow(
        served,
        lambda: newest_reference(order.bundle, order.store),
        lambda: _open(order),
        seconds=order.follow,
        say=say,
    )


def _open(order: Order) -> Opened:
    return open_bundle(order.bundle, order.store, order.keys, workers=order.workers)


@contextlib.contextmanager
def _outlived(*numbers: signal.Signals) -> Iterator[None]:
    """A block whose end those signals don't cut off: uvicorn stops at one, and then raises it once more."""
    before = {number: signal.signal(number, lambda _number, _frame: None) for number in numbers}
    try:
        yield
    finally:
        for number, handler in before.items():
            signal.signal(number, handler)


@contextlib.contextmanager
def _listening(host: str, port: int) -> Iterator[socket.socket]:
    family = socket.AF_INET6 if ":" in host else socket.AF_INET
    with socket.socket(family, socket.SOCK_STREAM) as listener:
        listener.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        try:
            listener.bind((host, port))
            listener.listen(_BACKLOG)  # from here on nobody is turned away, though the model still loads
        except OSError as error:
            reason = (error.strerror or str(error)).lower()
            raise ConfigError(
                "serve.address", f"can't listen on {host}:{port}: {reason}", hint="choose another --port"
            ) from error
        yield listener
