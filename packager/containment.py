"""What a worker does to itself before its job.

It can't outlive its parent, nor take all of the machine's memory. Before it runs a model's code, it leaves the network
for good, in two ways. Both are taken where both can be had, and each works for root and for everybody else:

- a network namespace of its own (:manpage:`network_namespaces(7)`), in a user namespace of its own, so that even root
  has no way back: no interface is there, not even loopback's is up;
- a filter of system calls (:manpage:`seccomp(2)`) that refuses new sockets, those to local services too, and what would
  borrow another process's: it also holds where containers forbid namespaces.
"""

from __future__ import annotations

import contextlib
import ctypes
import errno
import faulthandler
import math
import os
import platform
import signal
import struct
import sys
from pathlib import Path
from typing import TYPE_CHECKING, NamedTuple

from packager.errors import ConversionError

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator

_CLONE_NEWUSER, _CLONE_NEWNET = 0x10000000, 0x40000000
_PR_SET_NO_NEW_PRIVS = 38
_SECCOMP_SET_MODE_FILTER, _SECCOMP_FILTER_FLAG_TSYNC = 1, 1
_LOAD, _JUMP_EQUAL, _JUMP_AT_LEAST, _RETURN = 0x20, 0x15, 0x35, 0x06
"""Instructions of classic BPF: linux/bpf_common.h."""
_NUMBER_OFFSET, _MACHINE_OFFSET = 0, 4
"""Of ``nr`` and ``arch`` in ``struct seccomp_data``: linux/seccomp.h."""
_ALLOW, _FAIL, _KILL = 0x7FFF0000, 0x00050000, 0x80000000
_OTHER_ABI = 0x40000000
"""Numbers from here on are x32's: the same calls once more."""


class _Calls(NamedTuple):
    """Numbers of system calls on one machine: asm/unistd.h."""

    machine: int
    """As the kernel's audit names it: linux/audit.h."""
    seccomp: int
    unshare: int
    refused: tuple[int, ...]
    """socket, io_uring_setup, pidfd_getfd, ptrace, process_vm_writev, setns."""


_MACHINES = {
    "x86_64": _Calls(0xC000003E, 317, 272, (41, 425, 438, 101, 311, 308)),
    "aarch64": _Calls(0xC00000B7, 277, 97, (198, 425, 438, 117, 271, 268)),
}


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


@contextlib.contextmanager
def limit_seconds(seconds: int) -> Iterator[None]:
    """Let what is within work for about so many seconds of the processor's time; else SIGXCPU ends the process.

    For libraries of C that a damaged file can send round in circles, where no exception would be seen.
    """
    import resource

    soft, hard = resource.getrlimit(resource.RLIMIT_CPU)
    used = resource.getrusage(resource.RUSAGE_SELF)
    resource.setrlimit(resource.RLIMIT_CPU, (math.ceil(used.ru_utime + used.ru_stime) + seconds, hard))
    try:
        yield
    finally:
        resource.setrlimit(resource.RLIMIT_CPU, (soft, hard))


def record_crashes(path: Path) -> None:
    """Write the Python stack to `path` when a signal ends the process."""
    faulthandler.enable(path.open("w"))


def leave_network() -> None:
    """From here on, neither this process nor any that it starts reaches a network or a local service.

    Call it before the first thread. Root that is in a user namespace of its own only reads what root owns, or everybody
    may read.

    Raises:
        ConversionError: this system lets a process do neither.
    """
    separated = _enter_namespaces()
    filtered = _refuse_sockets()
    if not separated and not filtered:
        raise ConversionError(
            "import.isolation",
            "a model that runs code is only read without a network, and this system can't take it away: "
            "neither a user namespace nor a seccomp filter can be had",
            hint="import it on Linux, in a container that allows either, or store it in a format that runs no code",
        )


def _enter_namespaces() -> bool:
    """Whether this process is now in a network of its own, without interfaces."""
    if sys.platform != "linux":
        return False
    user, group = os.getuid(), os.getgid()
    if ctypes.CDLL(None, use_errno=True).unshare(_CLONE_NEWUSER | _CLONE_NEWNET) != 0:
        return False
    # So that we are still called by our own ids: user_namespaces(7).
    for name, text in (("setgroups", "deny"), ("uid_map", f"{user} {user} 1"), ("gid_map", f"{group} {group} 1")):
        with contextlib.suppress(OSError):
            Path("/proc/self", name).write_text(text, encoding="ascii")
    return True


def _refuse_sockets() -> bool:
    """Whether new sockets are refused from now on, with EPERM."""
    calls = _MACHINES.get(platform.machine())
    return sys.platform == "linux" and calls is not None and _refuse(calls, calls.refused)


def _refuse(calls: _Calls, numbers: Iterable[int]) -> bool:
    """Whether all threads now get EPERM for these system calls; one made as another machine's ends the process."""
    refused = tuple(numbers)
    program = [
        (_LOAD, 0, 0, _MACHINE_OFFSET),
        (_JUMP_EQUAL, 1, 0, calls.machine),
        (_RETURN, 0, 0, _KILL),
        (_LOAD, 0, 0, _NUMBER_OFFSET),
        (_JUMP_AT_LEAST, len(refused) + 1, 0, _OTHER_ABI),
        *((_JUMP_EQUAL, len(refused) - place, 0, number) for place, number in enumerate(refused)),
        (_RETURN, 0, 0, _ALLOW),
        (_RETURN, 0, 0, _FAIL | errno.EPERM),
    ]
    encoded = ctypes.create_string_buffer(b"".join(struct.pack("=HBBI", *instruction) for instruction in program))
    description = struct.pack("@HP", len(program), ctypes.addressof(encoded))
    library = ctypes.CDLL(None, use_errno=True)
    if library.prctl(_PR_SET_NO_NEW_PRIVS, 1, 0, 0, 0) != 0:
        return False
    arguments = (_SECCOMP_SET_MODE_FILTER, _SECCOMP_FILTER_FLAG_TSYNC, description)
    return int(library.syscall(calls.seccomp, *arguments)) == 0
