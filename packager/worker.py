"""Worker processes: every fetch from a registry, import, conversion and measurement runs in one of its own.

``python -m packager.worker FOLDER`` does the job that stands in the folder. A job is JSON in, JSON and files out; its
output goes to a log, whose tail is in the error when it ends badly.
"""

from __future__ import annotations

import contextlib
import importlib
import os
import signal
import subprocess
import sys
import tempfile
import threading
from pathlib import Path
from typing import TYPE_CHECKING, Literal, Protocol, Self, TypeAlias, TypeVar, cast

import msgspec

from manifests.errors import ManifestError
from packager.config import worker_environment
from packager.containment import die_with_parent, leave_network, limit_memory, record_crashes
from packager.errors import ConfigError, ConversionError, ExitCode, NetworkError, PackError, ToolchainError
from packager.fingerprints import ROOT
from packager.quantities import quantity_text
from packager.redaction import redact
from packager.scratch import open_scratch
from targets._target import TargetError

if TYPE_CHECKING:
    from collections.abc import Iterator
    from types import TracebackType

Kind: TypeAlias = Literal["fetch", "importation", "conversion", "explanation"]
"""The modules of `packager.jobs`."""

_Result = TypeVar("_Result", bound=msgspec.Struct)
_JOB, _RESULT, _PROBLEM, _LOG, _STACK, _OUT = "job.json", "result.json", "problem.json", "log", "stack", "out"
_LINKS = "packages"
_PACKAGES = ("agent", "manifests", "packager", "targets", "wire")
"""Ours that a worker imports."""
_TAIL_LINES = 15
_TAIL_BYTES = 16 << 10


class _Job(msgspec.Struct, frozen=True, kw_only=True):
    kind: Kind
    memory: int
    """In bytes."""
    order: msgspec.Raw


class _Problem(msgspec.Struct, frozen=True, kw_only=True):
    exit_code: int
    code: str
    message: str
    hint: str


class JobModule(Protocol):
    """What a module of `packager.jobs` is."""

    Order: type[msgspec.Struct]

    def runs_foreign_code(self, order: msgspec.Struct) -> bool:
        """Whether this may run code that the model's maker wrote: then the worker leaves the network first."""
        ...

    def run(self, order: msgspec.Struct, out: Path) -> msgspec.Struct:
        """Do it: files go below `out`, an empty folder.

        Raises:
            PackError, TargetError, ManifestError: it can't be done.
        """
        ...


class Workers:
    """Starts workers and knows those that run, so that none outlives the build. Safe for several threads."""

    def __init__(self, scratch: Path, *, seconds: float, memory: int) -> None:
        """`scratch` is a folder on the cache's file system; `seconds` and `memory`, in bytes, are one job's limits."""
        self._root = scratch
        self._seconds = seconds
        self._memory = memory
        self.started = 0
        """How many workers were."""
        self._running: set[subprocess.Popen[bytes]] = set()
        self._lock = threading.Lock()
        self._stopped = False

    def __enter__(self) -> Self:
        with contextlib.ExitStack() as stack:
            self._scratch = stack.enter_context(open_scratch(self._root))
            self._opened = stack.pop_all()
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        with self._lock:
            self._stopped = True
            for process in self._running:
                _kill(process)
        self._opened.close()

    @contextlib.contextmanager
    def job(
        self, kind: Kind, order: msgspec.Struct, result: type[_Result], interpreter: Path | None = None
    ) -> Iterator[tuple[_Result, Path]]:
        """The job's result and the folder with its files, which is removed afterwards unless it was moved away.

        `interpreter` is the Python of a toolchain's environment; None: our own.

        Raises:
            PackError: what the job raised; a ConversionError where it crashed or took too long.
        """
        with tempfile.TemporaryDirectory(dir=self._scratch, ignore_cleanup_errors=True) as name:
            folder = Path(name)
            (folder / _OUT).mkdir()
            job = _Job(kind=kind, memory=self._memory, order=msgspec.Raw(msgspec.json.encode(order)))
            (folder / _JOB).write_bytes(msgspec.json.encode(job))
            code = self._run(kind, folder, interpreter)
            yield _read_report(kind, folder, code, result), folder / _OUT

    def _run(self, kind: Kind, folder: Path, interpreter: Path | None) -> int:
        """The worker's exit code; that of a signal is negative."""
        with (folder / _LOG).open("wb") as log:
            process = self._start(kind, folder, log.fileno(), interpreter)
            try:
                return process.wait(self._seconds)
            except subprocess.TimeoutExpired as error:
                raise ConversionError(
                    "worker.time",
                    f"{kind} took too long: expected at most {self._seconds:g} s",
                    hint=_tail(folder / _LOG),
                ) from error
            finally:
                with self._lock:
                    self._running.discard(process)
                _kill(process)
                if process.stdin is not None:
                    process.stdin.close()
                process.wait()

    def _start(self, kind: Kind, folder: Path, log: int, interpreter: Path | None) -> subprocess.Popen[bytes]:
        # -P: the user's folder, where `pack` was started, must not shadow a module.
        command = [str(interpreter or sys.executable), "-P", "-m", "packager.worker", str(folder)]
        environment = worker_environment(credentials=kind == "fetch")
        if interpreter is not None:
            environment["PYTHONPATH"] = str(_own_packages(folder))
        with self._lock:
            if self._stopped:
                raise ConversionError("worker.stopped", "the build was stopped")
            process = subprocess.Popen(  # noqa: S603 - the worker is our own module, run by our own interpreter
                command,
                stdin=subprocess.PIPE,
                stdout=log,
                stderr=log,
                env=environment,
                start_new_session=True,
            )
            self._running.add(process)
            self.started += 1
        return process


