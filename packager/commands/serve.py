"""`pack serve`: answer requests by a bundle."""

from __future__ import annotations

import os
from pathlib import Path
from typing import Annotated

import typer

from packager.commands.options import BundleName, Folder
from packager.console import console
from packager.errors import ExitCode


def serve(  # noqa: PLR0913 - each is an option of the command
    bundle: BundleName,
    *,
    key: Annotated[list[Path], typer.Option("--key", metavar="KEY.pub", help="A public key to trust; repeatable.")],
    folder: Folder = Path(),
    host: Annotated[str, typer.Option(metavar="ADDRESS", help="Address to listen on.")] = "127.0.0.1",
    port: Annotated[int, typer.Option(min=0, max=65535, help="Port for HTTP; 0: any that is free.")] = 8080,
    grpc_port: Annotated[
        int | None, typer.Option(min=0, max=65535, show_default=False, help="Port for gRPC. Default: no gRPC.")
    ] = None,
    workers: Annotated[
        int | None, typer.Option(min=1, show_default=False, help="Calls at the same time. Default: one a core.")
    ] = None,
    batch: Annotated[int, typer.Option(min=1, help="Most rows of one call.")] = 64,
    delay: Annotated[float, typer.Option(min=0, help="Milliseconds that a call waits for more rows.")] = 0.0,
    queue: Annotated[int, typer.Option(min=1, help="Most requests that wait; more are refused.")] = 1024,
    body: Annotated[str, typer.Option(metavar="SIZE", help="Largest request.")] = "64 MB",
    timeout: Annotated[float, typer.Option(min=0.001, help="Seconds until a request is given up.")] = 30.0,
    follow: Annotated[
        float,
        typer.Option(min=0, metavar="SECONDS", help="Look this often for a newer release of NAME@TARGET; 0: never."),
    ] = 0.0,
    telemetry: Annotated[
        Path | None,
        typer.Option(metavar="FOLDER", show_default=False, help="State folder of the pack-agent that sends telemetry."),
    ] = None,
) -> int:
    """Serve a bundle by the Open Inference Protocol 2, after checking its signature.

    BUNDLE may leave out the version (digits@cloud): then the newest release of the store is served.
    """
    from manifests.signing import read_public_key
    from packager.config import STORE
    from packager.errors import ConfigError
    from packager.fingerprints import versions
    from packager.quantities import parse_limit

    versions(("litestar", "prometheus-client", "uvicorn", *(() if grpc_port is None else ("grpcio",))), extra="serve")
    from packager.serving.batching import Limits
    from packager.serving.running import Order
    from packager.serving.running import serve as run

    try:
        largest = int(parse_limit(body, "bytes").value)
    except ValueError as error:
        raise ConfigError("usage", f"--body: {error}") from error
    order = Order(
        bundle=bundle,
        store=folder / STORE,
        keys=[read_public_key(path) for path in key],
        host=host,
        port=port,
        grpc_port=grpc_port,
        workers=workers or len(os.sched_getaffinity(0)),
        limits=Limits(batch=batch, delay=delay / 1000, queue=queue, body=largest, timeout=timeout),
        follow=follow,
        telemetry=telemetry,
    )
    run(order, console.say)
    return ExitCode.OK
