"""The server: everything that runs, in one process and one event loop."""

from __future__ import annotations

import asyncio
import os
import signal
import socket
from contextlib import AsyncExitStack
from datetime import timedelta
from typing import TYPE_CHECKING

import msgspec

from fleet.broker import Broker, plan_broker, same_port
from fleet.errors import FleetError, UnreachableError
from fleet.exchange import Exchange
from fleet.ingest import Ingest
from fleet.outbox import Outbox
from fleet.retraining import watch_drift
from fleet.trust import utc
from fleet.workspace import Addresses, Ports

if TYPE_CHECKING:
    from collections.abc import Callable, Coroutine, Sequence

    from litestar import Litestar

    from fleet.store import Store
    from fleet.workspace import Workspace

    Job = Coroutine[None, None, None]
    Say = Callable[[str], None]

REFRESH_SECONDS = 60.0
"""How often the expiry of the trust metadata is looked at."""
FORGET_SECONDS = 3600.0
"""How often old telemetry is deleted."""
EXPIRY_WARNING = timedelta(days=14)
"""How long before their expiry the offline roles are complained about."""


async def serve(
    workspace: Workspace, *, announce: Callable[[Addresses], None], say: Say, clock: Callable[[], float]
) -> None:
    """Run everything until SIGTERM or SIGINT; `announce` is called once devices and browsers are served.

    Raises:
        RefusedError: an online key is missing, or the repository is damaged.
        UnreachableError: a port is taken, or the broker does not start.
        FleetError: no broker is installed, or a server of this workspace runs already.
    """
    stop = asyncio.Event()
    for number in (signal.SIGTERM, signal.SIGINT):
        asyncio.get_running_loop().add_signal_handler(number, stop.set)
    async with AsyncExitStack() as stack:
        leave_word = stack.enter_context(workspace.serving())
        keep_fresh(workspace, say, now=clock())
        store = workspace.open_store()
        stack.callback(store.close)
        last = workspace.ports()
        api = workspace.config.api
        web = stack.enter_context(listen(api.host, same_port(api.host, api.port, last.api)))
        broker = await _start_broker(workspace, stack, last.broker, say)
        workspace.keep_ports(
            Ports(broker=broker.plan.port if broker else last.broker, api=int(web.getsockname()[1])),
        )
        addresses = Addresses(
            engine=broker.plan.engine if broker else "external",
            broker_host=workspace.config.broker.host,
            broker_port=broker.plan.port if broker else workspace.config.broker.port,
            api="http://{}:{}".format(*web.getsockname()[:2]),
            pid=os.getpid(),
        )
        app = _make_app(workspace, store)
        exchange = Exchange(workspace, store, Ingest(workspace.config.fleet, store, workspace.audit), clock=clock)

        async def tell_when_ready() -> None:
            await exchange.connected.wait()
            leave_word(addresses)
            announce(addresses)

        jobs = [
            exchange.run(addresses.broker_host, addresses.broker_port, say),
            _refresh(workspace, say, clock),
            _forget(workspace, store, clock),
            _serve_web(app, web),
            tell_when_ready(),
            *learning_jobs(workspace, store, clock),
        ]
        if broker is not None:
            jobs.append(broker.keep_running(say))
        await run_until(stop, jobs)


def learning_jobs(workspace: Workspace, store: Store, clock: Callable[[], float]) -> list[Job]:
    """What looks for drift and carries retraining requests out."""
    config = workspace.config
    return [
        watch_drift(store, config, clock=clock),
        Outbox(store, config.sinks, workspace.folder, clock=clock).run(),
    ]


async def run_until(stop: asyncio.Event, jobs: Sequence[Job]) -> None:
    """Run the jobs at once until `stop` is set; when one fails, the others are cancelled.

    Raises:
        FleetError: what the first job that failed raised.
    """
    try:
        async with asyncio.TaskGroup() as group:
            tasks = [group.create_task(job) for job in jobs]
            await stop.wait()
            for task in tasks:
                task.cancel()
    except ExceptionGroup as failed:
        expected, others = failed.split(FleetError)
        if expected is None or others is not None:
            raise
        raise expected.exceptions[0] from None


def keep_fresh(workspace: Workspace, say: Say, *, now: float) -> None:
    """Renew the online roles if they are due, and complain if the offline ones will expire soon.

    Raises:
        RefusedError: a key is missing, or the repository is damaged.
    """
    repository = workspace.repository
    if renewed := repository.refresh(workspace.online_signers(), now=utc(now)):
        say(f"renewed: {', '.join(renewed)}")
    expiries = repository.expiries()
    for role in ("root", "targets"):
        if expiries[role] - utc(now) < EXPIRY_WARNING:
            say(f"the {role} metadata expires on {expiries[role]:%Y-%m-%d}: pack-fleet renew signs it anew")


def listen(host: str, port: int) -> socket.socket:
    """A listening TCP socket.

    Raises:
        UnreachableError: the port can't be had.
    """
    try:
        return socket.create_server((host, port))
    except OSError as error:
        raise UnreachableError(
            "fleet.port",
            f"port {port} of {host} can't be had: {error.strerror}",
            hint="port = 0 in [api] of fleet.toml takes any that is free",
        ) from error


async def _start_broker(workspace: Workspace, stack: AsyncExitStack, last: int, say: Say) -> Broker | None:
    table = workspace.config.broker
    if table.engine == "external":
        return None
    table = msgspec.structs.replace(table, port=same_port(table.host, table.port, last))
    broker = Broker(plan_broker(table, workspace.folder / "broker"))
    stack.push_async_callback(broker.stop)
    await broker.start()
    if last not in (0, broker.plan.port):
        say(f"the broker listens at port {broker.plan.port}: devices that were enrolled with {last} don't find it")
    return broker


async def _refresh(workspace: Workspace, say: Say, clock: Callable[[], float]) -> None:
    while True:
        await asyncio.sleep(REFRESH_SECONDS)
        try:
            await asyncio.to_thread(keep_fresh, workspace, say, now=clock())
        except FleetError as error:
            say(f"the trust metadata can't be renewed: {error}")


async def _forget(workspace: Workspace, store: Store, clock: Callable[[], float]) -> None:
    seconds = timedelta(days=workspace.config.retention.days).total_seconds()
    while True:
        await asyncio.to_thread(store.telemetry.forget, before=clock() - seconds)
        await asyncio.to_thread(store.placements.forget_steps, before=clock() - seconds)
        await asyncio.sleep(FORGET_SECONDS)


def _make_app(workspace: Workspace, store: Store) -> Litestar:
    from fleet.api import create_app

    return create_app(store, workspace.config)


async def _serve_web(app: Litestar, web: socket.socket) -> None:
    import uvicorn

    # The application opens and closes nothing of its own; a lifespan that is cancelled would print a traceback.
    config = uvicorn.Config(app, log_level="warning", access_log=False, lifespan="off", timeout_graceful_shutdown=2)
    server = uvicorn.Server(config)
    serving = asyncio.create_task(server.serve(sockets=[web]))
    try:
        await asyncio.shield(serving)
    except asyncio.CancelledError:
        # Cut off in the middle of its own farewell it would print a traceback.
        server.should_exit = True
        await serving
        raise