def main() -> None:
    """Do the job that stands in the folder named on the command line."""
    die_with_parent()
    folder = Path(sys.argv[1])
    record_crashes(folder / _STACK)
    job = msgspec.json.decode((folder / _JOB).read_bytes(), type=_Job)
    limit_memory(job.memory)
    module = cast("JobModule", importlib.import_module(f"packager.jobs.{job.kind}"))
    order = msgspec.json.decode(job.order, type=module.Order)
    report: msgspec.Struct
    try:
        if module.runs_foreign_code(order):
            leave_network()
        result = module.run(order, folder / _OUT)
    except PackError as error:
        report, name = _problem(error.exit_code, error), _PROBLEM
    except TargetError as error:
        report, name = _problem(ExitCode.CONVERSION, error), _PROBLEM
    except ManifestError as error:
        report, name = _problem(ExitCode.CONVERSION, error), _PROBLEM
    except MemoryError:
        report, name = _out_of_memory(job), _PROBLEM
    else:
        report, name = result, _RESULT
    partial = folder / f"{name}.partial"
    partial.write_bytes(msgspec.json.encode(report))
    partial.rename(folder / name)


def _problem(exit_code: ExitCode, error: PackError | TargetError | ManifestError) -> _Problem:
    return _Problem(exit_code=int(exit_code), code=error.code, message=str(error), hint=error.hint)


def _out_of_memory(job: _Job) -> _Problem:
    return _Problem(
        exit_code=int(ExitCode.CONVERSION),
        code="worker.memory",
        message=f"{job.kind} needs more memory than it may have: expected at most {quantity_text(job.memory, 'bytes')}",
        hint="set PACK_JOB_MEMORY to a higher limit, such as '16 GB'",
    )


def _read_report(kind: Kind, folder: Path, code: int, result: type[_Result]) -> _Result:
    if (folder / _RESULT).exists():
        return msgspec.json.decode((folder / _RESULT).read_bytes(), type=result)
    if not (folder / _PROBLEM).exists():
        hint = "\n".join(part for part in (_tail(folder / _LOG), _head(folder / _STACK)) if part)
        raise ConversionError("worker.crash", f"{kind} crashed {_cause(folder, code)}", hint=hint)
    problem = msgspec.json.decode((folder / _PROBLEM).read_bytes(), type=_Problem)
    classes = {error.exit_code: error for error in (ConfigError, NetworkError, ToolchainError)}
    error_class = classes.get(ExitCode(problem.exit_code), ConversionError)
    raise error_class(problem.code, redact(problem.message), hint=redact(problem.hint))


def _cause(folder: Path, code: int) -> str:
    """How the worker ended, and the last line of its log: a traceback's message if there is one."""
    ended = f"by {_signal_name(-code)}" if code < 0 else f"with exit code {code}"
    if code == -signal.SIGKILL:
        ended += ", perhaps for want of memory"
    if code == -signal.SIGXCPU:
        ended += ": a library did not come to an end with the file, which may be damaged"
    lines = _tail(folder / _LOG).splitlines()
    return f"{ended}: {lines[-1].strip()}" if lines else ended


def _signal_name(number: int) -> str:
    try:
        return signal.Signals(number).name
    except ValueError:  # a real-time signal has none
        return f"signal {number}"


def _tail(path: Path) -> str:
    """The last lines of a log; empty where there is none."""
    if not path.exists():
        return ""
    with path.open("rb") as log:
        size = log.seek(0, os.SEEK_END)
        log.seek(max(0, size - _TAIL_BYTES))
        text = log.read().decode(errors="replace")
    return redact("\n".join(text.strip().splitlines()[-_TAIL_LINES:]))


def _head(path: Path) -> str:
    """The first lines of a crash's stack, whose first is where it happened; empty where there is none."""
    if not path.exists():
        return ""
    with path.open("rb") as stack:
        text = stack.read(_TAIL_BYTES).decode(errors="replace")
    return redact("\n".join(text.strip().splitlines()[:_TAIL_LINES]))


def _own_packages(folder: Path) -> Path:
    """A folder with links to our own packages: beside them may stand everything that is installed with us."""
    links = folder / _LINKS
    links.mkdir()
    for name in _PACKAGES:
        (links / name).symlink_to(ROOT / name, target_is_directory=True)
    return links


def _kill(process: subprocess.Popen[bytes]) -> None:
    """End the worker and what it started: they are one session."""
    with contextlib.suppress(ProcessLookupError):
        os.killpg(process.pid, signal.SIGKILL)


if __name__ == "__main__":
    main()
