"""``pack-agent``: the daemon on a device, and what it says of itself."""

from __future__ import annotations

import argparse
import logging
import signal
import sys
from pathlib import Path
from typing import TYPE_CHECKING

from agent.config import check_identity, notify_socket, read_config
from agent.errors import AgentError, ConfigError

if TYPE_CHECKING:
    from collections.abc import Sequence

DEFAULT_CONFIG = Path("/etc/pack-agent/agent.toml")

EXIT_FAILED = 1
EXIT_CONFIG = 2


def main(arguments: Sequence[str] | None = None) -> None:
    """Run one command; the exit status is 0, 1 (it failed) or 2 (usage or configuration)."""
    options = _parser().parse_args(arguments)
    try:
        if options.command == "run":
            _run(options.config)
        else:
            _status(options.config, options.output)
    except AgentError as error:
        sys.stderr.write(f"error: {error} [{error.code}]\n")
        if error.hint:
            sys.stderr.write(f"hint: {error.hint}\n")
        sys.exit(EXIT_CONFIG if isinstance(error, ConfigError) else EXIT_FAILED)


class _Version(argparse.Action):
    """Looked up when it is asked for, so that the daemon does not load what reads it."""

    def __call__(self, parser: argparse.ArgumentParser, *_rest: object) -> None:
        from importlib.metadata import version

        sys.stdout.write(f"pack-agent {version('packtrain')}\n")
        parser.exit()


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(prog="pack-agent", description="Keeps the models of a device up to date")
    parser.add_argument("--version", action=_Version, nargs=0, help="print the version")
    commands = parser.add_subparsers(dest="command", required=True, metavar="{run,status}")
    run = commands.add_parser("run", help="run the daemon until it is told to stop")
    status = commands.add_parser("status", help="say what is active and what is under way")
    for command in (run, status):
        command.add_argument(
            "--config", type=Path, default=DEFAULT_CONFIG, help="agent.toml of this device (default: %(default)s)"
        )
    status.add_argument("--output", choices=("text", "json"), default="text", help="form of the answer")
    return parser


def _run(path: Path) -> None:
    from queue import SimpleQueue

    from agent.link import Stop

    events: SimpleQueue[object] = SimpleQueue()
    # Before anything slow: the service manager may change its mind while the daemon is still loading.
    for number in (signal.SIGTERM, signal.SIGINT):
        # SimpleQueue.put may be called from a signal's handler (documentation of `queue`).
        signal.signal(number, lambda _number, _frame: events.put(Stop()))

    from agent.daemon import Daemon, alone

    logging.basicConfig(stream=sys.stderr, level=logging.INFO, format="%(levelname)s %(name)s: %(message)s")
    config = read_config(path)
    check_identity(config)
    with alone(config.state):
        daemon = Daemon(path.absolute(), config, events)
        _notify("READY=1")
        daemon.run()
        _notify("STOPPING=1")


def _status(path: Path, output: str) -> None:
    from agent.status import read_status, render_status

    status = read_status(read_config(path))
    sys.stdout.write(render_status(status, output))


def _notify(state: str) -> None:
    """Tell the service manager, where there is one: sd_notify(3)."""
    address = notify_socket()
    if address:
        import socket

        with socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM) as connection:
            connection.sendto(state.encode(), "\0" + address[1:] if address.startswith("@") else address)


if __name__ == "__main__":
    main()
