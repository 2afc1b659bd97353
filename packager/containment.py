"""What a worker does to itself before its job: it can't outlive its parent, nor take all of the machine's memory."""

from __future__ import annotations

import contextlib
import faulthandler
import os
import signal
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from pathlib import Path


def die_with_parent() -> None:
    """End this process, and all that it will start, when the parent, which holds the other end of stdin, is gone.

    A process of its own waits for that: a thread would have to wait for whoever holds the interpreter's lock, and a
    signal sent by the kernel would leave the converter's own children behind. Call it before the first thread.
    """
    if os.fork() == 0:
        with contextlib.suppress(KeyboardInterrupt):
            while os.read(0, 1):
                pass
        os.killpg(0, signal.SIGKILL)


def limit_memory(size: int) -> None:
    """Let the process allocate at most `size` bytes, where the system can limit that.

    Counted are private writable pages (``RLIMIT_DATA``), on Linux one and a half times what is resident. Address space
    (``RLIMIT_AS``) is four times that: it counts files that are mapped, and what runtimes reserve and never use.
    """
    import resource

    hard = resource.getrlimit(resource.RLIMIT_DATA)[1]
    allowed = size if hard == resource.RLIM_INFINITY else min(size, hard)
    # macOS refuses any limit below what is reserved already.
    with contextlib.suppress(ValueError, OSError):
        resource.setrlimit(resource.RLIMIT_DATA, (allowed, hard))


def record_crashes(path: Path) -> None:
    """Write the Python stack to `path` when a signal ends the process."""
    faulthandler.enable(path.open("w"))
